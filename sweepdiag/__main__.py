"""``python -m sweepdiag`` and the ``sweepdiag`` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    import faulthandler
    import sys

    from sweepdiag.cli import app

    if sys.stderr is not None:  # a crash of a compiled operation tells which line called it
        faulthandler.enable()
    app()


if __name__ == "__main__":
    main()

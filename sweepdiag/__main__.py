"""``python -m sweepdiag`` and the ``sweepdiag`` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from sweepdiag.cli import app

    app()


if __name__ == "__main__":
    main()

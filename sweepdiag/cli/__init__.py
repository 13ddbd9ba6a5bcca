"""The command line: arguments, progress and exit codes, and nothing else."""

from sweepdiag.cli.app import app

__all__ = ["app"]

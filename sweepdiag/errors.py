"""Every error sweepdiag raises on purpose.

    SweepdiagError
    ├── ConfigError (ValueError)          a setting, an option or a file of settings is wrong
    ├── StoreError                        a run folder cannot be read or written
    ├── WorkloadError                     the data or the model of a workload is unusable
    ├── TrainingError                     a training cannot be carried out as asked
    ├── LaunchError                       workers, Ray or Slurm cannot be started
    │   └── WorkersLostError              no worker is left to go on with; resume the sweep
    ├── FailedTrialsError                 too many trials of a sweep failed to execute
    ├── ReaderError                       somebody's log file cannot be read
    └── MissingExtraError (ImportError)   an optional package is not installed

A message gives the argument, the rule and the value. A training that diverges is not an error but
a result. Errors of other libraries are translated where they enter, with ``raise … from``.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "FailedTrialsError",
    "LaunchError",
    "MissingExtraError",
    "ReaderError",
    "StoreError",
    "SweepdiagError",
    "TrainingError",
    "WorkersLostError",
    "WorkloadError",
    "unknown_name",
]


class SweepdiagError(Exception):
    """Base of every error that sweepdiag raises on purpose."""


class ConfigError(SweepdiagError, ValueError):
    """A setting, a command-line option or a configuration file is wrong."""


class StoreError(SweepdiagError):
    """A run folder cannot be read or written."""


class WorkloadError(SweepdiagError):
    """The data, the model or the loss of a workload is unusable."""


class TrainingError(SweepdiagError):
    """A training cannot be carried out as asked."""


class LaunchError(SweepdiagError):
    """Workers, Ray or Slurm cannot be started as asked."""


class WorkersLostError(LaunchError):
    """Workers were there, and none of them is left; what they have done is kept."""


class FailedTrialsError(SweepdiagError):
    """More trials failed to execute than a sweep may lose; it was stopped and can be resumed."""


class ReaderError(SweepdiagError):
    """A log file of another tool cannot be read."""


class MissingExtraError(SweepdiagError, ImportError):
    """An optional package is not installed; the message names the install command."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """Return the message for a name that does not exist, with the nearest valid one.

    Args:
        kind: What the name should have named, such as ``"optimizer"``.
        name: What was given.
        valid: The names that exist.

    Returns:
        What is unknown, the nearest valid name if one is near, and all valid names.
    """
    names = sorted(valid)
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}"

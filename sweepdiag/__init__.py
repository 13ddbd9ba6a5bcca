"""sweepdiag: train a sweep, read every learning curve, say what is wrong and where to train.

Public names are loaded when they are first used, so that ``import sweepdiag`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweepdiag.errors import (
        ConfigError,
        FailedTrialsError,
        LaunchError,
        MissingExtraError,
        ReaderError,
        StoreError,
        SweepdiagError,
        TrainingError,
        WorkersLostError,
        WorkloadError,
    )
    from sweepdiag.pipeline import CurvesResult, SweepResult, diagnose, resume_sweep, run_sweep
    from sweepdiag.workloads import TrainLoop, Workload

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "CurvesResult",
    "FailedTrialsError",
    "LaunchError",
    "MissingExtraError",
    "ReaderError",
    "StoreError",
    "SweepResult",
    "SweepdiagError",
    "TrainLoop",
    "TrainingError",
    "WorkersLostError",
    "Workload",
    "WorkloadError",
    "__version__",
    "diagnose",
    "resume_sweep",
    "run_sweep",
]

_MODULES = {
    "CurvesResult": "sweepdiag.pipeline",
    "SweepResult": "sweepdiag.pipeline",
    "TrainLoop": "sweepdiag.workloads",
    "Workload": "sweepdiag.workloads",
    "diagnose": "sweepdiag.pipeline",
    "resume_sweep": "sweepdiag.pipeline",
    "run_sweep": "sweepdiag.pipeline",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it.

    Raises:
        AttributeError: If there is no such name.
    """
    if name not in __all__:
        message = f"module 'sweepdiag' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_MODULES.get(name, "sweepdiag.errors")), name)


def __dir__() -> list[str]:
    return __all__

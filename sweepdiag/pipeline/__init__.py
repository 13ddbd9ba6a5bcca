"""From a configuration to a diagnosis: the wiring between the layers.

``run_sweep`` resolves a configuration, plans all trials, trains those that are not done, and hands
over to ``diagnose_folder``, which reads the journal and derives everything else from it.
"""

from sweepdiag.pipeline.diagnosis import Diagnosis, diagnose_folder
from sweepdiag.pipeline.doctor import Examination, examine_workload
from sweepdiag.pipeline.environment import describe_environment
from sweepdiag.pipeline.imported import CurvesResult, diagnose
from sweepdiag.pipeline.merge import merge_folders
from sweepdiag.pipeline.progress import Progress, SweepObserver
from sweepdiag.pipeline.resolve import ResolvedSweep, resolve_config, resolve_sweep
from sweepdiag.pipeline.sweep import (
    ShardResult,
    SweepResult,
    default_output,
    resume_sweep,
    run_config,
    run_sweep,
    train_shard,
)

__all__ = [
    "CurvesResult",
    "Diagnosis",
    "Examination",
    "Progress",
    "ResolvedSweep",
    "ShardResult",
    "SweepObserver",
    "SweepResult",
    "default_output",
    "describe_environment",
    "diagnose",
    "diagnose_folder",
    "examine_workload",
    "merge_folders",
    "resolve_config",
    "resolve_sweep",
    "resume_sweep",
    "run_config",
    "run_sweep",
    "train_shard",
]

"""From a configuration to a diagnosis: the wiring between the layers.

``run_sweep`` resolves a configuration, plans all trials, trains those that are not done, and hands
over to ``diagnose_folder``, which reads the journal and derives everything else from it.
"""

from sweepdiag.pipeline.diagnosis import Diagnosis, diagnose_folder
from sweepdiag.pipeline.doctor import Examination, examine_workload
from sweepdiag.pipeline.environment import describe_environment
from sweepdiag.pipeline.imported import diagnose
from sweepdiag.pipeline.imported_result import CurvesResult
from sweepdiag.pipeline.machine import Check, Health, examine_machine
from sweepdiag.pipeline.merge import merge_folders
from sweepdiag.pipeline.progress import Progress, SweepObserver
from sweepdiag.pipeline.resolve import ResolvedSweep, resolve_config, resolve_sweep
from sweepdiag.pipeline.status import SweepStatus, read_status
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
    "Check",
    "CurvesResult",
    "Diagnosis",
    "Examination",
    "Health",
    "Progress",
    "ResolvedSweep",
    "ShardResult",
    "SweepObserver",
    "SweepResult",
    "SweepStatus",
    "default_output",
    "describe_environment",
    "diagnose",
    "diagnose_folder",
    "examine_machine",
    "examine_workload",
    "merge_folders",
    "read_status",
    "resolve_config",
    "resolve_sweep",
    "resume_sweep",
    "run_config",
    "run_sweep",
    "train_shard",
]

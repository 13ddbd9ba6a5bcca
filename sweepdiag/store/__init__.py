"""The run folder: the only reader and writer of what a sweep leaves on disk.

``sweep.yaml`` and the append-only ``journal.jsonl`` are the truth. Every other file is derived
from them and can be rebuilt. ``journal.lock`` says who writes; it is empty when nobody does.
Nothing is pickled; everything is readable without sweepdiag.

Columns of the tables (``<axes>`` stands for one column per axis):

* ``plan.parquet``: trial_id, config_id, <axes>, seed
* ``curves.parquet``: trial_id, attempt, epoch, step, train_loss, val_loss, train_loss_running,
  train_metric, val_metric, seconds, grad_norm, update_ratio, dead_fraction; the last three are NaN
  unless the sweep records ``gradients``
* ``trials.parquet``: trial_id, config_id, <axes>, seed, n_parameters, state, reason, attempt,
  device, seconds, peak_memory_mb; the last is the most that the trial's worker took from the
  beginning of its pack to its end: resident memory of the process, or what PyTorch took on a GPU
* ``verdicts.parquet``: trial_id, config_id, <axes>, seed, verdict, runner_up, tags, confidence,
  turning_epoch, evidence, margin, numbers (JSON), context, reference_id
* ``configurations.parquet``: config_id, <axes>, verdict over seeds, best values
* ``features.parquet``: trial_id and one column per feature
* ``stopping.parquet``: trial_id, criterion, epochs_used, used_fraction, regret, reason
"""

from sweepdiag.store.driver import Driver, DriverState, Session, find_driver
from sweepdiag.store.folder import RunFolder
from sweepdiag.store.history import History, TrialHistory
from sweepdiag.store.journal import Damage, Journal, describe_damages, read_journal
from sweepdiag.store.points import POINT_FIELDS

__all__ = [
    "POINT_FIELDS",
    "Damage",
    "Driver",
    "DriverState",
    "History",
    "Journal",
    "RunFolder",
    "Session",
    "TrialHistory",
    "describe_damages",
    "find_driver",
    "read_journal",
]

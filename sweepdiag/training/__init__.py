"""Trainings: one pack in, events out.

``PackTrainer`` trains the members of a pack as one fused program where that gives the same curves
and pays, and one after the other where it does not. ``run_user_loop`` runs a training loop that
the user wrote, one process per trial.

A trial's curve depends on the trial alone: not on the pack it was trained in, on the order or on
the number of workers.
"""

from sweepdiag.training.engine import PackTrainer
from sweepdiag.training.first_step import check_first_step
from sweepdiag.training.members import output_shape
from sweepdiag.training.memory import MemoryNeed
from sweepdiag.training.numerics import fix_summation_order, reproducible_cpu
from sweepdiag.training.plans import Plan, Tier, structure
from sweepdiag.training.user_loop import LoopSource, run_user_loop

__all__ = [
    "LoopSource",
    "MemoryNeed",
    "PackTrainer",
    "Plan",
    "Tier",
    "check_first_step",
    "fix_summation_order",
    "output_shape",
    "reproducible_cpu",
    "run_user_loop",
    "structure",
]

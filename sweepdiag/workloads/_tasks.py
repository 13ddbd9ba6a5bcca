"""The tasks that sweepdiag knows, with the loss and metric of each."""

from __future__ import annotations

__all__ = ["LOSS_OF_TASK", "METRIC_MODES", "METRIC_OF_TASK"]

LOSS_OF_TASK = {
    "classification": "cross_entropy",
    "binary": "binary_cross_entropy",
    "regression": "mse",
}
"""The loss of each task. A named loss fits its own task only."""

METRIC_OF_TASK = {"classification": "accuracy", "binary": "accuracy", "regression": "mae"}
"""The metric of each task."""

METRIC_MODES = {"accuracy": "max", "mae": "min"}
"""For each named metric, which direction is better."""

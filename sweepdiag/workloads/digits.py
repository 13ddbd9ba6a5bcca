"""The built-in workload ``digits``: 1,797 images of 8 by 8 pixels, shipped with scikit-learn."""

from __future__ import annotations

from functools import partial

from sweepdiag.workloads._models import mlp
from sweepdiag.workloads.base import Workload

__all__ = ["build"]

_BRIGHTEST = 16.0


def build() -> Workload:
    """Return the workload ``digits``: an MLP 64-capacity-capacity-10 with ReLU.

    Pixels are scaled to [0, 1]. The sweep's ``split`` settings hold out the validation samples.

    Returns:
        The workload, whose default sweep has 99 configurations, half a decade of learning rate
        apart, and three seeds.
    """
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    return Workload(
        name="digits",
        train=((images / _BRIGHTEST).astype("float32"), classes.astype("int64")),
        model=partial(mlp, images.shape[1], 10),
        axes={
            "lr": {"min": 1e-4, "max": 10.0, "distribution": "log_uniform_values", "n": 11},
            "batch_size": [16, 64, 256],
            "capacity": [4, 16, 64],
        },
        settings={"epochs": 30, "seeds": 3},
    )

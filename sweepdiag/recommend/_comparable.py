"""Axes that change the loss itself, so that its values cannot be compared along them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.recommend._words import axis_name, join

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.records import Axis

__all__ = ["incomparable_text"]

_OF_LOSS = re.compile(
    r"(?:^|_)(?:ls|label_?smooth(?:ing)?|smoothing|loss|loss_?f(?:n|unc|unction)|criterion|"
    r"objective|reduction|class_?weights?|pos_?weight|loss_?weights?|focal_?(?:gamma|alpha))$",
    re.IGNORECASE,
)


def incomparable_text(axes: Sequence[Axis], *, monitor: str, metric: str | None) -> str:
    """Return the caution that losses at different values of some axes are not comparable.

    Label smoothing, weights of classes or another loss change what a value of the loss means: the
    lowest one tells nothing of which predicts best.

    Args:
        axes: The axes.
        monitor: ``val_loss`` or ``val_metric``.
        metric: Name of the metric, if there is one.

    Returns:
        One clause; empty where nothing changes the loss, or a metric decides.
    """
    names = [a.name for a in axes if len(a.values) > 1 and _OF_LOSS.search(a.name)]
    if monitor != "val_loss" or not names:
        return ""
    by_metric = "a metric" if metric in {None, "", "custom"} else metric
    which = join([axis_name(name) for name in names])
    return f"losses at different {which} are not comparable: choose {which} by {by_metric}"

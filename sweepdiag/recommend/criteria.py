"""The early-stopping criteria of the literature and one of our own, for all curves at once.

Each criterion takes losses of shape ``(n_curves, n_points)``, or one curve of shape
``(n_points,)``, and returns the index of the evaluation after which training stops: the first at
which the criterion holds, or the last index. Index 0 is the first evaluation after training began;
evaluations before any update do not belong here. A value that is not finite never improves.

References:
    Prechelt, "Early Stopping - But When?", in Neural Networks: Tricks of the Trade, 1998.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sweepdiag.errors import ConfigError
from sweepdiag.recommend._curves import (
    CurveTable,
    curve_table,
    finite_or_inf,
    relative_regret,
)
from sweepdiag.recommend.lookahead import sibling_lookahead
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "DEFAULT_CRITERIA",
    "Criterion",
    "compare_criteria",
    "generalization_loss",
    "patience",
    "progress_quotient",
    "smoothed_generalization_loss",
    "successive_rises",
]

_Losses: TypeAlias = "NDArray[np.float64]"
_Met: TypeAlias = "NDArray[np.bool_]"
Criterion: TypeAlias = "Callable[[ArrayLike, ArrayLike], NDArray[np.intp]]"
"""Validation losses and training losses to stopping indices."""


def patience(
    val_losses: ArrayLike,
    train_losses: ArrayLike | None = None,  # noqa: ARG001 - every criterion takes both
    *,
    k: int,
    min_delta: float = 0.0,
) -> NDArray[np.intp]:
    """Return where ``k`` evaluations in a row have brought no improvement.

    Args:
        val_losses: Validation loss per evaluation.
        train_losses: Not used.
        k: Evaluations without improvement that are tolerated; the ``k``-th stops.
        min_delta: What the best value must fall by to count as improved, in the loss's unit.

    Returns:
        Index per curve.

    Raises:
        ConfigError: If ``k < 1`` or ``min_delta < 0``.
    """
    _check_count("k", k)
    if min_delta < 0:
        msg = f"min_delta must be at least 0, got {min_delta}"
        raise ConfigError(msg)
    losses = finite_or_inf(val_losses)
    best = np.full(losses.shape[:-1], np.inf)
    waited = np.zeros(losses.shape[:-1], dtype=np.int64)
    met = np.zeros(losses.shape, dtype=bool)
    for index in range(losses.shape[-1]):
        loss = losses[..., index]
        # The first finite value improves on "nothing yet" by any amount.
        improved = np.where(np.isinf(best), loss < best, loss < best - min_delta)
        best = np.where(improved, loss, best)
        waited = np.where(improved, 0, waited + 1)
        met[..., index] = waited >= k
    return _first_or_last(met)


def generalization_loss(
    val_losses: ArrayLike,
    train_losses: ArrayLike | None = None,  # noqa: ARG001 - every criterion takes both
    *,
    alpha: float,
) -> NDArray[np.intp]:
    """Return where the loss is more than ``alpha`` percent above its best so far (GL).

    ``GL(t) = 100 * (val(t) / best(t) - 1)``. Needs positive losses: where the best so far is not
    positive, the criterion does not hold.

    Args:
        val_losses: Validation loss per evaluation.
        train_losses: Not used.
        alpha: Threshold in percent.

    Returns:
        Index per curve.
    """
    return _first_or_last(_gl(finite_or_inf(val_losses)) > alpha)


def smoothed_generalization_loss(
    val_losses: ArrayLike,
    train_losses: ArrayLike | None = None,
    *,
    alpha: float,
    decay: float = 0.8,
) -> NDArray[np.intp]:
    """Return where GL holds for an exponential mean of the loss.

    The mean starts at the first finite value; values that are not finite leave it unchanged.

    Args:
        val_losses: Validation loss per evaluation.
        train_losses: Not used.
        alpha: Threshold in percent.
        decay: Weight of the old mean at each evaluation, in ``[0, 1)``.

    Returns:
        Index per curve.

    Raises:
        ConfigError: If ``decay`` is out of range.
    """
    if not 0 <= decay < 1:
        msg = f"decay must be in [0, 1), got {decay}"
        raise ConfigError(msg)
    losses = np.asarray(val_losses, dtype=float)
    smooth = np.empty_like(losses)
    mean = np.full(losses.shape[:-1], np.nan)
    for index in range(losses.shape[-1]):
        loss = losses[..., index]
        updated = np.where(np.isnan(mean), loss, decay * mean + (1 - decay) * loss)
        mean = np.where(np.isfinite(loss), updated, mean)
        smooth[..., index] = mean
    return generalization_loss(smooth, train_losses, alpha=alpha)


def progress_quotient(
    val_losses: ArrayLike, train_losses: ArrayLike, *, alpha: float, k: int = 5
) -> NDArray[np.intp]:
    """Return where generalisation suffers more than training still progresses (PQ).

    ``PQ(t) = GL(t) / P_k(t)``, with ``P_k(t) = 1000 * (mean / min - 1)`` of the last ``k``
    training losses, looked at after each strip of ``k`` evaluations. Needs positive losses.
    Where training stands still, any ``GL > 0`` stops.

    Args:
        val_losses: Validation loss per evaluation.
        train_losses: Training loss per evaluation, same shape.
        alpha: Threshold of the quotient.
        k: Evaluations per strip.

    Returns:
        Index per curve.
    """
    _check_count("k", k)
    val = finite_or_inf(val_losses)
    train = finite_or_inf(train_losses)
    met = np.zeros(val.shape, dtype=bool)
    gl = _gl(val)
    for end in range(k - 1, val.shape[-1], k):
        strip = train[..., end - k + 1 : end + 1]
        lowest = strip.min(axis=-1)
        usable = (lowest > 0) & np.isfinite(lowest)
        mean = np.where(usable, strip.mean(axis=-1), 1.0)
        progress = 1000.0 * (mean / np.where(usable, lowest, 1.0) - 1.0)
        # Written without the division, which progress = 0 forbids.
        met[..., end] = usable & (gl[..., end] > alpha * progress) & (gl[..., end] > 0)
    return _first_or_last(met)


def successive_rises(
    val_losses: ArrayLike,
    train_losses: ArrayLike | None = None,  # noqa: ARG001 - every criterion takes both
    *,
    s: int,
    k: int = 5,
) -> NDArray[np.intp]:
    """Return where the loss has risen at the ends of ``s`` successive strips (UP).

    The loss at the end of each strip of ``k`` evaluations is compared with the end of the strip
    before. Works for losses of any sign and scale.

    Args:
        val_losses: Validation loss per evaluation.
        train_losses: Not used.
        s: Rises in a row that stop.
        k: Evaluations per strip.

    Returns:
        Index per curve.
    """
    _check_count("s", s)
    _check_count("k", k)
    losses = finite_or_inf(val_losses)
    rises = np.zeros(losses.shape[:-1], dtype=np.int64)
    met = np.zeros(losses.shape, dtype=bool)
    for end in range(2 * k - 1, losses.shape[-1], k):
        now, before = losses[..., end], losses[..., end - k]
        # Two values that are both not finite have not improved: that counts as a rise.
        rises = np.where((now > before) | np.isinf(now), rises + 1, 0)
        met[..., end] = rises >= s
    return _first_or_last(met)


def _patience(k: int) -> Criterion:
    return lambda val, train: patience(val, train, k=k)


DEFAULT_CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "patience 3": _patience(3),
        "patience 5": _patience(5),
        "patience 10": _patience(10),
        "GL 5": lambda val, train: generalization_loss(val, train, alpha=5.0),
        "smoothed GL 5": lambda val, train: smoothed_generalization_loss(val, train, alpha=5.0),
        "PQ 0.75 (k=5)": lambda val, train: progress_quotient(val, train, alpha=0.75),
        "UP 2 (k=5)": lambda val, train: successive_rises(val, train, s=2),
        "UP 4 (k=5)": lambda val, train: successive_rises(val, train, s=4),
        "siblings 3 %": lambda val, train: sibling_lookahead(val, train, price=0.03),
    }
)
"""The criteria compared when nothing else is asked for."""


def compare_criteria(
    curves: pd.DataFrame,
    *,
    monitor: str = "val_loss",
    metric_mode: str | None = None,
    criteria: Mapping[str, Criterion] = DEFAULT_CRITERIA,
) -> pd.DataFrame:
    """Return what each criterion would have done on each curve.

    Evaluations at epoch 0, before any update, are left out.

    Args:
        curves: Columns of ``curves.parquet``.
        monitor: ``val_loss`` or ``val_metric``. Where larger metrics are better, criteria that
            divide losses (GL, PQ) do not hold and run to the end.
        metric_mode: ``max`` or ``min``.
        criteria: Name to criterion.

    Returns:
        Columns ``trial_id, criterion, epochs_used, used_fraction, regret, reason``: the epoch
        after which the criterion stops, its share of the last epoch, and how far the best value
        seen until then is from the best of the whole curve, relative to that best. NaN where a
        curve has no finite value.
    """
    import pandas as pd

    table = curve_table(curves, monitor=monitor, metric_mode=metric_mode, with_epoch_zero=False)
    frames = [
        _outcome(name, table, criterion(table.costs, table.train_losses))
        for name, criterion in criteria.items()
        if table.costs.shape[1] > 0
    ]
    if not frames:
        return pd.DataFrame(columns=list(_EMPTY_OUTCOME))
    return pd.concat([pd.DataFrame(frame) for frame in frames], ignore_index=True)


_EMPTY_OUTCOME = ("trial_id", "criterion", "epochs_used", "used_fraction", "regret", "reason")


def _outcome(name: str, table: CurveTable, stops: NDArray[np.intp]) -> dict[str, Any]:
    rows = np.arange(len(table.trial_ids))
    last = table.lengths - 1
    # The padding after a shorter curve may look like a reason to stop; it is the end instead.
    stops = np.minimum(stops, last)
    epochs_used, last_epoch = table.epochs[rows, stops], table.epochs[rows, last]
    best_so_far = np.minimum.accumulate(finite_or_inf(table.costs), axis=1)
    stopped = stops < last
    reasons = np.where(
        stopped,
        [f"{name} held at epoch {epoch_text(epoch)}" for epoch in epochs_used],
        [
            f"{name} did not stop before the end (epoch {epoch_text(epoch)})"
            for epoch in last_epoch
        ],
    )
    return {
        "trial_id": table.trial_ids,
        "criterion": name,
        "epochs_used": epochs_used,
        "used_fraction": epochs_used / np.where(last_epoch > 0, last_epoch, np.nan),
        "regret": relative_regret(best_so_far[rows, stops], best_so_far[rows, last]),
        "reason": reasons,
    }


def _check_count(name: str, value: int) -> None:
    if value < 1:
        msg = f"{name} must be at least 1, got {value}"
        raise ConfigError(msg)


def _gl(losses: _Losses) -> _Losses:
    best = np.minimum.accumulate(losses, axis=-1)
    usable = np.isfinite(best) & (best > 0)
    ratio = np.where(usable, losses, 1.0) / np.where(usable, best, 1.0)
    return 100.0 * (ratio - 1.0)


def _first_or_last(met: _Met) -> NDArray[np.intp]:
    stops: NDArray[np.intp] = np.where(met.any(axis=-1), met.argmax(axis=-1), met.shape[-1] - 1)
    return stops

"""What the samples themselves say before anything is trained: scale, copies, shift, neighbours.

All of it is cheap: distances are taken between at most ``_MOST_COMPARED`` samples of each part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.records import DataFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from sweepdiag.workloads.rows import Part

__all__ = ["measure_data"]

_MOST_COMPARED = 2000
_MOST_READ = 1024
"""Samples of each part that are read where each is an item of a data set."""

_MOST_FEATURES = 1024
_N_NEIGHBOURS = 10
_LEAST_PAIRS = 20
_FLOOR = 0.1
"""Least deviation by which a feature is divided, as a share of the median one: pixels that are
nearly constant would say as much as all others."""


def measure_data(
    train: Part, validation: Part, *, task: str, loss: str | Callable[..., Any]
) -> DataFacts:
    """Return what a look at the samples tells.

    Args:
        train: Training samples.
        validation: Validation samples.
        task: ``classification``, ``binary`` or ``regression``.
        loss: Name of the loss, or the user's own.

    Returns:
        The facts; ``None`` for each that cannot be known.
    """
    rows, val_rows = _some(train), _some(validation)
    facts: dict[str, Any] = {
        **_classes(task, train.targets),
        **_target_size(task, train.targets),
        "only_train_is_random": train.rows.is_random and not validation.rows.is_random,
        "loss_growth": None if isinstance(loss, str) else _loss_growth(loss, task, train.targets),
    }
    if rows[0].dtype == np.float32 and len(rows[0]) > 1 and np.isfinite(rows[0]).all():
        facts |= _scale(rows[0])
        if len(val_rows[0]) and np.isfinite(val_rows[0]).all():
            facts |= _compare(rows, val_rows, task)
    copies, natural = _copies(train, validation)
    return DataFacts(**facts, copied_share=copies, repeated_share=natural)


_Rows = tuple["NDArray[Any]", "NDArray[Any]"]


def _some(part: Part) -> _Rows:
    """Return evenly spaced samples, inputs flat, of at most so many features."""
    most = _MOST_READ if part.rows.is_sampled else _MOST_COMPARED
    inputs, targets = part.read(_evenly(len(part), most), stream="data facts")
    flat = inputs.reshape(len(inputs), -1)
    return flat[:, _evenly(flat.shape[1], _MOST_FEATURES)], targets.reshape(len(targets), -1)


def _evenly(n: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(np.int64))


def _has_classes(task: str, targets: NDArray[Any]) -> bool:
    """Return whether each sample has one target, and that is a class."""
    if task not in {"classification", "binary"} or targets.size != len(targets):
        return False
    return task == "classification" or bool(np.isin(targets, (0, 1)).all())


def _classes(task: str, targets: NDArray[Any]) -> dict[str, float]:
    """Return how many classes there are and the share of the most frequent one."""
    if not _has_classes(task, targets) or not len(targets):
        return {}
    counts = np.unique(targets, return_counts=True)[1]
    return {"n_classes": len(counts), "largest_class": float(counts.max() / counts.sum())}


def _target_size(task: str, targets: NDArray[Any]) -> dict[str, float]:
    """Return the root mean square of a regression's targets, and that of their deviations."""
    if task != "regression" or not targets.size:
        return {}
    values = targets.reshape(len(targets), -1).astype(np.float64)
    return {
        "target_size": float(np.sqrt(np.mean(values**2))),
        "target_deviation": float(np.sqrt(np.mean(values.var(axis=0)))),
    }


def _scale(inputs: NDArray[Any]) -> dict[str, float]:
    """Return the root mean square of the inputs, and how far features' deviations differ."""
    values = inputs.astype(np.float64)
    deviations = values.std(axis=0)
    moving = deviations[deviations > 0]
    spread = float(np.quantile(moving, 0.95) / np.median(moving)) if moving.size else 1.0
    return {"input_size": float(np.sqrt(np.mean(values**2))), "feature_spread": spread}


def _compare(train: _Rows, validation: _Rows, task: str) -> dict[str, float | None]:
    """Return the shift of the validation inputs and what neighbours say of the labels."""
    centre, deviation = train[0].mean(axis=0, dtype=float), train[0].std(axis=0, dtype=float)
    moving = deviation > 0
    if not moving.any():
        return {}
    divisor = np.maximum(deviation, _FLOOR * np.median(deviation[moving]))
    x, val_x = ((part[0] - centre) / divisor for part in (train, validation))
    spread = validation[0].std(axis=0, dtype=float)[moving] / deviation[moving]
    facts: dict[str, float | None] = {
        "validation_shift": _shift(x[:, moving], val_x[:, moving]),
        "validation_spread": float(np.median(spread)),
    }
    if _has_classes(task, train[1]) and _has_classes(task, validation[1]):
        facts |= _neighbours((x, train[1].ravel()), (val_x, validation[1].ravel()))
    return facts


def _shift(x: NDArray[Any], val_x: NDArray[Any]) -> float:
    """Return the root mean square over features of the shift of the mean, without its noise."""
    noise = x.var(axis=0) / len(x) + val_x.var(axis=0) / len(val_x)
    squares = (val_x.mean(axis=0) - x.mean(axis=0)) ** 2
    # Features are correlated, so that the mean of the squares is noisier than their number says.
    return math.sqrt(max(0.0, float(squares.mean() - 4 * noise.mean())))


def _neighbours(train: _Rows, validation: _Rows) -> dict[str, float | None]:
    x, y = train
    val_x, val_y = validation
    k = min(_N_NEIGHBOURS, len(y) - 1)
    within, n_classes = _votes(x, y, x, k, leave_out=True)
    across, _ = _votes(x, y, val_x, k, leave_out=False)
    facts: dict[str, float | None] = {
        "neighbour_accuracy": float(
            (within.argmax(axis=1) == np.searchsorted(n_classes, y)).mean()
        ),
        "neighbour_val_accuracy": _accuracy(across, n_classes, val_y),
        **_contradicted(within, np.searchsorted(n_classes, y)),
        "agreement": float(np.median(within.max(axis=1)) / k),
    }
    if len(val_y) > 2 * k:
        own, own_classes = _votes(val_x, val_y, val_x, k, leave_out=True)
        facts["validation_neighbour_accuracy"] = _accuracy(own, own_classes, val_y)
    return facts


def _votes(
    x: NDArray[Any], y: NDArray[Any], queries: NDArray[Any], k: int, *, leave_out: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return how many of the k nearest samples of each query have each class."""
    classes, codes = np.unique(y, return_inverse=True)
    distances = (x * x).sum(axis=1)[None, :] - 2.0 * (queries @ x.T)
    if leave_out:
        np.fill_diagonal(distances, np.inf)
    nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
    votes = np.zeros((len(queries), len(classes)), dtype=np.int64)
    for column in codes[nearest].T:
        votes[np.arange(len(queries)), column] += 1
    return votes, classes


def _accuracy(votes: NDArray[Any], classes: NDArray[Any], y: NDArray[Any]) -> float:
    return float((classes[votes.argmax(axis=1)] == y).mean())


def _contradicted(votes: NDArray[Any], codes: NDArray[Any]) -> dict[str, float | None]:
    """Return what share of labels is contradicted where neighbours agree most, and how evenly."""
    agreement = votes.max(axis=1)
    least = np.quantile(agreement, 0.75)
    sure = agreement >= least
    told = votes.argmax(axis=1)
    wrong = sure & (told != codes)
    return {
        "label_noise": float(wrong.sum() / sure.sum()),
        "noise_spread": _spread(told[wrong], codes[wrong], n_classes=votes.shape[1]),
        "sure_agreement": float(least / votes[0].sum()),
    }


def _spread(told: NDArray[Any], codes: NDArray[Any], *, n_classes: int) -> float | None:
    """Return how often two labels contradict neighbours of the same class alike, over chance.

    Labels that were drawn at random do so once in as many times as there are other classes; where
    classes overlap, one or two of them are confused with neighbours of a class and all others are
    not.
    """
    counts = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts, (told, codes), 1)
    of_class = counts.sum(axis=1)
    n_pairs = int((of_class * (of_class - 1)).sum())
    if n_classes < 3 or n_pairs < _LEAST_PAIRS:
        return None
    return float((counts * (counts - 1)).sum() / n_pairs * (n_classes - 1))


def _copies(train: Part, validation: Part) -> tuple[float | None, float | None]:
    """Return the share of validation inputs that occur in training, and of repeats within.

    Where each sample is an item of a data set, up to 1,024 of each part are compared, and the
    shares are lower bounds.
    """
    if train.rows.is_random or validation.rows.is_random or not len(validation):
        return None, None
    keys = [_keys(part) for part in (train, validation)]
    distinct, counts = np.unique(keys[0], return_counts=True)
    repeated = float(counts[counts > 1].sum() / len(keys[0]))
    return float(np.isin(keys[1], distinct).mean()), repeated


def _keys(part: Part) -> NDArray[np.int64]:
    """Return a hash of each input."""
    return np.array(
        [hash(row.tobytes()) for piece in part.input_pieces() for row in piece], dtype=np.int64
    )


def _loss_growth(loss: Callable[..., Any], task: str, targets: NDArray[Any]) -> float | None:
    """Return the loss of the same samples taken twice over that of taking them once.

    A mean stays the same (1), a sum doubles (2). ``None`` where the loss cannot be called so.
    """
    import torch

    from sweepdiag.workloads.randomness import seeded

    some = torch.as_tensor(targets[:64])
    try:
        with seeded(0, "data facts"), torch.no_grad():
            n_outputs = int(targets.max()) + 1 if task == "classification" else 0
            shape = (len(some), n_outputs) if n_outputs else tuple(some.shape)
            outputs = torch.randn(shape)
            once = float(loss(outputs, some))
            twice = float(loss(torch.cat([outputs, outputs]), torch.cat([some, some])))
    except Exception:  # noqa: BLE001 - a loss of the user's own may need outputs of any form
        return None
    return twice / once if once and math.isfinite(once) and math.isfinite(twice) else None

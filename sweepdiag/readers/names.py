"""What the name of a column says: a loss or a metric, of which part of the data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "first_of",
    "is_learning_rate",
    "is_of_losses",
    "is_only_loss",
    "loss_of",
    "losses_among",
    "may_be_loss",
    "metric_mode",
    "metrics_of",
    "paired_losses",
    "part_of",
    "part_of_log",
    "part_of_losses",
    "says_part",
    "summed_losses",
    "without_summaries",
    "words_of",
]

_TRAIN = {"train", "training", "trn", "tr", "learn"}
_VAL = {"val", "valid", "validation", "eval", "evaluation", "dev", "vl", "va"}
_TEST = {"test", "testing", "holdout", "heldout"}
_PARTS = {"train": _TRAIN, "val": _VAL, "test": _VAL | _TEST}
_LOSS = {"loss", "losses", "nll", "xent", "logloss", "mlogloss"}
_LOSSES = _LOSS | {"error", "errors"}
"""Words by which files and folders say that they are of losses."""
_LOG = {
    "log", "logs", "logger", "metrics", "metric", "history", "result", "results", "curve",
    "curves", "stats",
}  # fmt: skip
"""Words by which a file says that it is a log."""
_HARMLESS = {"epoch", "mean", "avg", "average", "total", "per", "value", "phase", "set"}
"""Words beside ``train`` and ``loss`` that do not make another quantity of it."""
_RUNTIME = ["train", "runtime"]
_PER_STEP = {"step", "batch"}
_TIMES = {
    "time", "wall", "date", "timestamp", "runtime", "duration", "elapsed", "eta", "seconds",
    "secs", "sec", "minutes", "hours", "fps",
}  # fmt: skip
_BETTER_UP = {
    "accuracy", "acc", "f1", "auc", "auroc", "precision", "recall", "iou", "miou", "dice",
    "bleu", "r2", "top1", "top5", "score", "macc", "aacc",
}  # fmt: skip
_MEAN_PRECISION = re.compile(r"(?:hbb|obb)?m?ap\d*")
_BETTER_DOWN = {"error", "err", "mae", "mse", "rmse", "perplexity", "ppl", "wer", "cer"}
_ERRORS = ("mse", "rmse", "mae")
_WORD_BREAK = re.compile(r"(?:(?<=[a-z][a-z0-9])|(?<=[0-9]))(?=[A-Z])")
"""Where a capital begins a word: in ``trainLoss``, but not in ``mAP`` or ``mIoU``."""


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case; every sign between words counts as a blank."""
    return list(_words_of(name))


@lru_cache(maxsize=10_000)  # the files of a folder have the same columns
def _words_of(name: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", _WORD_BREAK.sub(" ", name).lower()))


def is_learning_rate(name: str) -> bool:
    """Return whether a name says that its column is of the learning rate."""
    words = words_of(name)
    return "lr" in words or "learning_rate" in "_".join(words)


def first_of(usual: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the column with the name that stands first among the usual ones."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault("_".join(words_of(name)), name)
    return next((by_name[name] for name in usual if name in by_name), None)


def loss_of(names: Sequence[str], *, is_train: bool) -> str | None:
    """Return the column of a loss: the one whose name says so most plainly."""
    ranked = []
    for place, name in enumerate(names):
        words = set(words_of(name))
        rest = words - _LOSS - _HARMLESS
        if not words & _LOSS or "value_loss" in "_".join(words_of(name)):  # that of a critic
            continue
        kinds = (_TRAIN, set(), _PER_STEP) if is_train else (_VAL, _VAL | _TEST)
        for rank, kind in enumerate(kinds):
            words_left = rest - _TRAIN if kind is _PER_STEP else rest
            if (kind and words_left and words_left <= kind) or (not kind and not rest):
                ranked.append((rank, len(words), place, name))
    return min(ranked)[-1] if ranked else None


def without_summaries(names: Sequence[str]) -> list[str]:
    """Return the columns without a training loss that sums the whole of a training up.

    Hugging Face's Trainer ends its log with a record of ``train_runtime`` and ``train_loss``, the
    mean over all of it; the losses of the curve are called ``loss``.
    """
    summaries = {(*words[:-1], "loss") for words in map(words_of, names) if words[-2:] == _RUNTIME}
    kept = [name for name in names if tuple(words_of(name)) not in summaries]
    return kept if loss_of(kept, is_train=True) is not None else list(names)


def summed_losses(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parts of a training and a validation loss that are logged for both.

    Detectors log ``train/box_loss``, ``train/cls_loss``, … and the same of validation, but not
    their sums.

    Args:
        names: The columns.

    Returns:
        Columns of training and of validation losses, part by part; none if there are no such.
    """
    parts: tuple[dict[frozenset[str], str], ...] = ({}, {})
    for name in names:
        words = frozenset(words_of(name))
        for found, kind in zip(parts, (_TRAIN, _VAL), strict=True):
            if words & _LOSS and words & kind:
                found.setdefault(words - kind, name)
    both = [part for part in parts[0] if part in parts[1]]
    return tuple(parts[0][part] for part in both), tuple(parts[1][part] for part in both)


def paired_losses(names: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the one column of a loss, or an error, that has a twin of the validation's.

    ``loss_G`` and ``val_loss_G`` are such, ``train_mse`` and ``val_mse``, or
    ``training/binary_logloss`` and ``valid_1/binary_logloss``. Where there is no validation a test
    is the twin. Of errors the squared one is preferred, which is what is mostly trained with; of
    several losses none.
    """
    words = {name: frozenset(w for w in words_of(name) if not w.isdigit()) for name in names}
    held_out = _VAL if any(own & _VAL for own in words.values()) else _TEST
    of_train: dict[frozenset[str], list[str]] = {}
    for name in names:
        if not words[name] & (_VAL | _TEST):
            of_train.setdefault(words[name] - _TRAIN, []).append(name)
    pairs = [
        (train, val, words[val] - held_out)
        for val in names
        if words[val] & held_out
        for train in of_train.get(words[val] - held_out, [])
    ]
    losses = [pair[:2] for pair in pairs if pair[2] & _LOSS]
    if losses:
        return losses[0] if len(losses) == 1 else (None, None)
    errors = (pair[:2] for what in _ERRORS for pair in pairs if pair[2] == {what})
    return next(errors, (None, None))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Metric:
    """A column that is named like a metric: which one, and in which order it is preferred."""

    name: str
    what: frozenset[str]
    part: str
    order: tuple[bool, bool, int, int]


def metrics_of(names: Sequence[str], *, has_val_loss: bool) -> tuple[str | None, str | None]:
    """Return the columns of a training and of a validation metric, the same one if possible.

    A metric that does not say of which part it is counts as the training's where the
    validation's is there too, as in Keras' ``accuracy`` and ``val_accuracy``, or where there is
    no validation loss. Else it is taken for the validation's.

    Args:
        names: The columns.
        has_val_loss: Whether there is a validation loss.
    """
    found = [metric for metric in map(_metric, names, range(len(names))) if metric is not None]
    own = {part: [m for m in found if m.part == part] for part in ("train", "val", "test", "")}
    held_out = own["val"] or own["test"]
    if not held_out and has_val_loss:
        held_out, own[""] = own[""], []
    of_train = own["train"] or own[""]
    known = {m.what for m in (*own["train"], *own[""])}
    val = min(held_out, key=lambda m: (m.what not in known, m.order), default=None)
    same = [m for m in (*own["train"], *own[""]) if val is not None and m.what == val.what]
    train = min(same or of_train, key=lambda m: m.order, default=None)
    return (None if train is None else train.name), (None if val is None else val.name)


def _metric(name: str, place: int) -> _Metric | None:
    words = set(words_of(name)) - _HARMLESS
    up = {word for word in words if word in _BETTER_UP or _MEAN_PRECISION.fullmatch(word)}
    known = up | (words & _BETTER_DOWN)
    # Detectors count thresholds (mAP50-95) and boxes and masks: metrics/mAP50-95(B).
    rest = words - known - {"metrics", "b", "m"} - {word for word in words if word.isdigit()}
    part = _part(rest)
    if not known or (rest and not part):
        return None
    # The mean over thresholds sums up precision and recall.
    is_whole = any(map(_MEAN_PRECISION.fullmatch, words)) and "95" in words
    order = (not up, not is_whole, len(set(words_of(name))), place)
    return _Metric(name=name, what=frozenset(words - rest), part=part, order=order)


def part_of(text: str) -> str:
    """Return ``train``, ``val`` or ``test``, whichever a text says and nothing else; else ''."""
    return _part(set(words_of(text)))


def part_of_losses(text: str) -> str:
    """Return the part that a text says where it says besides that it is of losses; else ''."""
    words = set(words_of(text))
    return _part(words - _LOSSES - _HARMLESS) if is_of_losses(text) else ""


def part_of_log(text: str) -> str:
    """Return the part that a text says where it says besides that it is a log; else ''."""
    return _part(set(words_of(text)) - _LOSSES - _HARMLESS - _LOG)


def is_only_loss(text: str) -> bool:
    """Return whether a text says that it is of a loss, and of nothing else."""
    words = set(words_of(text))
    return bool(words & _LOSS) and words <= _LOSS | _HARMLESS | _LOG


def is_of_losses(text: str) -> bool:
    """Return whether a text says, among other things, that it is of losses."""
    return bool(set(words_of(text)) & _LOSSES)


def _part(words: set[str]) -> str:
    return next((part for part, kind in _PARTS.items() if words and words <= kind), "")


def says_part(name: str, *parts: str) -> bool:
    """Return whether a name says, among other things, that it is of one of these parts, or any."""
    words = set(words_of(name))
    return any(words & _PARTS[part] for part in parts or _PARTS)


def may_be_loss(name: str) -> bool:
    """Return whether nothing in a name speaks against a loss: no time, rate or score."""
    words = set(words_of(name))
    is_score = metric_mode(name) == "max" and not words & _LOSS  # but dice_loss is a loss
    return not (is_score or words & _TIMES or is_learning_rate(name))


def losses_among(names: Sequence[str]) -> list[str]:
    """Return the columns that may hold a loss, if not plainly: those called so come first."""
    called = [name for name in names if set(words_of(name)) & _LOSS]
    errors = [name for name in names if set(words_of(name)) & _BETTER_DOWN]
    return list(dict.fromkeys([*called, *errors]))


def metric_mode(name: str) -> str | None:
    """Return ``max`` if a metric of this name is better when larger, ``min`` if when smaller."""
    words = set(words_of(name))
    if words & _BETTER_UP or any(map(_MEAN_PRECISION.fullmatch, words)):
        return "max"
    return "min" if words & _BETTER_DOWN else None

"""Which column holds what, by the names that libraries and people give them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "LOSSES",
    "METRICS",
    "QUANTITIES",
    "ROLES",
    "ColumnMap",
    "find_columns",
    "metric_mode",
    "test_columns",
]

LOSSES = ("train_loss", "val_loss")
METRICS = ("train_metric", "val_metric")
QUANTITIES = (*LOSSES, *METRICS)
ROLES = ("run", "epoch", "step", "seed", *QUANTITIES)
"""What a column can be said to hold with ``--columns ROLE=NAME``."""

_RUN_NAMES = (
    "run_id", "run", "run_name", "trial_id", "trial", "trial_name", "trial_number",
    "experiment_id", "experiment", "experiment_name", "exp_id", "exp_name", "exp", "config_id",
    "job_id", "id", "uid", "uuid", "name", "number",
)  # fmt: skip
_EPOCH_NAMES = ("epoch", "epochs", "current_epoch", "n_epoch", "epoch_number")
_STEP_NAMES = (
    "step", "global_step", "trainer_global_step", "training_iteration", "iteration", "iterations",
    "iter", "steps", "n_iter", "num_steps", "update", "updates", "t", "time_step",
)  # fmt: skip
_SEED_NAMES = ("seed", "random_seed", "seed_id", "random_state", "rng_seed", "replicate")

_TRAIN = {"train", "training", "trn", "tr"}
_VAL = {"val", "valid", "validation", "eval", "evaluation", "dev"}
_TEST = {"test", "testing", "holdout", "heldout"}
_LOSS = {"loss", "losses", "nll", "xent"}
_HARMLESS = {"epoch", "mean", "avg", "average", "total", "per", "value"}
"""Words beside ``train`` and ``loss`` that do not make another quantity of it."""
_BETTER_UP = {
    "accuracy", "acc", "f1", "auc", "auroc", "precision", "recall", "iou", "miou", "dice", "map",
    "bleu", "r2", "top1", "top5", "score",
}  # fmt: skip
_BETTER_DOWN = {"error", "err", "mae", "mse", "rmse", "perplexity", "ppl", "wer", "cer"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnMap:
    """The columns of one table by what they hold; ``None`` where there is none.

    Attributes:
        run: Columns that together name the run; none where the file's name does.
        epoch: Epochs trained.
        step: Optimizer steps, or iterations.
        seed: The seed of the run.
        train_loss: Training loss.
        val_loss: Validation loss.
        train_metric: A training metric.
        val_metric: The validation metric.
    """

    run: tuple[str, ...] = ()
    epoch: str | None = None
    step: str | None = None
    seed: str | None = None
    train_loss: str | None = None
    val_loss: str | None = None
    train_metric: str | None = None
    val_metric: str | None = None

    @property
    def has_loss(self) -> bool:
        """Whether there is anything to judge."""
        return self.train_loss is not None or self.val_loss is not None

    def named(self) -> list[tuple[str, str]]:
        """Return pairs of what is held and the column, only of what there is."""
        pairs = [("run", " + ".join(self.run))]
        pairs += [(role, getattr(self, role) or "") for role in ROLES if role != "run"]
        return [(role, name) for role, name in pairs if name]

    def used(self) -> set[str]:
        """Return the names of all columns that hold something known."""
        return {*self.run, *(name for role, name in self.named() if role != "run")}


def find_columns(names: Sequence[str], given: Mapping[str, str]) -> ColumnMap:
    """Return which column holds what.

    Names are compared in lower case with every sign between words taken as a blank:
    ``train/loss``, ``Train Loss`` and ``trainLoss`` are one name.

    Args:
        names: The columns.
        given: What the user says, by role; it wins over every usual name. An empty name says
            that there is no such column, ``run=lr+seed`` that two columns name the run together.

    Returns:
        The columns found.

    Raises:
        ConfigError: If there is no such role, or no such column.
    """
    for role, text in given.items():
        if role not in ROLES:
            raise ConfigError(unknown_name("role in --columns", role, ROLES))
        for name in _parts(role, text, names):
            if name not in names:
                raise ConfigError(unknown_name(f"column for {role}", name, names[:50]))
    taken = {name for role, text in given.items() for name in _parts(role, text, names)}
    free = [name for name in names if name not in taken]
    found: dict[str, str | None] = {
        "run": _first_of(_RUN_NAMES, free),
        "epoch": _first_of(_EPOCH_NAMES, free),
        "step": _first_of(_STEP_NAMES, free),
        "seed": _first_of(_SEED_NAMES, free),
        "train_loss": _loss(free, is_train=True),
        "val_loss": _loss(free, is_train=False),
    }
    found["val_metric"] = _metric(free, (_VAL, _VAL | _TEST))
    found["train_metric"] = _metric(free, (_TRAIN, set()))
    found |= {role: text or None for role, text in given.items() if role != "run"}
    usual = found.pop("run")
    run = _parts("run", given["run"], names) if "run" in given else (usual,)
    return ColumnMap(run=tuple(name for name in run if name), **found)


def test_columns(names: Sequence[str], columns: ColumnMap) -> list[str]:
    """Return the columns of a test after training, which hold nothing of the curve."""
    used = columns.used()
    return [name for name in names if name not in used and set(_words(name)) & _TEST]


def metric_mode(name: str) -> str | None:
    """Return ``max`` if a metric of this name is better when larger, ``min`` if when smaller."""
    words = set(_words(name))
    if words & _BETTER_UP:
        return "max"
    return "min" if words & _BETTER_DOWN else None


def _parts(role: str, text: str, names: Sequence[str]) -> tuple[str, ...]:
    if not text:
        return ()
    return tuple(text.split("+")) if role == "run" and text not in names else (text,)


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z0-9]+", spaced.lower())


def _first_of(usual: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the column with the name that stands first among the usual ones."""
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault("_".join(_words(name)), name)
    return next((by_name[name] for name in usual if name in by_name), None)


def _loss(names: Sequence[str], *, is_train: bool) -> str | None:
    """Return the column of a loss: the one whose name says so most plainly."""
    ranked = []
    for place, name in enumerate(names):
        words = set(_words(name))
        rest = words - _LOSS - _HARMLESS
        if not words & _LOSS:
            continue
        kinds = (_TRAIN, set(), {"step"}) if is_train else (_VAL, _VAL | _TEST)
        for rank, kind in enumerate(kinds):
            is_step = kind == {"step"}
            words_left = rest - _TRAIN if is_step else rest
            if (kind and words_left and words_left <= kind) or (not kind and not rest):
                ranked.append((rank, len(words), place, name))
    return min(ranked)[-1] if ranked else None


def _metric(names: Sequence[str], kinds: Sequence[set[str]]) -> str | None:
    ranked = []
    for place, name in enumerate(names):
        words = set(_words(name))
        known = words & (_BETTER_UP | _BETTER_DOWN)
        rest = words - _BETTER_UP - _BETTER_DOWN - _HARMLESS
        is_down = not words & _BETTER_UP
        for rank, kind in enumerate(kinds):
            if known and ((rest and rest <= kind) or (not kind and not rest)):
                ranked.append((rank, is_down, len(words), place, name))
    return min(ranked)[-1] if ranked else None

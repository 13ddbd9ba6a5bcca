"""Which column holds what, by the names that libraries and people give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.readers.names import (
    first_of,
    loss_of,
    metric_mode,
    metrics_of,
    paired_losses,
    summed_losses,
    without_summaries,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "DATA_COUNTS",
    "LOSSES",
    "METRICS",
    "QUANTITIES",
    "ROLES",
    "ROUND_NAMES",
    "ColumnMap",
    "find_columns",
    "is_counter",
    "metric_mode",
]

LOSSES = ("train_loss", "val_loss")
METRICS = ("train_metric", "val_metric")
QUANTITIES = (*LOSSES, *METRICS)
ROLES = ("run", "epoch", "step", "seed", *QUANTITIES)
"""What a column can be said to hold with ``--columns ROLE=NAME``."""

_RUN_NAMES = (
    "run_id", "run", "run_name", "trial_id", "trial", "trial_name", "trial_number",
    "experiment_id", "experiment", "experiment_name", "exp_id", "exp_name", "exp", "config_id",
    "job_id", "id", "uid", "uuid", "run_uuid", "name", "number",
)  # fmt: skip
ROUND_NAMES = (
    "round", "rounds", "comm_round", "comm_rounds", "communication_round", "communication_rounds",
    "server_round", "global_round", "fl_round", "federated_round", "round_number", "round_idx",
    "boosting_round", "boosting_rounds", "tree", "trees",
)  # fmt: skip
"""What counts in the place of epochs where clients train together, or trees are added."""
_EPOCH_NAMES = (
    "epoch", "epochs", "current_epoch", "n_epoch", "epoch_number", *ROUND_NAMES,
)  # fmt: skip
DATA_COUNTS = (
    "tokens", "tokens_seen", "n_tokens", "num_tokens", "total_tokens", "tokens_processed",
    "train_tokens", "num_input_tokens_seen", "samples_seen", "examples_seen", "n_examples_seen",
    "n_samples_seen", "images_seen", "n_examples", "num_examples", "n_samples", "num_samples",
    "samples", "examples",
)  # fmt: skip
"""Names of how much was trained with so far, or of how much there is: the cells tell which."""
_STEP_NAMES = (
    "step", "global_step", "trainer_global_step", "train_global_step", "training_iteration",
    "iteration", "iterations", "iter", "steps", "n_iter", "num_steps", "update", "updates", "t",
    "time_step", "total_timesteps", "time_total_timesteps", "timesteps_total", "num_timesteps",
    "current_steps",
    *DATA_COUNTS,
)  # fmt: skip
_SEED_NAMES = (
    "seed", "random_seed", "seed_id", "random_state", "rng_seed", "replicate", "fold", "fold_id",
    "cv_fold", "kfold",
)  # fmt: skip
_USUAL_NAMES = {
    "run": _RUN_NAMES, "epoch": _EPOCH_NAMES, "step": _STEP_NAMES, "seed": _SEED_NAMES,
}  # fmt: skip
_COUNTERS = {*_EPOCH_NAMES, *_STEP_NAMES, "batch", "batch_idx", "batch_index", "minibatch"}


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
        sums: Columns whose sum a loss is, where it is one, by role.
    """

    run: tuple[str, ...] = ()
    epoch: str | None = None
    step: str | None = None
    seed: str | None = None
    train_loss: str | None = None
    val_loss: str | None = None
    train_metric: str | None = None
    val_metric: str | None = None
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def has_loss(self) -> bool:
        """Whether there is anything to judge."""
        return self.train_loss is not None or self.val_loss is not None

    def named(self) -> list[tuple[str, str]]:
        """Return pairs of what is held and the column, only of what there is."""
        pairs = [("run", " + ".join(self.run))]
        pairs += [(role, getattr(self, role) or "") for role in ROLES if role != "run"]
        return [(role, name) for role, name in pairs if name]

    def columns_of(self, role: str) -> tuple[str, ...]:
        """Return the columns that together hold something; none where it is not known."""
        if role == "run":
            return self.run
        name = getattr(self, role)
        return self.sums.get(role, () if name is None else (name,))

    def used(self) -> set[str]:
        """Return the names of all columns that hold something known."""
        return {name for role in ROLES for name in self.columns_of(role)}


def find_columns(names: Sequence[str], given: Mapping[str, str]) -> ColumnMap:
    """Return which column holds what.

    Names are compared in lower case with every sign between words taken as a blank:
    ``train/loss``, ``Train Loss`` and ``trainLoss`` are one name.

    Args:
        names: The columns.
        given: What the user says, by role; it wins over every usual name. An empty name says
            that there is no such column, ``run=lr+seed`` that two columns name the run together,
            ``val_loss=a+b`` that a loss is the sum of two columns.

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
    parts = {role: _parts(role, text, names) for role, text in given.items()}
    taken = {name for columns in parts.values() for name in columns}
    free = without_summaries([name for name in names if name not in taken])
    for role, usual in _USUAL_NAMES.items():
        parts.setdefault(role, _one(first_of(usual, free)))
    if parts["epoch"] and "step" not in given and first_of(DATA_COUNTS, parts["step"]):
        parts["step"] = ()  # beside epochs it is mostly the size of the data
    parts = {role: _one(loss_of(free, is_train=role == "train_loss")) for role in LOSSES} | parts
    if not any(parts[role] for role in LOSSES) and not given.keys() & set(LOSSES):
        parts |= dict(zip(LOSSES, summed_losses(free), strict=True))
        if not any(parts[role] for role in LOSSES):
            pair = paired_losses(free)
            parts |= {role: _one(name) for role, name in zip(LOSSES, pair, strict=True)}
    losses = {name for role in LOSSES for name in parts[role]}
    others = [name for name in free if name not in losses]
    metrics = metrics_of(others, has_val_loss=bool(parts["val_loss"]))
    parts = {role: _one(name) for role, name in zip(METRICS, metrics, strict=True)} | parts
    run = parts.pop("run")
    return ColumnMap(
        run=run,
        sums={role: columns for role, columns in parts.items() if len(columns) > 1},
        **{role: " + ".join(columns) or None for role, columns in parts.items()},
    )


def is_counter(name: str) -> bool:
    """Return whether a column is named like a count of epochs, steps or the like."""
    return first_of(tuple(_COUNTERS), [name]) is not None


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _parts(role: str, text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that a text names: one, or for runs and losses several with ``+``."""
    if not text:
        return ()
    is_several = role in {"run", *LOSSES} and text not in names
    return tuple(part.strip() for part in text.split("+")) if is_several else (text,)

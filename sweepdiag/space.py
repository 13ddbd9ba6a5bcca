"""Axes to plan: which trials a sweep consists of, and what each of them is called.

A trial's identifier is a hash of everything its curve depends on, so that the same trial has the
same name in every sweep, on every machine, in whatever order it runs.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.records import Axis, AxisValue, Pack, Plan, Scale, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "LEARNING_RATES",
    "MEMBER_AXES",
    "TRAINING_AXES",
    "TRAINING_LENGTHS",
    "AxisLimits",
    "axes_of_configurations",
    "axis_limits",
    "canonical",
    "check_axes",
    "configuration_digest",
    "grid_axes",
    "grid_configurations",
    "is_whole_range",
    "plan_packs",
    "plan_trials",
    "shard_trials",
]

LEARNING_RATES = ("lr", "learning_rate")
"""Axes that set the learning rate."""

_LARGEST_FRACTION = 0.99

MEMBER_AXES = frozenset({"lr", "momentum", "weight_decay"})
"""Axes in which members of one pack may differ: they are numbers in the update, not shapes."""

TRAINING_AXES = MEMBER_AXES | {"batch_size"}
"""Axes that training itself understands; every other axis must be an argument of ``model``."""

TRAINING_LENGTHS = frozenset({
    "epochs", "max_epoch", "max_epochs", "max_iter", "max_iters", "max_steps", "n_epoch",
    "n_epochs", "num_epoch", "num_epochs", "num_train_epochs", "total_epochs", "total_steps",
    "train_epochs", "train_steps", "training_steps",
})  # fmt: skip
"""Names of how long a training was to last."""

_SWEEP_SETTINGS = {"optimizer", "schedule", "loss", "epochs", "warmup_epochs", "beta1", "beta2"}
"""What somebody might vary that a plan holds fixed."""

_SIGNIFICANT_DIGITS = 12
_ID_LENGTH = 16
_ROUNDING = 1e-9  # of sums of steps
_MOST_MOVED = 0.05  # of the distance between two grid points, by rounding them


def canonical(value: AxisValue) -> AxisValue:
    """Return an axis value as it is trained with and hashed: floats at 12 significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
    return value


def grid_axes(parameters: Mapping[str, Mapping[str, Any]]) -> tuple[Axis, ...]:
    """Return the axes of a grid.

    Args:
        parameters: Per axis one of ``{"values": […]}``, ``{"value": x}`` and
            ``{"min": a, "max": b, "distribution": …, "n": points}``.

    Returns:
        The axes in the order given, each with its planned values.
    """
    return tuple(_axis(name, _grid_values(name, block)) for name, block in parameters.items())


def axes_of_configurations(
    names: Sequence[str], configurations: Sequence[Mapping[str, AxisValue]]
) -> tuple[Axis, ...]:
    """Return the axes that sampled configurations span, with the values that occur in them."""
    return tuple(
        _axis(name, list(dict.fromkeys(canonical(c[name]) for c in configurations)))
        for name in names
    )


def grid_configurations(axes: Sequence[Axis]) -> list[dict[str, AxisValue]]:
    """Return every combination of the axes' values."""
    names = [axis.name for axis in axes]
    return [
        dict(zip(names, values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def plan_trials(
    axes: Sequence[Axis],
    configurations: Sequence[Mapping[str, AxisValue]],
    seeds: Sequence[int],
    identity: Mapping[str, Any],
) -> Plan:
    """Return the plan: every configuration with every seed.

    Args:
        axes: The axes, for the tables and figures.
        configurations: Values per axis name.
        seeds: Seeds of each configuration.
        identity: All else that a curve depends on (settings, workload, data), as JSON values.

    Returns:
        The plan; configurations that coincide after rounding are planned once.
    """
    trials: dict[str, Trial] = {}
    for configuration in configurations:
        values = {axis.name: _trained_value(axis, configuration[axis.name]) for axis in axes}
        config_id = _digest({"axes": values, **identity})
        for seed in seeds:
            trial_id = _digest({"axes": values, "seed": seed, **identity})
            trials[trial_id] = Trial(
                trial_id=trial_id, config_id=config_id, axes=values, seed=seed
            )
    return Plan(axes=tuple(axes), trials=tuple(trials.values()))


def configuration_digest(values: Mapping[str, AxisValue]) -> str:
    """Return an identifier of a point on the axes, of which nothing else is known."""
    return _digest({"axes": dict(values)})


def _trained_value(axis: Axis, value: AxisValue) -> AxisValue:
    """Return a value as it is trained with; sizes written as 16.0 are whole."""
    if axis.is_structural and isinstance(value, float) and value.is_integer():
        return int(value)
    return canonical(value)


def check_axes(axes: Sequence[Axis], *, model_arguments: Iterable[str], n_train: int) -> None:
    """Check that every axis means something to this workload.

    Args:
        axes: The planned axes.
        model_arguments: Names of the arguments of the workload's ``model``.
        n_train: Training samples, the largest possible batch.

    Raises:
        ConfigError: If an axis matches nothing or a value is out of range.
    """
    arguments = set(model_arguments)
    for axis in axes:
        if axis.name not in TRAINING_AXES | arguments:
            message = unknown_name("axis", axis.name, TRAINING_AXES | arguments)
            if axis.name in _SWEEP_SETTINGS:
                message += f". {axis.name} is the same in a whole sweep: run one for each"
            raise ConfigError(message)
        if not axis.values:
            msg = f"axis {axis.name!r} needs at least one value, got none"
            raise ConfigError(msg)
        if axis.name in _RANGES:
            _check_range(axis, n_train)


_RANGES = {
    "lr": (0.0, math.inf, "above 0"),
    "momentum": (0.0, 1.0, "in [0, 1)"),
    "weight_decay": (0.0, math.inf, "at least 0"),
    "batch_size": (1, math.inf, "at least 1"),
}


def _check_range(axis: Axis, n_train: int) -> None:
    low, high, rule = _RANGES[axis.name]
    for value in axis.values:
        if isinstance(value, bool | str) or not math.isfinite(value):
            msg = f"{axis.name} must be a finite number, got {value!r}"
            raise ConfigError(msg)
        if axis.name == "batch_size" and (value != int(value) or not 1 <= value <= n_train):
            msg = (
                f"batch_size must be a whole number in [1, {n_train}] (the training set has "
                f"{n_train} samples), got {value!r}"
            )
            raise ConfigError(msg)
        if not low <= value < high or (axis.name == "lr" and value == 0):
            msg = f"{axis.name} must be {rule}, got {value!r}"
            raise ConfigError(msg)


def plan_packs(
    trials: Iterable[Trial],
    *,
    axes: Sequence[Axis],
    pack_size: int,
    attempts: Mapping[str, int],
) -> tuple[Pack, ...]:
    """Return the packs in which trials are trained, those with the most steps first.

    Trials share a pack if they agree on every structural axis. How they are packed changes nothing
    in their curves, only how long they take.

    Args:
        trials: What is still to be trained.
        axes: The plan's axes.
        pack_size: Most members of a pack.
        attempts: Number of attempts already made at a trial, by ``trial_id``.

    Returns:
        The packs, none of them empty.
    """
    groups = _pack_groups(trials, axes)
    chunks = [chunk for group in groups for chunk in _even_chunks(group, pack_size)]
    chunks.sort(key=lambda chunk: (chunk[0].axes.get("batch_size", 1), -len(chunk)))
    return tuple(
        Pack(
            trials=tuple(chunk),
            attempts=tuple(attempts.get(trial.trial_id, 0) + 1 for trial in chunk),
        )
        for chunk in chunks
    )


def shard_trials(plan: Plan, index: int, count: int) -> tuple[Trial, ...]:
    """Return one part of a plan; the parts are disjoint, and together they are the plan.

    Parts take about the same number of steps. Trials that can share a pack stay together as far as
    that allows, since a pack that is cut in two costs more than one.

    Args:
        plan: All trials.
        index: Which part, from 0.
        count: Number of parts.

    Returns:
        The part's trials, at least one.

    Raises:
        ConfigError: If there are more parts than trials.
    """
    n_trials = len(plan.trials)
    if count > n_trials:
        message = f"a plan of {n_trials} trials has at most {n_trials} shards, got {count}"
        raise ConfigError(message)
    ordered = [trial for group in _pack_groups(plan.trials, plan.axes) for trial in group]
    n_steps = [1.0 / float(trial.axes.get("batch_size", 1)) for trial in ordered]
    ends = list(itertools.accumulate(n_steps))
    cuts = [0]
    for part in range(1, count):
        even = bisect.bisect_left(ends, ends[-1] * part / count * (1 - _ROUNDING)) + 1
        # Each part has a trial, and leaves one for each part after it.
        cuts.append(min(max(even, cuts[-1] + 1), n_trials - (count - part)))
    return tuple(ordered[cuts[index] : [*cuts, n_trials][index + 1]])


def _pack_groups(trials: Iterable[Trial], axes: Sequence[Axis]) -> list[list[Trial]]:
    """Return the trials that may share a pack, group by group."""
    structural = [axis.name for axis in axes if axis.is_structural]
    groups: dict[tuple[AxisValue, ...], list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[tuple(trial.axes[name] for name in structural)].append(trial)
    return list(groups.values())


def _even_chunks(trials: list[Trial], most: int) -> Iterator[list[Trial]]:
    n_chunks = math.ceil(len(trials) / most)
    for i in range(n_chunks):
        yield trials[i::n_chunks]


def is_whole_range(name: str, low: float, high: float) -> bool:
    """Return whether a range holds whole numbers only: sizes such as a capacity from 8 to 512.

    Args:
        name: The axis; those that are numbers in the update (``lr``, …) are never whole.
        low: Lower end.
        high: Upper end.
    """
    return name not in MEMBER_AXES and low >= 1 and low == int(low) and high == int(high)


def _grid_values(name: str, block: Mapping[str, Any]) -> list[AxisValue]:
    if "values" in block:
        return list(dict.fromkeys(canonical(value) for value in block["values"]))
    if "value" in block:
        return [canonical(block["value"])]
    low, high, n = float(block["min"]), float(block["max"]), int(block["n"])
    shares = [i / (n - 1) for i in range(n)] if n > 1 else [0.5]
    if _is_log(block.get("distribution", "")):
        exact = [low * (high / low) ** share for share in shares]
    else:
        exact = [low + (high - low) * share for share in shares]
    if is_whole_range(name, low, high):
        return list(dict.fromkeys(round(value) for value in exact))
    return _short(exact, low, high, is_log=_is_log(block.get("distribution", "")))


def _is_log(distribution: str) -> bool:
    return distribution.startswith("log") or distribution.endswith("log_uniform_values")


def _short(values: list[float], low: float, high: float, *, is_log: bool) -> list[AxisValue]:
    """Round grid points to the fewest digits, at least 3, that keep them apart and inside."""
    place = math.log if is_log else float
    places = [place(value) for value in values]
    gaps = [b - a for a, b in itertools.pairwise(places)]
    for digits in range(3, _SIGNIFICANT_DIGITS):
        rounded = [min(max(float(f"{v:.{digits}g}"), low), high) for v in values]
        moved = max(abs(place(r) - p) for r, p in zip(rounded, places, strict=True))
        if not gaps or moved <= _MOST_MOVED * min(gaps):
            return [canonical(value) for value in rounded]
    return [canonical(value) for value in values]


def _axis(name: str, values: Sequence[AxisValue]) -> Axis:
    scale = _scale(values)
    ordered = list(values) if scale is Scale.CATEGORICAL else sorted(values, key=float)
    return Axis(
        name=name,
        values=tuple(ordered),
        scale=scale,
        is_structural=name not in MEMBER_AXES,
    )


def _scale(values: Sequence[AxisValue]) -> Scale:
    numbers = [v for v in values if not isinstance(v, bool | str)]
    if len(numbers) < len(values):
        return Scale.CATEGORICAL
    if min(numbers, default=0) > 0 and max(numbers) / min(numbers) >= 4:
        return Scale.LOG
    return Scale.LINEAR


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(_hashable(content), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def _hashable(value: Any) -> Any:
    """Write equal numbers alike: 16 and 16.0 are the same value of an axis."""
    if isinstance(value, dict):
        return {str(key): _hashable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hashable(item) for item in value]
    if isinstance(value, float):
        rounded = canonical(value)
        return int(rounded) if rounded == int(rounded) and abs(rounded) < 2**53 else rounded
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class AxisLimits:
    """The values an axis may legally take."""

    low: float
    high: float

    def clip(self, value: float) -> float:
        """Return the nearest legal value."""
        return min(max(value, self.low), self.high)


def axis_limits(name: str, tried: Sequence[float], n_train: int | None) -> AxisLimits:
    """Return what the tried values suggest is legal.

    A batch is not larger than the training set. 0 and 1 are off and on. Counts stay at 1 or
    more, fractions below 1, and what was never negative stays so. How long to train is a question
    of its own, so such an axis ends where it was tried.

    Args:
        name: The axis.
        tried: Its values.
        n_train: Training samples, if their number is known.

    Returns:
        The lowest and the highest value; infinite where nothing is known of one.
    """
    if name in TRAINING_LENGTHS:
        return AxisLimits(low=min(tried), high=max(tried))
    if name in LEARNING_RATES:
        return AxisLimits(
            low=0.0 if all(value >= 0 for value in tried) else -math.inf, high=math.inf
        )
    if set(tried) == {0, 1} and name not in MEMBER_AXES:
        return AxisLimits(low=0.0, high=1.0)
    if name == "batch_size":
        return AxisLimits(low=1.0, high=float(n_train) if n_train is not None else math.inf)
    if all(value >= 1 for value in tried) and _are_whole(tried):
        return AxisLimits(low=1.0, high=math.inf)
    if all(0 <= value < 1 for value in tried):
        return AxisLimits(low=0.0, high=max(_LARGEST_FRACTION, *tried))
    if all(value >= 0 for value in tried):
        return AxisLimits(low=0.0, high=math.inf)
    return AxisLimits(low=-math.inf, high=math.inf)


def _are_whole(values: Sequence[float]) -> bool:
    return all(float(value).is_integer() for value in values)

"""Quasi-random configurations: an even scatter over a space that is too large for a grid."""

from __future__ import annotations

import itertools
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sweepdiag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna import Study
    from optuna.distributions import BaseDistribution

    from sweepdiag.records import AxisValue

__all__ = ["ContinuousRange", "ParameterRange", "sample_quasi_random"]

# After so many repeats in a row the rest of a small space is listed instead of drawn.
_REPEATS_BEFORE_LISTING = 64
# Enough for any hyperparameter, and still readable in a file.
_SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class ContinuousRange:
    """All values between two ends.

    Attributes:
        low: The lower end.
        high: The upper end, above ``low``.
        log: Whether values are spread evenly over the logarithm; then ``low`` is positive.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Check the ends.

        Raises:
            ConfigError: If an end is not finite, ``low`` is not below ``high``, or a log range
                does not begin above 0.
        """
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            msg = f"low must be finite and below high, got low={self.low} and high={self.high}"
            raise ConfigError(msg)
        if self.log and self.low <= 0:
            msg = f"low must be above 0 on a log range, got {self.low}"
            raise ConfigError(msg)

    def at(self, position: float) -> float:
        """Return the value at a position in [0, 1), rounded to 6 significant digits."""
        if self.log:
            value = self.low * (self.high / self.low) ** position
        else:
            value = self.low + (self.high - self.low) * position
        rounded = float(f"{value:.{_SIGNIFICANT_DIGITS}g}")
        return min(max(rounded, self.low), self.high)


ParameterRange: TypeAlias = "ContinuousRange | tuple[AxisValue, ...]"


def sample_quasi_random(
    space: Mapping[str, ParameterRange], n: int, seed: int
) -> list[dict[str, AxisValue]]:
    """Return distinct configurations that cover a space evenly.

    A scrambled Sobol sequence leaves no large gaps and no clusters, so that fewer trainings say
    as much about a region as a grid. The first ``k`` configurations are the same for every
    ``n >= k``: a sweep can be made larger without losing what was trained. Powers of two are
    covered most evenly.

    Args:
        space: For each parameter a range, or the values to choose from. The order of the
            parameters has no influence on the values.
        n: Configurations wanted.
        seed: Seed of the scrambling, in ``[0, 2**32)``.

    Returns:
        ``n`` configurations, each with every parameter in the order of ``space``; fewer only when
        the space has fewer.

    Raises:
        ConfigError: If ``n < 1``, the seed is out of range, the space is empty or a parameter has
            no values.
    """
    if n < 1:
        msg = f"n must be at least 1, got {n}"
        raise ConfigError(msg)
    if not 0 <= seed < 2**32:
        msg = f"seed must be in [0, {2**32}), got {seed}"
        raise ConfigError(msg)
    if not space:
        msg = "space must name at least one parameter, got none"
        raise ConfigError(msg)
    for name, spec in space.items():
        if isinstance(spec, tuple) and not spec:
            msg = f"parameter {name!r} must have at least one value, got none"
            raise ConfigError(msg)
    distinct = _distinct(_configurations(space, seed))
    return list(itertools.islice(distinct, n))


def _configurations(
    space: Mapping[str, ParameterRange], seed: int
) -> Iterator[dict[str, AxisValue]]:
    """Draw for ever; once repeats pile up, list what is left of a discrete space and end."""
    repeats = 0
    seen: set[tuple[object, ...]] = set()
    # A fixed order of the dimensions makes the values independent of the order in the file.
    for point in _sobol_points(sorted(space), seed):
        chosen = {name: _value_at(spec, point[name]) for name, spec in space.items()}
        repeats = repeats + 1 if _key(chosen) in seen else 0
        seen.add(_key(chosen))
        yield chosen
        if repeats >= _REPEATS_BEFORE_LISTING:
            break
    if all(isinstance(spec, tuple) for spec in space.values()):
        yield from _shuffled_product(space, seed)


def _distinct(
    configurations: Iterator[dict[str, AxisValue]],
) -> Iterator[dict[str, AxisValue]]:
    seen: set[tuple[object, ...]] = set()
    for configuration in configurations:
        key = _key(configuration)
        if key not in seen:
            seen.add(key)
            yield configuration


def _key(configuration: Mapping[str, AxisValue]) -> tuple[object, ...]:
    # The type is part of the key: 1, 1.0 and True are equal but not the same choice.
    return tuple((type(value).__name__, value) for value in configuration.values())


def _value_at(spec: ParameterRange, position: float) -> AxisValue:
    if isinstance(spec, ContinuousRange):
        return spec.at(position)
    return spec[min(int(position * len(spec)), len(spec) - 1)]


def _shuffled_product(
    space: Mapping[str, ParameterRange], seed: int
) -> Iterator[dict[str, AxisValue]]:
    choices = [spec for spec in space.values() if isinstance(spec, tuple)]
    rest = list(itertools.product(*choices))
    for index in np.random.default_rng(seed).permutation(len(rest)):
        yield dict(zip(space, rest[index], strict=True))


def _sobol_points(names: list[str], seed: int) -> Iterator[dict[str, float]]:
    """Yield points of the unit cube from Optuna's sampler, one coordinate per name.

    Every parameter is asked for as a number in [0, 1]: some Optuna versions draw categorical
    parameters at random, which would lose the even cover.
    """
    from optuna.distributions import FloatDistribution

    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(0.0, 1.0) for name in names
    }
    with _quiet_optuna():
        study = _study_with_space(distributions, seed)
    while True:
        with _quiet_optuna():
            trial = study.ask(dict(distributions))
        yield {name: float(trial.params[name]) for name in names}


def _study_with_space(distributions: dict[str, BaseDistribution], seed: int) -> Study:
    import optuna

    sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    # The sampler draws the first trial at random to learn the space; tell it beforehand instead.
    study.add_trial(
        optuna.trial.create_trial(
            params=dict.fromkeys(distributions, 0.5), distributions=distributions, value=0.0
        )
    )
    return study


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log and its warnings about experimental classes, and restore both."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)

"""The parameters of the workload ``synthetic``, and what is refused in them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sweepdiag.errors import ConfigError, unknown_name

__all__ = ["SyntheticSettings"]

_TASKS = ("classification", "binary", "regression")


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticSettings:
    """What is generated. Every parameter at its default makes a task without any trouble.

    In a classification each class is one or more round clusters of points. In a regression the
    target is a function of the inputs with variance 1, plus noise. Inputs have standard deviation
    1 on average (times ``input_scale``); at most four hidden directions matter to the target.

    Attributes:
        task: ``classification``, ``binary`` or ``regression``.
        n_features: Inputs per sample, at least 1.
        n_classes: Classes, at least 2; ``None``: 4, or 2 for ``binary``. Not for regression.
        n_train: Training samples.
        n_validation: Validation samples.
        difficulty: In [0, 1]: what no model can learn. Classification: how far the clusters
            overlap (nearest centres 7 standard deviations apart at 0, half a one at 1).
            Regression: share of the target's variance that is noise.
        nonlinearity: In [0, 1]: what a linear model cannot learn and a larger one can.
            Classification: clusters per class, from 1 to 4. Regression: share of the target's
            explainable variance that is a sum of waves instead of a plane.
        label_noise: In [0, 1]: share of the training targets that are wrong: another class, or
            a random value.
        validation_label_noise: The same for validation targets.
        shuffled_labels: Whether all targets, training and validation, are dealt out at random,
            so that inputs say nothing about them.
        validation_shift: Distance, in standard deviations of an input, by which the validation
            inputs are moved, while their targets stay: as if another sensor had recorded them. The
            direction leads from a class to its nearest neighbour, or up the target's slope.
        validation_easier: In [0, 1): by how much smaller the spread of the clusters, or the
            noise of the target, is in validation.
        imbalance: Share of the largest class, at least that of equal shares and less than 1;
            ``None``: all classes are equally frequent. Not for regression.
        input_scale: What all inputs are multiplied with, as if nobody had scaled them; > 0.
        seed: Seed of everything above, 0 or more.
    """

    task: str = "classification"
    n_features: int = 20
    n_classes: int | None = None
    n_train: int = 1000
    n_validation: int = 500
    difficulty: float = 0.2
    nonlinearity: float = 0.5
    label_noise: float = 0.0
    validation_label_noise: float = 0.0
    shuffled_labels: bool = False
    validation_shift: float = 0.0
    validation_easier: float = 0.0
    imbalance: float | None = None
    input_scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in _TASKS:
            raise ConfigError(unknown_name("synthetic task", self.task, _TASKS))
        _check_flag("shuffled_labels", self.shuffled_labels)
        self._check_classes()
        for name in ("n_features", "n_train", "n_validation"):
            _check_number(name, getattr(self, name), low=1, is_whole=True)
        _check_number("n_train", self.n_train, low=2 * self.class_count, is_whole=True)
        _check_number("seed", self.seed, low=0, is_whole=True)
        for name in ("difficulty", "nonlinearity", "label_noise", "validation_label_noise"):
            _check_number(name, getattr(self, name), low=0, high=1)
        _check_number("validation_shift", self.validation_shift, low=0)
        _check_number("validation_easier", self.validation_easier, low=0, below=1)
        _check_number("input_scale", self.input_scale, above=0)

    def _check_classes(self) -> None:
        if self.task == "regression":
            for name in ("n_classes", "imbalance"):
                if getattr(self, name) is not None:
                    message = f"synthetic {name} must be left out for a regression"
                    raise ConfigError(message)
            return
        _check_number("n_classes", self.class_count, low=2, is_whole=True)
        if self.task == "binary" and self.class_count != 2:
            message = f"synthetic n_classes must be 2 for a binary task, got {self.n_classes}"
            raise ConfigError(message)
        if self.imbalance is not None:
            _check_number("imbalance", self.imbalance, low=1 / self.class_count, below=1)

    @property
    def class_count(self) -> int:
        """Number of classes; 1 for a regression."""
        defaults = {"classification": 4, "binary": 2, "regression": 1}
        return defaults[self.task] if self.n_classes is None else self.n_classes


def _check_flag(name: str, value: Any) -> None:
    """Refuse what is neither true nor false.

    Raises:
        ConfigError: If it is not.
    """
    if not isinstance(value, bool):
        message = f"synthetic {name} must be true or false, got {value!r}"
        raise ConfigError(message)


def _check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = math.inf,
    below: float = math.inf,
    is_whole: bool = False,
) -> None:
    """Refuse what is not a finite number in the range.

    Raises:
        ConfigError: If it is not.
    """
    kind = int if is_whole else int | float
    is_number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if is_number and low <= value <= high and above < value < below:
        return
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in ((">=", low), (">", above), ("<=", high), ("<", below))
        if math.isfinite(bound)
    ]
    kind_name = "a whole number" if is_whole else "a number"
    message = f"synthetic {name} must be {kind_name} {' and '.join(bounds)}, got {value!r}"
    raise ConfigError(message)

"""The built-in workload ``synthetic``: generated data in which causes of trouble are planted.

Each cause has a parameter and a random stream of its own: planting one changes nothing else, so
two sweeps that differ in one parameter differ in that cause alone.
"""

from __future__ import annotations

import inspect
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.workloads._models import mlp
from sweepdiag.workloads._synthetic_settings import SyntheticSettings
from sweepdiag.workloads.base import Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SyntheticSettings", "build", "build_from"]

_EASY_DISTANCE, _HARD_DISTANCE = 7.0, 0.5
_MORE_CLUSTERS = 3
_N_WAVES = 32
_N_CANDIDATES = 64
_MAX_INFORMATIVE = 4
_BATCH_SIZES = (16, 64, 256)
_N_PROBES = 4096
_DECIMALS = 4
"""Data are rounded, so that the last bits, in which machines differ, change no fingerprint."""


def build(**parameters: Any) -> Workload:
    """Return the workload ``synthetic``.

    Args:
        **parameters: The attributes of ``SyntheticSettings``.

    Returns:
        The workload; with one version of NumPy the same parameters give the same bytes.
    """
    return build_from(SyntheticSettings(**parameters))


# What inspect.signature shows, so that a misspelt parameter is answered with the valid ones.
build.__signature__ = inspect.signature(SyntheticSettings)  # type: ignore[attr-defined]


def build_from(settings: SyntheticSettings) -> Workload:
    """Return the workload that the settings describe.

    Args:
        settings: What to generate.

    Returns:
        A workload with training and validation samples and an MLP.
    """
    if settings.task == "regression":
        train, validation = _generate_regression(settings)
    else:
        train, validation = _generate_classes(settings)
    batch_sizes = [size for size in _BATCH_SIZES if size <= settings.n_train]
    n_outputs = settings.class_count if settings.task == "classification" else 1
    return Workload(
        name="synthetic",
        task=settings.task,
        train=train,
        validation=validation,
        model=partial(mlp, settings.n_features, n_outputs),
        axes={
            "lr": {"min": 1e-4, "max": 10.0, "distribution": "log_uniform_values", "n": 8},
            "batch_size": batch_sizes or [settings.n_train],
            "capacity": [4, 16, 64],
        },
        settings={"epochs": 30, "seeds": 2},
    )


_Samples = tuple["NDArray[Any]", "NDArray[Any]"]


class _Streams:
    """Random numbers by purpose: drawing for one never changes those of another."""

    _NAMES = (
        "structure",
        "rotation",
        "train_inputs",
        "train_labels",
        "train_faults",
        "validation_inputs",
        "validation_labels",
        "validation_faults",
    )

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __getitem__(self, name: str) -> np.random.Generator:
        sequence = np.random.SeedSequence([self._seed, self._NAMES.index(name)])
        return np.random.Generator(np.random.PCG64(sequence))


def _generate_classes(settings: SyntheticSettings) -> tuple[_Samples, _Samples]:
    streams = _Streams(settings.seed)
    n_informative = min(settings.n_features, _MAX_INFORMATIVE)
    n_clusters = 1 + round(_MORE_CLUSTERS * settings.nonlinearity)
    distance = _EASY_DISTANCE + settings.difficulty * (_HARD_DISTANCE - _EASY_DISTANCE)
    n_centres = settings.class_count * n_clusters
    centres = distance * _spread_points(streams["structure"], n_centres, n_informative)
    rotation = _rotation(streams["rotation"], settings.n_features)
    # Standard deviation of an input over all clusters, so that inputs have variance 1.
    spread = math.sqrt((centres.var(axis=0).sum() + settings.n_features) / settings.n_features)

    def generate(part: str, n_samples: int, shrink: float) -> _Samples:
        classes = _deal_classes(streams[f"{part}_labels"], settings, n_samples)
        random = streams[f"{part}_inputs"]
        clusters = classes + settings.class_count * random.integers(0, n_clusters, n_samples)
        points = random.standard_normal((n_samples, settings.n_features)) * shrink
        points[:, :n_informative] += centres[clusters]
        return points @ rotation / spread, classes

    train = generate("train", settings.n_train, 1.0)
    validation = generate("validation", settings.n_validation, 1.0 - settings.validation_easier)
    direction = _between_classes(centres, settings.class_count) @ rotation[:n_informative]
    return _plant(settings, streams, train, validation, direction)


def _generate_regression(settings: SyntheticSettings) -> tuple[_Samples, _Samples]:
    streams = _Streams(settings.seed)
    n_informative = min(settings.n_features, _MAX_INFORMATIVE)
    explain = _Function(streams["structure"], n_informative, settings.nonlinearity)
    rotation = _rotation(streams["rotation"], settings.n_features)

    def generate(part: str, n_samples: int, noise: float) -> _Samples:
        points = streams[f"{part}_inputs"].standard_normal((n_samples, settings.n_features))
        explained = explain(points[:, :n_informative])
        errors = streams[f"{part}_labels"].standard_normal(n_samples)
        targets = math.sqrt(1 - settings.difficulty) * explained + noise * errors
        return points @ rotation, targets

    noise = math.sqrt(settings.difficulty)
    train = generate("train", settings.n_train, noise)
    validation = generate(
        "validation", settings.n_validation, noise * (1 - settings.validation_easier)
    )
    direction = explain.slope @ rotation[:n_informative]
    return _plant(settings, streams, train, validation, direction)


class _Function:
    """A function of normal inputs with mean 0 and variance 1: a plane and waves, mixed.

    Attributes:
        slope: Unit vector up the plane.
    """

    def __init__(self, random: np.random.Generator, n_inputs: int, nonlinearity: float) -> None:
        plane = random.standard_normal(n_inputs)
        self.slope = plane / np.linalg.norm(plane)
        self._nonlinearity = nonlinearity
        # About one period across the data, so that the function is smooth.
        self._directions = random.standard_normal((n_inputs, _N_WAVES)) * 2 / math.sqrt(n_inputs)
        self._phases = random.uniform(0, 2 * np.pi, _N_WAVES)
        probes = random.standard_normal((_N_PROBES, n_inputs))
        waves = self._waves(probes)
        self._centre = waves.mean()
        # What a plane could say of the waves is taken out, so that the two do not overlap.
        self._trend = (waves - self._centre) @ probes / _N_PROBES
        self._deviation = (waves - self._centre - probes @ self._trend).std()

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        residual = self._waves(points) - self._centre - points @ self._trend
        linear = math.sqrt(1 - self._nonlinearity) * (points @ self.slope)
        return np.asarray(linear + math.sqrt(self._nonlinearity) * residual / self._deviation)

    def _waves(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.cos(points @ self._directions + self._phases).sum(axis=1))


def _plant(
    settings: SyntheticSettings,
    streams: _Streams,
    train: _Samples,
    validation: _Samples,
    direction: NDArray[np.float64],
) -> tuple[_Samples, _Samples]:
    """Plant the causes that do not depend on how the samples were generated."""
    shift = settings.validation_shift * direction / np.linalg.norm(direction)
    planted = []
    for part, inputs, targets, share in (
        ("train", train[0], train[1], settings.label_noise),
        ("validation", validation[0] + shift, validation[1], settings.validation_label_noise),
    ):
        random = streams[f"{part}_faults"]
        wrong = _falsify(random, settings, targets, share)
        if settings.shuffled_labels:
            wrong = random.permutation(wrong)
        target_type = np.int64 if settings.task == "classification" else np.float32
        scaled = inputs.round(_DECIMALS) * settings.input_scale
        planted.append((scaled.astype(np.float32), wrong.round(_DECIMALS).astype(target_type)))
    return planted[0], planted[1]


def _falsify(
    random: np.random.Generator, settings: SyntheticSettings, targets: NDArray[Any], share: float
) -> NDArray[Any]:
    """Return the targets with a share of them wrong: another class, or a random value."""
    chosen = random.permutation(len(targets))[: round(share * len(targets))]
    targets = targets.copy()
    if settings.task == "regression":
        targets[chosen] = random.standard_normal(len(chosen))
    else:
        steps = random.integers(1, settings.class_count, len(chosen))
        targets[chosen] = (targets[chosen] + steps) % settings.class_count
    return targets


def _deal_classes(
    random: np.random.Generator, settings: SyntheticSettings, n_samples: int
) -> NDArray[np.int64]:
    """Return the classes in random order, with exactly the shares that were asked for."""
    n_classes = settings.class_count
    largest = 1 / n_classes if settings.imbalance is None else settings.imbalance
    n_largest = round(largest * n_samples)
    others = 1 + np.arange(n_samples - n_largest) % (n_classes - 1)
    return random.permutation(np.concatenate([np.zeros(n_largest, dtype=np.int64), others]))


def _spread_points(
    random: np.random.Generator, n_points: int, n_dimensions: int
) -> NDArray[np.float64]:
    """Return points that keep their distance, the nearest two of them exactly 1 apart.

    Each next point is the best of some candidates: the one farthest from all before it.
    """
    points = random.standard_normal((1, n_dimensions))
    while len(points) < n_points:
        candidates = random.standard_normal((_N_CANDIDATES, n_dimensions))
        distances = np.linalg.norm(candidates[:, None] - points[None], axis=2).min(axis=1)
        points = np.vstack([points, candidates[distances.argmax()]])
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    return np.asarray(points / gaps[~np.eye(n_points, dtype=bool)].min())


def _between_classes(centres: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """Return the step between the two nearest centres of different classes."""
    steps = centres[None] - centres[:, None]
    gaps = np.linalg.norm(steps, axis=2)
    classes = np.arange(len(centres)) % n_classes
    gaps[classes[:, None] == classes[None]] = np.inf
    return np.asarray(steps[np.unravel_index(gaps.argmin(), gaps.shape)])


def _rotation(random: np.random.Generator, n_features: int) -> NDArray[np.float64]:
    """Return a random orthogonal matrix; fixing the signs makes it unique."""
    rotation, triangle = np.linalg.qr(random.standard_normal((n_features, n_features)))
    return np.asarray(rotation * np.sign(np.diag(triangle)))

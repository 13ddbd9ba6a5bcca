"""Small sweeps into which a known cause of trouble is planted, and healthy ones."""

from __future__ import annotations

import hashlib
import itertools
import os
import zlib
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _bench.causes_table import EXPECTED, FAMILIES, IMPOSSIBLE, N_HEALTHY, SEVERITIES
from sweepdiag import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

_VERSION = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
"""Part of every sweep's identity: whatever is changed in this file, sweeps are trained again."""

_POOL = 2400
"""Samples of the larger data sets that are ever used."""

_HARD = {"digits": 1.2, "synthetic": 1.2, "cancer": 4.0, "fashion": 1.2}
"""Noise on standardised inputs that makes classes overlap, so that no network can be perfect. The
features of breast cancer say the same thing many times over, so that they need more."""

_HOPELESS = 6.0
"""The same, so that hardly anything can be told."""


@dataclass(frozen=True)
class Spec:
    """One sweep of the benchmark."""

    data: str
    family: str
    cause: str
    severity: str
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.data}-{self.family}-{self.cause}-{self.severity}{self.number or ''}"

    @property
    def is_healthy(self) -> bool:
        return self.cause == "healthy"

    @property
    def is_severe(self) -> bool:
        return self.severity == "severe"

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())


@dataclass
class Sweep:
    """What a sweep trains, changed by whoever plants a cause."""

    x: np.ndarray
    y: np.ndarray
    val_x: np.ndarray
    val_y: np.ndarray
    model: Callable[..., torch.nn.Module]
    parameters: dict[str, list[Any]]
    settings: dict[str, Any] = field(default_factory=dict)
    loss: Any = None


def all_specs(data: tuple[str, ...]) -> Iterator[Spec]:
    """Return every sweep of some data sets, planted causes before healthy ones."""
    for name in data:
        for cause in EXPECTED:
            for severity in SEVERITIES:
                for family in FAMILIES[name] if (name, cause) not in IMPOSSIBLE else ():
                    yield Spec(name, family, cause, severity)
        for number in range(N_HEALTHY[name]):
            family = FAMILIES[name][number % len(FAMILIES[name])]
            yield Spec(name, family, "healthy", "none", number)


def build(spec: Spec) -> tuple[Workload, dict[str, Any]]:
    """Return the workload and the settings of a sweep."""
    random = np.random.default_rng(spec.seed)
    sweep = _base(spec, random)
    if not spec.is_healthy:
        _PLANTS[spec.cause](sweep, spec, random)
    workload = Workload(
        name=spec.name,
        version=_VERSION,
        train=(sweep.x.astype(np.float32), sweep.y.astype(np.int64)),
        validation=(sweep.val_x.astype(np.float32), sweep.val_y.astype(np.int64)),
        model=sweep.model,
        loss=sweep.loss,
    )
    return workload, {"parameters": sweep.parameters, **sweep.settings}


# data


@lru_cache(maxsize=2)
def _pool(data: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all samples of a data set, inputs with mean 0 and deviation 1."""
    if data == "synthetic":
        from sweepdiag.workloads.synthetic import SyntheticSettings, build_from

        workload = build_from(
            SyntheticSettings(n_train=_POOL, n_validation=10, n_classes=6, seed=seed)
        )
        x, y = (np.asarray(part) for part in workload.train)  # type: ignore[union-attr]
        return _standardised(x.astype(float)), y
    if data == "fashion":
        from sweepdiag.workloads.fashion_mnist import build as fashion

        workload = fashion(path=os.environ.get("SWEEPDIAG_DATA"), n_train=_POOL, n_validation=10)
        x, y = (np.asarray(part) for part in workload.train)  # type: ignore[union-attr]
        small = x.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, 196)
        return (small - small.mean()) / small.std(), y
    from sklearn.datasets import load_breast_cancer, load_digits

    x, y = (load_digits if data == "digits" else load_breast_cancer)(return_X_y=True)
    return ((x - x.mean()) / x.std() if data == "digits" else _standardised(x)), y


def _standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(axis=0)) / x.std(axis=0)


_SIZES = {
    "digits": (400, 300),
    "synthetic": (400, 300),
    "cancer": (300, 200),
    "fashion": (400, 300),
}


def _base(spec: Spec, random: np.random.Generator) -> Sweep:
    """Return a healthy sweep: its samples, its optimizer and its axes differ by the seed."""
    x, y = _pool(spec.data, int(random.integers(1000)) if spec.data == "synthetic" else 0)
    order = random.permutation(len(y))
    n_train, n_val = _SIZES[spec.data]
    train, val = order[:n_train], order[n_train : n_train + n_val]
    number = spec.number if spec.is_healthy else int(random.integers(4))
    model, centre, capacities = _family(spec, x.shape[1], int(y.max()) + 1)
    optimizer = ("sgd", "sgd", "adam", "adamw")[number // 2 % 4]
    if optimizer != "sgd":
        centre = 0.003
    settings = {
        "epochs": 30 if spec.is_healthy else 14,
        "seeds": 2,
        "optimizer": {"name": optimizer},
        "record": ["gradients"],
    }
    layout = number % 3
    return Sweep(
        x[train],
        y[train],
        x[val],
        y[val],
        model,
        _axes(layout, centre, capacities),
        settings,
    )


def _axes(layout: int, centre: float, capacities: list[int]) -> dict[str, list[Any]]:
    """Return axes of at most 24 trials with two seeds."""
    rates = [round(centre * step, 7) for step in (0.03, 0.1, 0.32, 1.0, 3.2, 10.0)]
    small, middle, large = capacities
    if layout == 0:
        return {"lr": rates, "batch_size": [16], "capacity": [small, large]}
    if layout == 1:
        return {"lr": rates, "batch_size": [8, 32], "capacity": [middle]}
    return {"lr": rates[1:5], "batch_size": [16], "capacity": capacities}


def _family(
    spec: Spec, n_inputs: int, n_classes: int
) -> tuple[Callable[..., torch.nn.Module], float, list[int]]:
    """Return a model, its usual learning rate under SGD with momentum, and its capacities."""
    if spec.family == "residual":
        return partial(residual, n_inputs, n_classes), 0.03, [32, 64, 128]
    return partial(mlp, n_inputs, n_classes), 0.03, [32, 64, 128]


def mlp(
    n_inputs: int, n_outputs: int, capacity: int, *, bias: float | None = None
) -> torch.nn.Module:
    from torch import nn

    net = nn.Sequential(
        nn.Linear(n_inputs, capacity),
        nn.ReLU(),
        nn.Linear(capacity, capacity),
        nn.ReLU(),
        nn.Linear(capacity, n_outputs),
    )
    return _with_bias(net, bias)


def residual(
    n_inputs: int, n_outputs: int, capacity: int, *, bias: float | None = None
) -> torch.nn.Module:
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.Linear(capacity, capacity), nn.ReLU(), nn.Linear(capacity, capacity)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.branch(x)

    net = nn.Sequential(
        nn.Linear(n_inputs, capacity), nn.ReLU(), Block(), nn.Linear(capacity, n_outputs)
    )
    return _with_bias(net, bias)


def _with_bias(net: torch.nn.Module, bias: float | None) -> torch.nn.Module:
    """Shift the biases of hidden layers, so that their units start (and stay) dead."""
    from torch import nn

    for chain in [m for m in net.modules() if isinstance(m, nn.Sequential)]:
        for layer, following in itertools.pairwise(chain):
            if bias is not None and isinstance(following, nn.ReLU):
                nn.init.constant_(layer.bias, bias)  # type: ignore[arg-type]
    return net


# causes


def _rate_too_high(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    factor = 3000.0 if spec.is_severe else 200.0
    sweep.parameters["lr"] = [rate * factor for rate in sweep.parameters["lr"]]


def _rate_too_low(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    factor = 1e-4 if spec.is_severe else 3e-3
    sweep.parameters["lr"] = [rate * factor for rate in sweep.parameters["lr"]]


def _batch_too_small(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    """Small batches at rates that suit a batch of 64, which is in the sweep for comparison."""
    _shorten(sweep, 192)
    sweep.settings["optimizer"] = {"name": "sgd"}
    sweep.parameters["lr"] = [0.05, 0.1, 0.2]
    sweep.parameters["batch_size"] = [1, 64] if spec.is_severe else [2, 64]
    capacities = sweep.parameters["capacity"]
    sweep.parameters["capacity"] = [capacities[len(capacities) // 2]]


def _capacity_too_small(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    sweep.parameters["capacity"] = [1, 2] if spec.is_severe else [2, 4]
    sweep.parameters["batch_size"] = sweep.parameters["batch_size"][:1]


def _capacity_too_large(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    """Two classes that overlap along the first of six principal components.

    A network of a few units can learn all there is, a large one learns the noise as well.
    """
    _, _, components = np.linalg.svd(sweep.x - sweep.x.mean(axis=0), full_matrices=False)
    basis = components[:6].T / (sweep.x @ components[:6].T).std(axis=0)
    for part in ("", "val_"):
        x = getattr(sweep, f"{part}x") @ basis
        is_one = random.random(len(x)) < 1 / (1 + np.exp(-2.5 * x[:, 0]))
        setattr(sweep, f"{part}x", x)
        setattr(sweep, f"{part}y", is_one.astype(np.int64))
    _shorten(sweep, 150)
    sweep.model, _, _ = _family(spec, 6, 2)
    sweep.parameters["capacity"] = [8, 256] if spec.is_severe else [8, 128]
    sweep.parameters["batch_size"] = [16]
    sweep.settings["epochs"] = 40


def _dead_activations(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    """Biases so negative that all, or nearly all, units of the hidden layers are never active."""
    sweep.model = partial(sweep.model, bias=-60.0 if spec.is_severe else -3.0)


def _tiny_validation(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    n = 12 if spec.is_severe else 40
    sweep.val_x, sweep.val_y = sweep.val_x[:n], sweep.val_y[:n]


def _validation_easier(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    """Inputs carry noise that makes classes overlap; in validation there is less of it."""
    share, noise = 0.2 if spec.is_severe else 0.5, _HARD[spec.data]
    _add_noise(sweep, random, noise, noise * share)


def _unscaled_inputs(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    factor = 1000.0 if spec.is_severe else 50.0
    sweep.x, sweep.val_x = sweep.x * factor, sweep.val_x * factor


def _label_noise(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    share, n_classes = 0.4 if spec.is_severe else 0.2, int(sweep.y.max()) + 1
    if n_classes == 2:
        share *= 0.75
    for y in (sweep.y, sweep.val_y):
        wrong = random.permutation(len(y))[: round(share * len(y))]
        y[wrong] = (y[wrong] + random.integers(1, n_classes, len(wrong))) % n_classes


def _shuffled_labels(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    """All labels dealt out at random; or those of training only, as if rows had slipped."""
    sweep.y = random.permutation(sweep.y) if spec.is_severe else np.roll(sweep.y, 1)
    if spec.is_severe:
        sweep.val_y = random.permutation(sweep.val_y)


def _tiny_training(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    n = 30 if spec.is_severe else 60
    sweep.x, sweep.y = sweep.x[:n], sweep.y[:n]
    sweep.parameters["batch_size"] = [8]
    sweep.settings["epochs"] = 40


def _shifted_validation(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    """Validation inputs as another sensor would have recorded them: shifted and rescaled."""
    size = 1.5 if spec.is_severe else 0.6
    direction = random.choice([-1.0, 1.0], sweep.x.shape[1]) * sweep.x.std(axis=0)
    sweep.val_x = sweep.val_x * (1 + 0.3 * size) + size * direction


def _leaking_validation(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    n_copied = len(sweep.val_y) if spec.is_severe else len(sweep.val_y) // 2
    source = random.permutation(len(sweep.y))[:n_copied]
    sweep.val_x[: len(source)], sweep.val_y[: len(source)] = sweep.x[source], sweep.y[source]


def _class_imbalance(sweep: Sweep, spec: Spec, random: np.random.Generator) -> None:
    """One class has nearly all samples, and the others overlap with it."""
    share = 0.97 if spec.is_severe else 0.9
    for part in ("", "val_"):
        x, y = getattr(sweep, f"{part}x"), getattr(sweep, f"{part}y")
        chosen = random.permutation(len(y))[: round(share * len(y))]
        others = np.flatnonzero(y != 0)
        fewer = np.setdiff1d(np.arange(len(y)), chosen)
        # Samples of the large class are drawn again, with noise of their own.
        large = random.choice(np.flatnonzero(y == 0), len(chosen))
        rows = np.concatenate([large, random.choice(others, len(fewer), replace=False)])
        noise = random.standard_normal((len(rows), x.shape[1])) * _HOPELESS
        rows_order = random.permutation(len(rows))
        setattr(sweep, f"{part}x", (x[rows] + noise)[rows_order] / _HOPELESS)
        setattr(sweep, f"{part}y", y[rows][rows_order])


def _budget_too_short(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    sweep.settings["epochs"] = 2 if spec.is_severe else 6
    sweep.parameters["batch_size"] = [64]
    if spec.is_severe:
        sweep.settings["evaluation"] = {"every_steps": 1}


def _budget_too_long(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    sweep.settings["epochs"] = 240 if spec.is_severe else 160
    sweep.parameters["batch_size"] = [32]
    sweep.parameters["lr"] = sweep.parameters["lr"][-3:]


def _broken_loss(sweep: Sweep, spec: Spec, _random: np.random.Generator) -> None:
    sweep.loss = negative_cross_entropy if spec.is_severe else summed_cross_entropy


def negative_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import cross_entropy

    return -cross_entropy(outputs, targets)


def summed_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(outputs, targets, reduction="sum")


_PLANTS: dict[str, Callable[[Sweep, Spec, np.random.Generator], None]] = {
    cause: globals()[f"_{cause}"] for cause in EXPECTED
}


def _add_noise(
    sweep: Sweep, random: np.random.Generator, training: float, validation: float
) -> None:
    """Add noise to the inputs, and scale both sets alike so that training has deviation 1."""
    size = float(np.sqrt(1 + training**2))
    sweep.x = (sweep.x + training * random.standard_normal(sweep.x.shape)) / size
    sweep.val_x = (sweep.val_x + validation * random.standard_normal(sweep.val_x.shape)) / size


def _shorten(sweep: Sweep, n: int) -> None:
    sweep.x, sweep.y = sweep.x[:n], sweep.y[:n]


def n_trials(settings: dict[str, Any]) -> int:
    """Return how many trainings a sweep has."""
    sizes = [len(values) for values in settings["parameters"].values()]
    return int(np.prod(sizes)) * int(settings["seeds"])


__all__ = ["Spec", "all_specs", "build", "n_trials"]

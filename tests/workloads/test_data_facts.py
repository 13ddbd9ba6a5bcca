from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sweepdiag.records import DataFacts, SplitSettings
from sweepdiag.workloads import Workload, prepare
from sweepdiag.workloads.synthetic import build


def facts_of(
    train: tuple[Any, Any],
    validation: tuple[Any, Any],
    *,
    task: str = "classification",
    **others: Any,
) -> DataFacts:
    workload = Workload(
        name="test",
        task=task,
        train=train,
        validation=validation,
        model=lambda: torch.nn.Linear(1, 1),
        **others,
    )
    data = prepare(workload, SplitSettings()).facts.data
    assert data is not None
    return data


def planted(**parameters: Any) -> DataFacts:
    data = prepare(build(n_classes=4, **parameters), SplitSettings()).facts.data
    assert data is not None
    return data


def test_clean_data_show_nothing() -> None:
    data = planted()
    assert data.n_classes == 4
    assert data.largest_class == pytest.approx(0.25)
    assert data.input_size == pytest.approx(1.0, abs=0.05)
    assert data.copied_share == data.repeated_share == data.validation_shift == 0
    assert data.neighbour_accuracy is not None
    assert data.neighbour_accuracy > 0.9
    assert data.label_noise is not None
    assert data.label_noise < 0.03
    assert data.sure_agreement == 1.0
    assert data.noise_spread is None  # of none
    assert data.loss_growth is None


def test_planted_causes_are_seen() -> None:
    noisy = planted(label_noise=0.3)
    assert noisy.label_noise == pytest.approx(0.3, abs=0.07)
    assert noisy.noise_spread == pytest.approx(1.0, abs=0.15)
    assert 0.6 <= noisy.sure_agreement <= 0.9  # type: ignore[operator]
    assert planted(validation_shift=3.0).validation_shift > 0.4  # type: ignore[operator]
    assert planted(input_scale=100.0).input_size == pytest.approx(100, rel=0.05)
    assert planted(imbalance=0.9).largest_class == pytest.approx(0.9)
    assert planted(shuffled_labels=True).neighbour_accuracy < 0.35  # type: ignore[operator]


def test_copies_are_counted_bit_by_bit_and_repeats_apart() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((50, 3)).astype(np.float32)
    y = np.arange(50) % 2
    val_x = np.concatenate([x[:5], random.standard_normal((15, 3)).astype(np.float32)])
    data = facts_of((x, y), (val_x, y[:20]))
    assert data.copied_share == 0.25
    assert data.repeated_share == 0.0
    twice = np.concatenate([x, x[:10]])
    data = facts_of((twice, np.arange(60) % 2), (val_x, y[:20]))
    assert data.repeated_share == pytest.approx(20 / 60)


class Augmented(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, n: int, noise: float) -> None:
        self.x, self.noise = torch.randn(n, 3, generator=torch.Generator().manual_seed(n)), noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        x = self.x[index]
        return (x + self.noise * torch.randn(3) if self.noise else x), index % 2


@pytest.mark.parametrize(
    ("noises", "expected"), [((1, 0), True), ((1, 1), False), ((0, 0), False)]
)
def test_augmentation_of_training_alone_is_known(
    noises: tuple[float, float], expected: bool
) -> None:
    parts = [Augmented(n, noise) for n, noise in zip((40, 20), noises, strict=True)]
    workload = Workload(
        name="test", train=parts[0], validation=parts[1], model=lambda: torch.nn.Linear(3, 2)
    )
    data = prepare(workload, SplitSettings()).facts.data
    assert data is not None
    assert data.only_train_is_random is expected


def test_constant_inputs_and_few_samples_are_no_error() -> None:
    x, y = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])
    data = facts_of((x, y), (x[:2], y[:2]))
    assert data.validation_shift is None
    assert data.feature_spread == 1.0


def test_token_ids_have_no_distances() -> None:
    x = np.arange(40).reshape(20, 2)
    data = facts_of((x, np.arange(20) % 2), (x + 100, np.arange(20) % 2))
    assert data.input_size is data.neighbour_accuracy is data.validation_shift is None
    assert data.copied_share == 0.0


def test_regression_has_no_classes_but_a_shift() -> None:
    data = prepare(build(task="regression"), SplitSettings()).facts.data
    assert data is not None
    assert data.n_classes is data.neighbour_accuracy is None
    assert data.validation_shift == 0.0


def own_sum(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="sum")


def own_mean(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(outputs, targets)


def own_of_two(_outputs: torch.Tensor, _targets: torch.Tensor) -> torch.Tensor:
    message = "needs two heads"
    raise RuntimeError(message)


@pytest.mark.parametrize(("loss", "growth"), [(own_sum, 2.0), (own_mean, 1.0), (own_of_two, None)])
def test_a_sum_is_told_from_a_mean(loss: Any, growth: float | None) -> None:
    x = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    data = facts_of((x, np.arange(30) % 3), (x[:10] + 1, np.arange(10) % 3), loss=loss)
    assert data.loss_growth == (None if growth is None else pytest.approx(growth, rel=1e-5))


def test_binary_labels_in_one_column_are_looked_at_like_classes() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    inputs = (0.5 * rng.standard_normal((600, 8)) + 2 * labels[:, None] - 1).astype(np.float32)
    labels[:400] ^= rng.random(400) < 0.25
    parts = (inputs[:400], labels[:400]), (inputs[400:], labels[400:])
    classes = facts_of(*parts)
    columns = [(x, y[:, None].astype(np.float32)) for x, y in parts]
    binary = facts_of(columns[0], columns[1], task="binary")
    assert binary == classes
    assert binary.label_noise == pytest.approx(0.25, abs=0.06)
    two = [(x, np.column_stack([y, y]).astype(np.float32)) for x, y in parts]
    several = facts_of(two[0], two[1], task="binary")
    assert several.n_classes is several.label_noise is None

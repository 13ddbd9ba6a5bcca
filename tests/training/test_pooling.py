import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional

from sweepdiag.training import pooling
from sweepdiag.training.graphs import trace
from sweepdiag.training.pooling import gradient_of_windows, largest_of_windows


def with_ties(*shape):
    """Return few distinct numbers, so that most windows have several largest ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-2, 3, shape, generator=generator).float()


@pytest.mark.parametrize("window", [(2, 2), (3, 2), (1, 4), (5, 1)])
@pytest.mark.parametrize("shape", [(3, 2, 8, 8), (2, 3, 11, 9), (4, 7, 6)])
@pytest.mark.parametrize("at_once", [1, 50, 2**18])
def test_windows_are_pooled_as_by_pytorch(monkeypatch, window, shape, at_once):
    monkeypatch.setattr(pooling, "_MOST_AT_ONCE", at_once)
    inputs = with_ties(*shape).requires_grad_()
    expected = functional.max_pool2d(inputs, window)
    gradients = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    gradients.view(-1)[:2] = torch.tensor([torch.inf, torch.nan])
    expected.backward(gradients)
    with torch.no_grad():
        largest = largest_of_windows(inputs, window)
        found = gradient_of_windows(gradients, inputs, largest, window)
    assert torch.equal(largest, expected)
    torch.testing.assert_close(found, inputs.grad, rtol=0, atol=0, equal_nan=True)


def test_a_window_with_nan_is_nan_and_its_gradient_stays_within():
    inputs = with_ties(1, 1, 4, 4)
    inputs[0, 0, 0, 0] = torch.nan
    largest = largest_of_windows(inputs, (2, 2))
    assert largest.isnan().tolist() == [[[[True, False], [False, False]]]]
    found = gradient_of_windows(torch.ones_like(largest), inputs, largest, (2, 2))
    assert [part.sum() for part in found[0, 0].split(2)] == [2, 2]
    assert found[0, 0, :2, :2].sum() == 1


def step(weights, inputs):
    """Return the gradient of something behind two poolings, of one member."""

    def loss(w):
        hidden = functional.max_pool2d((w * inputs).relu(), 2)
        return (functional.max_pool2d(hidden, 2) ** 2).sum()

    return (grad(loss)(weights),)


def targets_of(program):
    return {str(node.target) for node in program.__self__.graph.nodes}


def test_poolings_of_a_traced_program_are_replaced_with_the_same_bits():
    weights, inputs = with_ties(3, 1, 2, 1, 1) + 0.1, with_ties(3, 4, 2, 12, 12)
    program = trace(vmap(step), weights, inputs)
    assert not any("max_pool2d" in target for target in targets_of(program))
    assert torch.equal(program(weights, inputs)[0], vmap(step)(weights, inputs)[0])


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: functional.max_pool2d(x, 3, stride=2),
        lambda x: functional.max_pool2d(x, 2, padding=1),
        lambda x: functional.max_pool2d(x, 2, ceil_mode=True),
        lambda x: functional.max_pool2d(x.double(), 2),
        lambda x: functional.max_pool2d(x, (5, 5)),
    ],
)
def test_other_poolings_stay(pool):
    program = trace(lambda x: (pool(x),), with_ties(2, 3, 11, 11))
    assert any("max_pool2d" in target for target in targets_of(program))


def test_places_that_are_asked_for_are_pytorchs():
    inputs = with_ties(2, 3, 8, 8)

    def both(x):
        return functional.max_pool2d(x, 2, return_indices=True)

    for found, expected in zip(trace(both, inputs)(inputs), both(inputs), strict=True):
        assert torch.equal(found, expected)

"""The grid as somebody would write it in JAX: ``jit(vmap(scan))`` over whole trainings."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sweepdiag.training.seeds import batch_indices, seeded

# Else JAX takes most of the GPU's memory at once, and PyTorch finds none.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

if TYPE_CHECKING:
    from sweepdiag.records import Pack
    from sweepdiag.workloads import PreparedWorkload


def why_not(data: PreparedWorkload, capacity: int) -> str:
    """Return why JAX cannot train this workload here, or nothing."""
    try:
        import jax  # noqa: F401
    except ImportError as error:
        return f"JAX cannot be imported: {error}"
    if not all(isinstance(m, (nn.Linear, nn.ReLU)) for m in data.model(capacity=capacity)):
        return "written for multi-layer perceptrons only"
    return ""


def train_by_jax(
    pack: Pack, data: PreparedWorkload, epochs: int, momentum: float
) -> dict[str, np.ndarray]:
    """Train trials of one architecture and batch size; return their curves by trial.

    Curves are laid out as the plain loop's, shape ``(epochs + 1, 4)``.
    """
    import jax.numpy as jnp

    batch_size, n = int(pack.trials[0].axes["batch_size"]), len(data.train.targets)
    n_steps = epochs * (n // batch_size)
    orders = {
        seed: batch_indices(seed, 0, n_steps, batch_size=batch_size, n_samples=n)
        .view(epochs, -1, batch_size)
        .to(torch.int32)
        .numpy()
        for seed in {trial.seed for trial in pack.trials}
    }
    models = [_weights(trial, data) for trial in pack.trials]
    stacked = [
        tuple(jnp.asarray(np.stack(parts)) for parts in zip(*layer, strict=True))
        for layer in zip(*models, strict=True)
    ]
    rates = jnp.asarray([float(trial.axes["lr"]) for trial in pack.trials], dtype=jnp.float32)
    order = jnp.asarray(np.stack([orders[trial.seed] for trial in pack.trials]))
    curves = np.asarray(_trainings(momentum)(stacked, rates, order, _samples(data)))
    return {trial.trial_id: curve for trial, curve in zip(pack.trials, curves, strict=True)}


def _weights(trial: Any, data: PreparedWorkload) -> list[tuple[np.ndarray, np.ndarray]]:
    with seeded(trial.seed, "weights"):
        model = data.model(capacity=trial.axes["capacity"])
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    return [(la.weight.detach().numpy().T, la.bias.detach().numpy()) for la in layers]


def _samples(data: PreparedWorkload) -> tuple[Any, ...]:
    import jax.numpy as jnp

    tensors = (
        data.train.inputs, data.train.targets, data.train_eval.inputs, data.train_eval.targets,
        data.validation.inputs, data.validation.targets,
    )  # fmt: skip
    return tuple(jnp.asarray(tensor.cpu().numpy()) for tensor in tensors)


@functools.cache
def _trainings(momentum: float) -> Any:
    """Return the compiled training of a pack; JAX compiles it anew for each layout."""
    import jax
    import jax.numpy as jnp

    # Else products are rounded to TF32 on a GPU, and the others' are not.
    jax.config.update("jax_default_matmul_precision", "highest")

    def outputs_of(layers: Any, x: Any) -> Any:
        for weight, bias in layers[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        weight, bias = layers[-1]
        return x @ weight + bias

    def loss_of(layers: Any, x: Any, y: Any) -> Any:
        logs = jax.nn.log_softmax(outputs_of(layers, x))
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    def measures(layers: Any, samples: Any) -> Any:
        _, _, *evaluated = samples
        pairs = [(evaluated[0], evaluated[1]), (evaluated[2], evaluated[3])]
        losses = [loss_of(layers, x, y) for x, y in pairs]
        hits = [(outputs_of(layers, x).argmax(1) == y).mean() for x, y in pairs]
        return jnp.stack([*losses, *hits])

    def training(layers: Any, rate: Any, order: Any, samples: Any) -> Any:
        inputs, targets = samples[:2]

        def step(carry: Any, indices: Any) -> Any:
            layers, velocities = carry
            gradients = jax.grad(loss_of)(layers, inputs[indices], targets[indices])
            velocities = jax.tree.map(lambda v, g: momentum * v + g, velocities, gradients)
            return (jax.tree.map(lambda p, v: p - rate * v, layers, velocities), velocities), None

        def epoch(carry: Any, indices: Any) -> Any:
            carry, _ = jax.lax.scan(step, carry, indices)
            return carry, measures(carry[0], samples)

        start = (layers, jax.tree.map(jnp.zeros_like, layers))
        _, curve = jax.lax.scan(epoch, start, order)
        return jnp.concatenate([measures(layers, samples)[None], curve])

    return jax.jit(jax.vmap(training, in_axes=(0, 0, 0, None)))

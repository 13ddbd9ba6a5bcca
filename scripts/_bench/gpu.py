"""What people use on GPUs beside a plain loop, and how much of the device a step uses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from sweepdiag.training.capture import CapturedStep, recorder_for
from sweepdiag.training.members import build_member, common_timetable
from sweepdiag.training.programs import make_program
from sweepdiag.training.seeds import batch_indices, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sweepdiag.records import Pack, TrainingSettings, Trial
    from sweepdiag.training import PackTrainer
    from sweepdiag.workloads import PreparedWorkload

WHY_NO_HFTA = "HFTA is on no package registry any more, and unmaintained since 2022"


def train_by_captured_loop(
    trial: Trial,
    data: PreparedWorkload,
    epochs: int,
    optimizer_of: Callable[[Any, float], torch.optim.Optimizer],
    evaluate: Callable[[Any, PreparedWorkload], list[float]],
) -> np.ndarray:
    """Train one trial by the plain loop with its step captured as a CUDA graph.

    Its first three steps warm up; where there are no graphs, all steps are taken as usual.
    """
    place = data.train.targets.device
    with seeded(trial.seed, "weights"):
        model = data.model(capacity=trial.axes["capacity"]).to(place)
    optimizer = optimizer_of(model.parameters(), float(trial.axes["lr"]))
    inputs, targets = data.train.inputs, data.train.targets
    batch_size, n = int(trial.axes["batch_size"]), len(targets)
    steps = n // batch_size
    indices = torch.zeros(batch_size, dtype=torch.int64, device=place)
    total = torch.zeros((), device=place)

    def step() -> None:
        x, y = inputs.index_select(0, indices), targets.index_select(0, indices)
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach())

    captured = CapturedStep(recorder_for(str(place)))
    curve = [evaluate(model, data)]
    for epoch in range(epochs):
        order = batch_indices(
            trial.seed, epoch * steps, (epoch + 1) * steps, batch_size=batch_size, n_samples=n
        ).to(place)
        total.zero_()
        model.train()
        for of_step in order:
            indices.copy_(of_step)
            captured.take(step)
        (total / steps).item()
        curve.append(evaluate(model, data))
    return np.array(curve)


def utilization(
    trainer: PackTrainer, pack: Pack, data: PreparedWorkload, settings: TrainingSettings
) -> Iterator[tuple[str, float, str]]:
    """Yield what a fused step of a pack achieves against a copy and a product of large matrices.

    Counted is what any SGD with momentum must move and compute: per parameter it is read forward
    and backward, its gradient written and read, its velocity and itself read and written, 32
    bytes; and 6 operations per parameter and sample.
    """
    place = str(data.train.targets.device)
    plan = trainer.plan(pack)
    if plan.model is None:
        return
    timetable = common_timetable(pack.trials, data, settings)
    members = [
        build_member(trial, 1, prepared=data, settings=settings, device=place)
        for trial in pack.trials[: plan.width]
    ]
    program = make_program(plan.model, members, prepared=data, timetable=timetable, device=place)
    n_steps = timetable.steps_per_epoch
    program.advance(0, n_steps).result()  # warms up, and captures
    step_s = _seconds(lambda: program.advance(0, n_steps).result()) / n_steps
    n_parameters = len(members) * plan.n_parameters
    bytes_s = 32 * n_parameters / step_s
    flop_s = 6 * n_parameters * timetable.batch_size / step_s
    yield "step_us", 1e6 * step_s, "us"
    yield "step_members", len(members), "members"
    yield "step_bytes", bytes_s / 1e9, "GB/s"
    yield "copy_bytes", copied_bytes_per_s(place) / 1e9, "GB/s"
    yield "step_flop", flop_s / 1e12, "TFLOP/s"
    yield "matmul_flop", multiplied_flop_per_s(place) / 1e12, "TFLOP/s"


def copied_bytes_per_s(place: str) -> float:
    """Return bytes read and written per second by a copy within the device."""
    n_bytes = 2**28 if place != "cpu" else 2**26
    source = torch.empty(n_bytes, dtype=torch.uint8, device=place)
    target = torch.empty_like(source)
    return 2 * n_bytes / _seconds(lambda: _finished(target.copy_(source)))


def multiplied_flop_per_s(place: str) -> float:
    """Return operations per second of a product of large float32 matrices."""
    n = 8192 if place != "cpu" else 1024
    matrix = torch.ones(n, n, device=place)
    return 2 * n**3 / _seconds(lambda: _finished(matrix @ matrix))


def _finished(tensor: torch.Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def _seconds(function: Callable[[], object]) -> float:
    """Return the least time of five, after one to warm up."""
    function()
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)

"""Trainings per second: the same trials by several ways of running a sweep.

Every column trains trials of the same grid from the same initial weights, on the same samples in
the same order, and evaluates them after each epoch on the same samples. All are pinned to one core
and one thread, and take denormal numbers as zero. The fused ones train the whole grid; the others,
whose time per trial does not depend on how many there are, train trials taken evenly from it.

plain_loop        what an expert writes: tensors in memory, index_select, the fastest of
                  torch.optim's forms, nothing read back but once an epoch
tutorial_vmap     PyTorch's tutorial on model ensembling: vmap over grad, an update per parameter
ray_tune_default  the loop as a Ray Tune function, one process per trial
ray_tune_reuse    the same with reuse_actors, one process for all
sweepdiag_cold    a new process, from its start to its last trial: imports, probes and traces
sweepdiag_warm    the same packs again in that process

What people use on GPUs is measured by gpu_trainings.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_CBWR", "AUTO")

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional

from _bench.results import Results, add_options, device_name
from sweepdiag.execution import SerialExecutor
from sweepdiag.records import (
    Event,
    OptimizerSettings,
    Pack,
    PointMeasured,
    SplitSettings,
    State,
    TrainingSettings,
    Trial,
    TrialEnded,
)
from sweepdiag.space import grid_axes, plan_packs
from sweepdiag.training import PackTrainer
from sweepdiag.training.seeds import batch_indices, seeded
from sweepdiag.workloads import PreparedWorkload, load_workload, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MOMENTUM = 0.9
Curve: TypeAlias = np.ndarray
"""Losses on training and validation samples, then accuracies; shape (epochs + 1, 4)."""


@dataclass(frozen=True)
class Case:
    """One row: a workload and a grid over it."""

    name: str
    workload: str
    parameters: dict[str, Any]
    lrs: tuple[float, float, int]
    batch_sizes: tuple[int, ...]
    capacities: tuple[int, ...]
    n_seeds: int
    epochs: int
    n_sampled: int

    def prepared(self) -> PreparedWorkload:
        return prepare(load_workload(self.workload, self.parameters), SplitSettings())

    def trials(self) -> list[Trial]:
        trials = []
        for capacity in self.capacities:
            for batch_size in self.batch_sizes:
                for lr in np.geomspace(*self.lrs):
                    axes = {"lr": float(lr), "batch_size": batch_size, "capacity": capacity}
                    name = f"lr{lr:.3g}-b{batch_size}-c{capacity}"
                    trials += [
                        Trial(trial_id=f"{name}-s{seed}", config_id=name, axes=axes, seed=seed)
                        for seed in range(self.n_seeds)
                    ]
        return trials

    def sampled(self, n: int) -> list[Trial]:
        """Return trials taken evenly from the grid, over all of its axes."""
        trials = self.trials()
        # A step that shares no factor with the grid's sizes visits all values of each axis.
        steps = range(max(len(trials) // n, 1), 2 * len(trials) + 2)
        step = next(step for step in steps if math.gcd(step, len(trials)) == 1)
        return [trials[index * step % len(trials)] for index in range(min(n, len(trials)))]


CASES = (
    Case(
        name="digits_mlp",
        workload="digits",
        parameters={},
        lrs=(1e-3, 1.0, 8),
        batch_sizes=(16, 32, 64, 128),
        capacities=(8, 16, 32, 64),
        n_seeds=4,
        epochs=20,
        n_sampled=64,
    ),
    Case(
        name="fashion_mlp",
        workload="fashion_mnist",
        parameters={"n_train": 4000, "n_validation": 1000},
        lrs=(1e-3, 1.0, 8),
        batch_sizes=(32, 128),
        capacities=(16, 64),
        n_seeds=4,
        epochs=4,
        n_sampled=16,
    ),
    Case(
        name="fashion_cnn",
        workload="fashion_mnist",
        parameters={"n_train": 2000, "n_validation": 500, "model": "cnn"},
        lrs=(1e-3, 0.3, 4),
        batch_sizes=(32,),
        capacities=(4, 8),
        n_seeds=2,
        epochs=2,
        n_sampled=8,
    ),
)


def quick(case: Case) -> Case:
    """Return a smaller case of the same kind."""
    if case.name == "digits_mlp":
        return replace(case, epochs=5, n_sampled=16, n_seeds=3)
    if case.name == "fashion_mlp":
        return replace(case, capacities=(16,), epochs=1, n_sampled=4)
    return replace(case, capacities=(4,), epochs=1, n_sampled=2, n_seeds=1)


# --- a plain loop ---


def train_by_loop(trial: Trial, data: PreparedWorkload, epochs: int, form: str) -> Curve:
    """Train one trial as an expert would write it."""
    with seeded(trial.seed, "weights"):
        model = data.model(capacity=trial.axes["capacity"]).to(data.train.targets.device)
    optimizer = optimizer_of(form)(model.parameters(), float(trial.axes["lr"]))
    inputs, targets = data.train.inputs, data.train.targets
    batch_size, n = int(trial.axes["batch_size"]), len(targets)
    steps = n // batch_size
    curve = [evaluate_by_loop(model, data)]
    for epoch in range(epochs):
        order = batch_indices(
            trial.seed, epoch * steps, (epoch + 1) * steps, batch_size=batch_size, n_samples=n
        )
        total = torch.zeros((), device=targets.device)
        model.train()
        for indices in order.to(targets.device):
            x, y = inputs.index_select(0, indices), targets.index_select(0, indices)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        (total / steps).item()
        curve.append(evaluate_by_loop(model, data))
    return np.array(curve)


def optimizer_of(form: str) -> Callable[[Any, float], torch.optim.Optimizer]:
    """Return what makes SGD in one of PyTorch's forms."""
    forms = {"single": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
    return lambda parameters, lr: torch.optim.SGD(
        parameters, lr=lr, momentum=MOMENTUM, **forms[form]
    )


@torch.no_grad()
def evaluate_by_loop(model: nn.Module, data: PreparedWorkload) -> list[float]:
    model.eval()
    losses, hits = [], []
    for x, y in (
        (data.train_eval.inputs, data.train_eval.targets),
        (data.validation.inputs, data.validation.targets),
    ):
        outputs = model(x)
        losses.append(functional.cross_entropy(outputs, y))
        hits.append((outputs.argmax(1) == y).float().mean())
    return torch.stack([*losses, *hits]).tolist()


def fastest_form(case: Case, data: PreparedWorkload) -> str:
    (trial,) = case.sampled(1)
    seconds = {}
    for form in ("single", "foreach", "fused"):
        train_by_loop(trial, data, 1, form)
        began = time.perf_counter()
        train_by_loop(trial, data, 1, form)
        seconds[form] = time.perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


# --- the torch.func tutorial ---


def train_by_tutorial(pack: Pack, data: PreparedWorkload, epochs: int) -> None:
    """Train trials of one architecture and batch size as the tutorial on ensembling does."""
    place = data.train.targets.device
    models = []
    for trial in pack.trials:
        with seeded(trial.seed, "weights"):
            models.append(data.model(capacity=trial.axes["capacity"]).to(place))
    parameters, buffers = stack_module_state(models)
    parameters = {name: p.detach() for name, p in parameters.items()}
    velocities = {name: torch.zeros_like(p) for name, p in parameters.items()}
    rates = torch.tensor([float(trial.axes["lr"]) for trial in pack.trials], device=place)
    base = models[0].to("meta")

    def loss_of(p: Any, b: Any, x: torch.Tensor, y: torch.Tensor) -> Any:
        loss = functional.cross_entropy(functional_call(base, (p, b), (x,)), y)
        return loss, loss

    def measure(p: Any, b: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs = functional_call(base, (p, b), (x,))
        hits = (outputs.argmax(1) == y).float().mean()
        return torch.stack([functional.cross_entropy(outputs, y), hits])

    gradients_of = vmap(grad(loss_of, has_aux=True))
    measures_of = vmap(measure, in_dims=(0, 0, None, None))

    def evaluate() -> None:
        with torch.no_grad():
            for x, y in (
                (data.train_eval.inputs, data.train_eval.targets),
                (data.validation.inputs, data.validation.targets),
            ):
                measures_of(parameters, buffers, x, y).tolist()

    batch_size, n = int(pack.trials[0].axes["batch_size"]), len(data.train.targets)
    steps = n // batch_size
    evaluate()
    for epoch in range(epochs):
        first, last = epoch * steps, (epoch + 1) * steps
        order = torch.stack(
            [
                batch_indices(trial.seed, first, last, batch_size=batch_size, n_samples=n)
                for trial in pack.trials
            ],
            dim=1,
        )
        total = torch.zeros(len(pack.trials), device=place)
        for indices in order.to(place):
            gradients, losses = gradients_of(
                parameters, buffers, data.train.inputs[indices], data.train.targets[indices]
            )
            with torch.no_grad():
                for name, parameter in parameters.items():
                    column = rates.view(-1, *[1] * (parameter.dim() - 1))
                    velocities[name].mul_(MOMENTUM).add_(gradients[name])
                    parameter.sub_(column * velocities[name])
                total += losses
        (total / steps).tolist()
        evaluate()


# --- sweepdiag ---


def packs_of(case: Case) -> Sequence[Pack]:
    axes = grid_axes(
        {
            "lr": {"values": np.geomspace(*case.lrs).tolist()},
            "batch_size": {"values": list(case.batch_sizes)},
            "capacity": {"values": list(case.capacities)},
        }
    )
    return plan_packs(case.trials(), axes=axes, pack_size=64, attempts={})


def make_trainer(case: Case, data: PreparedWorkload) -> PackTrainer:
    return PackTrainer(prepared=data, settings=settings_of(case), device=device())


def settings_of(case: Case) -> TrainingSettings:
    optimizer = OptimizerSettings(name="sgd", momentum=MOMENTUM)
    return TrainingSettings(optimizer=optimizer, epochs=case.epochs)


def device() -> str:
    return "cuda:0" if torch.cuda.is_available() else "cpu"


def train_by_sweepdiag(
    trainer: PackTrainer, packs: Sequence[Pack], *, n_at_once: int = 1
) -> dict[str, Curve]:
    """Train packs; return their curves by trial.

    Raises:
        RuntimeError: If a trial does not finish.
    """

    def worker(pack: Pack, *, device: str) -> Iterator[list[Event]]:
        del device
        return trainer.train(pack)

    points: dict[str, list[list[float]]] = {}
    with SerialExecutor(device(), n_at_once=n_at_once) as executor:
        for event in itertools.chain.from_iterable(executor.run(packs, worker)):
            if isinstance(event, PointMeasured):
                p = event.point
                points.setdefault(event.trial_id, []).append(
                    [p.train_loss, p.val_loss, p.train_metric, p.val_metric]
                )
            elif isinstance(event, TrialEnded) and event.state is not State.FINISHED:
                raise RuntimeError(event.reason)
    return {trial_id: np.array(curve) for trial_id, curve in points.items()}


def sweepdiag_in_new_process(case: Case, *, is_quick: bool) -> tuple[float, float]:
    """Return the seconds of a cold and of a warm run of all packs."""
    began = time.time()
    command = [sys.executable, "-m", "_bench.trainings", "--child", case.name]
    done = subprocess.run(
        command + (["--quick"] if is_quick else []),
        env={**os.environ, "SWEEPDIAG_CACHE_DIR": "off"},  # nothing is remembered from before
        capture_output=True,
        text=True,
        check=True,
    )
    cold_ended, warm_s = (float(word) for word in done.stdout.split())
    return cold_ended - began, warm_s


def child(case: Case) -> None:
    data = case.prepared().to(device())
    packs = packs_of(case)
    trainer = make_trainer(case, data)
    train_by_sweepdiag(trainer, packs)
    cold_ended = time.time()
    train_by_sweepdiag(trainer, packs)
    print(cold_ended, time.time() - cold_ended)


# --- Ray Tune ---


def tune_seconds(case: Case, trials: Sequence[Trial], form: str, *, reuse: bool) -> float:
    """Return the seconds of ``Tuner.fit`` for some trials, without the start of Ray.

    Raises:
        RuntimeError: If a trial fails.
    """
    import logging
    import tempfile

    import ray
    from ray import tune

    def trainable(config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        data = ray.get(config["data"])
        curve = train_by_loop(config["trial"], data, case.epochs, form)
        for epoch, (train_loss, val_loss, _, val_accuracy) in enumerate(curve):
            tune.report({"epoch": epoch, "val_loss": val_loss, "train_loss": train_loss,
                         "val_accuracy": val_accuracy})  # fmt: skip

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            tuner = tune.Tuner(
                trainable,
                param_space={
                    "trial": tune.grid_search(list(trials)),
                    "data": ray.put(case.prepared()),
                },
                tune_config=tune.TuneConfig(reuse_actors=reuse),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            )
            began = time.perf_counter()
            results = tuner.fit()
            seconds = time.perf_counter() - began
            if results.errors:
                raise RuntimeError(results.errors[0])
            return seconds
    finally:
        ray.shutdown()


# --- the benchmark ---


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def rates(case: Case, *, is_quick: bool, with_tune: bool) -> Iterator[tuple[str, float, str]]:
    """Yield the figures of one row: column, value, unit."""
    data = case.prepared().to(device())
    packs, trials = packs_of(case), case.trials()
    sampled = case.sampled(case.n_sampled)
    # The loop's fastest form rounds unlike the others; curves are compared with the plain form.
    form = fastest_form(case, data)
    seconds: dict[str, list[float]] = {}
    for _ in range(1 if is_quick else 3):
        loop_s = timed(lambda: [train_by_loop(t, data, case.epochs, form) for t in sampled])
        seconds.setdefault("plain_loop", []).append(loop_s / len(sampled))
        vmap_s = timed(lambda: [train_by_tutorial(p, data, case.epochs) for p in packs])
        seconds.setdefault("tutorial_vmap", []).append(vmap_s / len(trials))
        cold_s, warm_s = sweepdiag_in_new_process(case, is_quick=is_quick)
        seconds.setdefault("sweepdiag_cold", []).append(cold_s / len(trials))
        seconds.setdefault("sweepdiag_warm", []).append(warm_s / len(trials))
    if with_tune:
        tuned = case.sampled(16)
        for column, reuse in (("ray_tune_default", False), ("ray_tune_reuse", True)):
            seconds[column] = [tune_seconds(case, tuned, form, reuse=reuse) / len(tuned)]
    medians = {column: statistics.median(values) for column, values in seconds.items()}
    for column, per_trial in medians.items():
        yield column, 1.0 / per_trial, "trials/s"
    for column in ("plain_loop", "tutorial_vmap", "ray_tune_default", "ray_tune_reuse"):
        if column in medians:
            yield f"warm_over_{column}", medians[column] / medians["sweepdiag_warm"], "x"
    yield "cold_over_plain_loop", medians["plain_loop"] / medians["sweepdiag_cold"], "x"
    yield "curve_difference", difference(case, data, sampled[: 16 if is_quick else 64]), "relative"


def difference(case: Case, data: PreparedWorkload, sampled: Sequence[Trial]) -> float:
    """Return the largest relative difference of a loss to the loop with the single-tensor form."""
    trainer = make_trainer(case, data)
    wanted = {trial.config_id for trial in sampled}
    packs = [p for p in packs_of(case) if any(t.config_id in wanted for t in p.trials)]
    found = train_by_sweepdiag(trainer, packs)
    largest = 0.0
    for trial in sampled:
        expected = train_by_loop(trial, data, case.epochs, "single")
        largest = max(largest, loss_gap(found[trial.trial_id], expected))
    return largest


def loss_gap(found: Curve, expected: Curve) -> float:
    """Return the largest relative difference of a loss; infinite where only one is finite."""
    losses, expected_losses = found[:, :2], expected[:, :2]
    is_finite = np.isfinite(expected_losses)
    if not np.array_equal(np.isfinite(losses), is_finite):
        return math.inf
    gaps = np.abs(losses - expected_losses)[is_finite]
    return float((gaps / (np.abs(expected_losses)[is_finite] + 1e-6)).max(initial=0.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_options(parser, quick="smaller grids, once, without Tune")
    rows = [case.name for case in CASES]
    parser.add_argument(
        "--row", action="append", choices=rows, help="only this row; may be repeated"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cases = {case.name: quick(case) if arguments.quick else case for case in CASES}
    if arguments.child:
        child(cases[arguments.child])
        return
    results = Results(device=f"{device_name()}, one core")
    for name in arguments.row or cases:
        for column, value, unit in rates(
            cases[name],
            is_quick=arguments.quick,
            with_tune=not arguments.quick and not torch.cuda.is_available(),
        ):
            results.add(name, column, value, unit)
    results.write(arguments.json)
    print(results.table())


if __name__ == "__main__":
    main()

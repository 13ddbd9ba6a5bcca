"""Which executor is expected to end a sweep sooner, and making it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.execution.serial import SerialExecutor

if TYPE_CHECKING:
    from sweepdiag.execution.base import Executor
    from sweepdiag.execution.devices import Devices
    from sweepdiag.records import Deadlines

__all__ = [
    "PACKS_PER_GPU",
    "RAY_START_S",
    "WORKER_START_S",
    "ExecutorChoice",
    "choose_executor",
    "make_executor",
]

RAY_START_S = 6.5
"""Importing, starting and stopping Ray: measured 5 to 8 s on two cores, with Ray 2.60."""

WORKER_START_S = 4.0
"""A worker until it trains: 0.6 to 1 s for its process, 2 to 4 s to import torch 2.13 there."""

PACKS_PER_GPU = 4
"""Packs of small networks that take turns on a GPU, unless told otherwise. Not yet measured."""

_NAMES = ("ray", "serial", "tune")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutorChoice:
    """An executor's name, and why it was chosen.

    Attributes:
        name: ``serial`` or ``ray``.
        reason: One sentence for people.
    """

    name: Literal["serial", "ray"]
    reason: str


def choose_executor(
    *,
    serial_s: float,
    n_packs: int,
    n_workers: int,
    longest_pack_s: float = 0.0,
    start_s: float = RAY_START_S + WORKER_START_S,
    address: str | None = None,
) -> ExecutorChoice:
    """Return the executor that is expected to end sooner.

    With ``n`` workers a sweep takes at least its longest pack, and at least an ``n``-th of the
    time that one worker would take; what starting the workers costs comes on top.

    Args:
        serial_s: Estimated time of all packs one after the other.
        n_packs: Number of packs; no more workers than these have anything to do.
        n_workers: Cores or GPUs that could each have a worker.
        longest_pack_s: Estimated time of the longest pack; 0 if it is not known.
        start_s: What starting and stopping workers costs.
        address: Cluster that the caller asks to join, which only Ray can.

    Returns:
        The choice, with its reason.
    """
    if address not in {None, "local"}:
        return ExecutorChoice(name="ray", reason=f"Ray: asked to join the cluster at {address}.")
    n_useful = min(n_workers, n_packs)
    if n_useful < 2:
        reason = f"Serial: {_count(n_packs, 'pack')} on {_count(n_workers, 'worker')}."
        return ExecutorChoice(name="serial", reason=reason)
    parallel_s = start_s + max(serial_s / n_useful, longest_pack_s)
    times = f"about {serial_s:.0f} s in this process, {parallel_s:.0f} s on {n_useful} Ray workers"
    cost = f"{start_s:.0f} s of them to start"
    if parallel_s < serial_s:
        return ExecutorChoice(name="ray", reason=f"Ray: {times} ({cost}).")
    return ExecutorChoice(name="serial", reason=f"Serial: {times} ({cost}).")


def make_executor(
    name: str,
    *,
    devices: Devices,
    n_workers: int = 1,
    packs_per_device: int | None = None,
    address: str | None = None,
    join_timeout_s: float | None = None,
    deadlines: Deadlines | None = None,
) -> Executor:
    """Return a new executor, ready to run; the caller closes it.

    Args:
        name: ``serial``, ``ray``, or ``tune`` for packs of one trial.
        devices: What to train on. Ray starts one worker per GPU, real or fake.
        n_workers: Worker processes where there is no GPU. Serial has one, always.
        packs_per_device: Packs that take turns in one process; ``None``: ``PACKS_PER_GPU`` on a
            GPU, 1 on the CPU.
        address: Ray cluster to join.
        join_timeout_s: How long that cluster may take to answer, and then to have room for all
            workers; ``None``: 10 s to answer, and it must have room at once.
        deadlines: How long a worker process may send nothing, which only Ray's own executor
            watches.

    Raises:
        ConfigError: If there is no executor of that name.
    """
    n_at_once = packs_per_device or (PACKS_PER_GPU if devices.kind == "cuda" else 1)
    if name == "serial":
        device = "cuda:0" if devices.kind == "cuda" else "cpu"
        return SerialExecutor(device, n_at_once=n_at_once)
    if name not in _NAMES:
        raise ConfigError(unknown_name("executor", name, _NAMES))
    place: dict[str, Any] = {
        "gpus": devices.count,
        "address": address,
        "join_timeout_s": join_timeout_s,
    }
    if name == "tune":
        from sweepdiag.execution._ray_tune import TuneExecutor

        return TuneExecutor(devices.count or n_workers, **place)
    from sweepdiag.execution._ray import RayExecutor

    return RayExecutor(
        devices.count or n_workers, packs_per_worker=n_at_once, deadlines=deadlines, **place
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

"""Which devices there are, and which of them a sweep uses."""

from __future__ import annotations

import logging
import math
import os
import warnings
from dataclasses import dataclass
from typing import Literal

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution.cpu_quota import cpu_quota

__all__ = [
    "FAKE_GPUS_VARIABLE",
    "Devices",
    "count_gpus",
    "n_fake_gpus",
    "resolve_devices",
    "usable_cpus",
]

_log = logging.getLogger(__name__)

FAKE_GPUS_VARIABLE = "SWEEPDIAG_FAKE_GPUS"
"""Set to N, every node counts as having N GPUs, and trains on the CPU. For tests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """What a sweep trains on.

    Attributes:
        kind: ``cuda``; ``cpu``; or ``fake``: counted as GPUs, trained on the CPU.
        count: GPUs, real or fake; 0 on the CPU.
        line: One sentence for people.
    """

    kind: Literal["cuda", "cpu", "fake"]
    count: int
    line: str


def n_fake_gpus() -> int | None:
    """Return the number of fake GPUs per node, or ``None`` where GPUs are real.

    Raises:
        ConfigError: If the environment variable is not a whole number of at least 0.
    """
    value = os.environ.get(FAKE_GPUS_VARIABLE, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isdigit():
        message = f"{FAKE_GPUS_VARIABLE} must be a whole number of at least 0, got {value!r}"
        raise ConfigError(message)
    return int(value)


def count_gpus() -> int:
    """Return how many GPUs of this machine torch can train on.

    ``CUDA_VISIBLE_DEVICES`` is respected. Where there is no driver nothing is initialised; where
    there is one, CUDA is asked whether it works, since the driver also lists devices that this
    build of torch cannot use.
    """
    import torch

    if torch.cuda.device_count() == 0:
        return 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        is_usable = torch.cuda.is_available()
    if is_usable:
        return torch.cuda.device_count()
    why = "; ".join(str(warning.message) for warning in caught) or "torch gives no reason"
    _log.warning("the driver lists GPUs, but torch cannot use them: %s", why)
    return 0


def usable_cpus() -> int:
    """Return how many CPU cores this process may use.

    All, or the fewest that the affinity mask, a container's quota and Slurm's grant leave.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity masks in Python
        allowed = os.cpu_count() or 1
    quota = cpu_quota()
    if math.isfinite(quota):
        allowed = max(1, min(allowed, math.ceil(quota)))
    granted = os.environ.get("SLURM_CPUS_ON_NODE", "")
    if granted.isascii() and granted.isdigit() and int(granted) > 0:
        return min(allowed, int(granted))
    return allowed


def resolve_devices(
    gpus: int | None,
    *,
    most: int | None = None,
    address: str | None = None,
    join_timeout_s: float | None = None,
) -> Devices:
    """Return the devices to train on, or say at once why they cannot be had.

    Args:
        gpus: GPUs asked for in all; 0 asks for the CPU; ``None`` takes all there are.
        most: GPUs to take where ``gpus`` leaves it open; ``None``: any number.
        address: Address of the Ray cluster to join; ``None`` and ``local`` stand for this machine.
            The GPUs of a cluster are those that its nodes announced to Ray when they joined.
        join_timeout_s: How long a cluster may take to answer, and then to have the GPUs asked for;
            ``None``: 10 s to answer, and it must have them at once.

    Returns:
        What to train on.

    Raises:
        ConfigError: If ``gpus`` is negative.
        LaunchError: If there are fewer GPUs than asked for.
    """
    if gpus is not None and gpus < 0:
        message = f"gpus must be at least 0, got {gpus}"
        raise ConfigError(message)
    if gpus == 0:
        return Devices(kind="cpu", count=0, line=f"Training on the CPU ({_cores()}), as asked.")
    if address == "local":
        address = None
    fake = n_fake_gpus()
    n_present = _count_present(address, fake, wanted=gpus or 0, join_timeout_s=join_timeout_s)
    where = f"the Ray cluster at {address}" if address else "this machine"
    if gpus is not None and gpus > n_present:
        raise LaunchError(_too_few(gpus, n_present, where=where, is_fake=fake is not None))
    if n_present == 0:
        cores = "" if address else f" ({_cores()})"
        line = f"No GPU found on {where}: training on the CPU{cores}."
        return Devices(kind="cpu", count=0, line=line)
    n_used = min(n_present, most or n_present) if gpus is None else gpus
    return _some(n_used, n_present, where, is_fake=fake is not None)


def _count_present(
    address: str | None, fake: int | None, *, wanted: int, join_timeout_s: float | None
) -> int:
    if address is not None:
        from sweepdiag.execution._ray_session import count_cluster_gpus

        return count_cluster_gpus(address, wanted=wanted, join_timeout_s=join_timeout_s)
    return count_gpus() if fake is None else fake


def _some(n_used: int, n_present: int, where: str, *, is_fake: bool) -> Devices:
    noun = "GPU" if n_present == 1 else "GPUs"
    share = f"{n_used}" if n_used == n_present else f"{n_used} of {n_present}"
    if is_fake:
        line = f"Training on the CPU, with {share} fake {noun} of {where} ({FAKE_GPUS_VARIABLE})."
        return Devices(kind="fake", count=n_used, line=line)
    return Devices(kind="cuda", count=n_used, line=f"Training on {share} {noun} of {where}.")


def _too_few(gpus: int, n_present: int, *, where: str, is_fake: bool) -> str:
    present = f"{n_present}{' fake' if is_fake else ''}"
    fix = (
        "leave --gpus away to train on the CPU; `sweepdiag doctor` says why there is none, and "
        "`nvidia-smi -L` lists what the driver sees"
        if n_present == 0
        else f"use --gpus {n_present} or fewer, or leave --gpus away to use all; "
        "`sweepdiag doctor` shows them"
    )
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = "" if hidden is None or is_fake else f" (CUDA_VISIBLE_DEVICES={hidden!r} limits it)"
    return f"--gpus {gpus} asks for {gpus} GPUs, {where} has {present}{visible}: {fix}"


def _cores() -> str:
    n_cores = usable_cpus()
    return f"{n_cores} core{'' if n_cores == 1 else 's'}"

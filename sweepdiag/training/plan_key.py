"""What decides how an architecture is trained, as one key: another key, another measurement."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.training.described import described, described_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sweepdiag.records import PackSettings
    from sweepdiag.training.members import Member, Timetable
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["digest", "plan_facts"]

_PACKAGE = Path(__file__).parents[1]
_THAT_TRAINS = ("training/*.py", "workloads/*.py", "records.py")
_VARIABLES = (
    "MKL_",
    "OMP_",
    "ATEN_",
    "DNNL_",
    "ONEDNN_",
    "CUBLAS_",
    "NVIDIA_TF32",
)
"""Beginnings of environment variables that say how numerical libraries compute."""
_NOT_READ = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Threads to begin with: while training, their number is set."""
_OF_ONE_CORE = frozenset(
    {"processor", "cpu MHz", "bogomips", "BogoMIPS", "core id", "apicid", "initial apicid"}
)


def plan_facts(
    members: Sequence[Member],
    *,
    prepared: PreparedWorkload,
    timetable: Timetable,
    device: str,
    numerics: str,
    record: Sequence[str],
    packing: PackSettings,
) -> dict[str, Any]:
    """Return everything that decides how members like these are trained, in plain words.

    Learning rates and seeds do not: all members run the same operations.

    Args:
        members: What is to be trained.
        prepared: The data, on the device.
        timetable: Shared by all members.
        device: Where to train.
        numerics: ``exact`` or ``fast``.
        record: What else to record.
        packing: What the user has decided.
    """
    return {
        "model": described_model(members[0].model),
        "loss": _losses(prepared),
        "optimizers": sorted({_optimizer(member) for member in members}),
        "n_members": len(members),
        "data": _data(prepared),
        "batch_size": timetable.batch_size,
        "n_steps": timetable.evaluations[-1],
        "n_evaluations": len(timetable.evaluations),
        "numerics": numerics,
        "record": list(record),
        "packing": dataclasses.asdict(packing),
        "versions": _versions(),
        "modes": _modes(),
        "machine": _machine(device),
    }


def digest(facts: Mapping[str, Any]) -> str:
    """Return SHA-256 over facts in plain words."""
    text = json.dumps(facts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _losses(prepared: PreparedWorkload) -> list[Any]:
    functions = (
        prepared.loss_fn,
        prepared.metric_fn,
        prepared.sample_loss_fn,
        prepared.sample_metric_fn,
    )
    return [prepared.named_loss, *map(described, functions)]


def _optimizer(member: Member) -> str:
    """Return an optimizer's settings; of what members may differ in, only whether it is 0."""
    settings = dataclasses.asdict(member.optimizer)
    for name in ("momentum", "weight_decay"):
        settings[name] = settings[name] > 0
    return json.dumps(settings, sort_keys=True)


def _data(prepared: PreparedWorkload) -> list[Any]:
    parts = (prepared.train, prepared.train_eval, prepared.validation)
    layouts = [
        (
            type(samples).__name__,
            len(samples),
            list(samples.examples.shape[1:]),
            str(samples.examples.dtype),
        )
        for samples in parts
    ]
    return [prepared.fingerprint, *layouts]


@functools.cache
def _versions() -> dict[str, str]:
    import torch

    return {
        "sweepdiag": _own_code(),
        "torch": torch.__version__,
        "build": torch.__config__.show(),
        "numpy": np.__version__,
        "python": sys.version,
    }


def _own_code() -> str:
    """Return a hash of the code that trains, which says more than a version would."""
    hashed = hashlib.sha256()
    for pattern in _THAT_TRAINS:
        for path in sorted(_PACKAGE.glob(pattern)):
            hashed.update(path.name.encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


def _modes() -> dict[str, Any]:
    """Return the settings of this process that kernels look at."""
    import torch

    return {
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "dtype": str(torch.get_default_dtype()),
        "mkldnn": torch.backends.mkldnn.enabled,
        "cudnn": (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark),
        "variables": {
            name: value
            for name, value in os.environ.items()
            if name.startswith(_VARIABLES) and name not in _NOT_READ
        },
    }


@functools.cache
def _machine(device: str) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {
        "system": platform.system(),
        "processor": _processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "n_cores": os.cpu_count(),
    }
    if device != "cpu":
        properties: Any = torch.cuda.get_device_properties(device)
        found["device"] = (properties.name, properties.major, properties.minor)
        found["device_memory"] = properties.total_memory
        found["cuda"] = (torch.version.cuda, _cudnn_version())
    return found


def _cudnn_version() -> int | None:
    import torch

    version: Any = torch.backends.cudnn.version
    number: int | None = version()
    return number


def _processor() -> list[str]:
    """Return what the kernel says about the first core, but for what differs between cores."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return [platform.machine(), platform.processor()]
    lines = first.splitlines()
    return [line for line in lines if line.partition("\t")[0].strip() not in _OF_ONE_CORE]

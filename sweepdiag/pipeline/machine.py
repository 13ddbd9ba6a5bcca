"""What this machine offers to a sweep, and what is wrong with it."""

from __future__ import annotations

import enum
import math
import os
import platform
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from sweepdiag.errors import LaunchError, SweepdiagError
from sweepdiag.messages import clean_message, describe_bytes, describe_error
from sweepdiag.pipeline.environment import describe_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Check", "Health", "examine_machine"]

_LITTLE_DISK_BYTES = 1e9
"""Less free space than this is told: journals and figures of a large sweep take some 100 MB."""

_LITTLE_MEMORY_BYTES = 1e9
"""A worker with torch takes some 400 MB before it trains."""

_PATIENCE_S = 10.0


class Health(enum.StrEnum):
    """How it is with one part of a machine.

    Absent is no fault: a machine without a GPU trains on the CPU. Faulty is what is there and does
    not work, but is not needed to train here (CuPy, Slurm); broken is what is needed.
    """

    GOOD = "good"
    ABSENT = "absent"
    FAULTY = "faulty"
    BROKEN = "broken"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One part of the machine.

    Attributes:
        name: Which.
        health: How it is.
        value: What there is, or what is wrong.
        fix: What to do about it; empty where there is nothing to do.
    """

    name: str
    value: str
    health: Health = Health.GOOD
    fix: str = ""


def examine_machine(output: Path = Path("results"), *, start_ray: bool = True) -> Iterator[Check]:
    """Yield what each part of this machine offers; nothing is left behind.

    Args:
        output: The folder that results would be written into; it need not exist.
        start_ray: Whether to start Ray and end it again, which takes seconds.
    """
    import sweepdiag

    yield Check(
        name="sweepdiag", value=f"{sweepdiag.__version__}, Python {platform.python_version()}"
    )
    yield from _examine_torch()
    yield _examine_cupy()
    yield _examine_ray(start_ray=start_ray)
    yield _examine_ray_directory()
    yield _examine_slurm()
    yield _examine_cores()
    yield _examine_memory()
    yield _examine_disk(output)


def _examine_torch() -> Iterator[Check]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Check(
            name="torch",
            health=Health.BROKEN,
            value=describe_error(error),
            fix="install it again: pip install --force-reinstall torch",
        )
        return
    built_for = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs"
    yield Check(name="torch", value=f"{torch.__version__}, {built_for}")
    yield from _examine_gpus(is_cuda_build=torch.version.cuda is not None)


def _examine_gpus(*, is_cuda_build: bool) -> Iterator[Check]:
    """Compare the GPUs that the driver lists with those that torch can train on."""
    import torch

    from sweepdiag.execution import count_gpus

    listed, driver = _driver_gpus()
    if driver:
        yield Check(name="CUDA driver", value=driver)
    n_usable = count_gpus()
    for index in range(n_usable):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        memory = f"{describe_bytes(total)}, {describe_bytes(free)} free"
        yield Check(name=f"GPU {index}", value=f"{name}, {memory}")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if n_usable or not listed:
        if not n_usable:
            yield Check(name="GPUs", health=Health.ABSENT, value="none: sweeps train on the CPU")
    elif hidden is not None:
        yield Check(
            name="GPUs",
            health=Health.ABSENT,
            value=f"{len(listed)} are hidden: CUDA_VISIBLE_DEVICES={hidden!r}",
            fix="unset CUDA_VISIBLE_DEVICES to train on them",
        )
    else:
        yield Check(
            name="GPUs",
            health=Health.BROKEN,
            value=f"the driver lists {', '.join(listed)}, but torch cannot use them",
            fix="install a driver that is at least as new as torch's CUDA, or an older torch"
            if is_cuda_build
            else "this torch is built for CPUs only: install one that is built for CUDA",
        )


def _driver_gpus() -> tuple[list[str], str]:
    """Return the GPUs that NVIDIA's driver lists, and its version; nothing without a driver."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    lines = [line.rpartition(",") for line in (_output(query) or "").splitlines()]
    return [name for name, _, _ in lines], lines[0][2].strip() if lines else ""


def _examine_cupy() -> Check:
    """Whether CuPy runs kernels; without it curve features are computed on the CPU."""
    try:
        import cupy
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            value = "not installed: curve features are computed on the CPU"
            fix = "pip install 'sweepdiag[gpu]'" if _driver_gpus()[0] else ""
            return Check(name="CuPy", health=Health.ABSENT, value=value, fix=fix)
        return _broken_cupy(error)
    version = str(cupy.__version__)
    try:
        if not cupy.cuda.is_available():
            return Check(name="CuPy", health=Health.ABSENT, value=f"{version}, without a GPU")
        source = 'extern "C" __global__ void one(double* x) { x[0] = 1.0; }'
        number = cupy.zeros(1)
        cupy.RawKernel(source, "one")((1,), (1,), (number,))
        has_run = float(number[0]) == 1.0
    except Exception as error:  # noqa: BLE001 - CUDA's compiler and runtime raise anything
        return _broken_cupy(error)
    if not has_run:
        return _broken_cupy(LaunchError("a kernel has run and written nothing"))
    return Check(name="CuPy", value=f"{version}, runs kernels")


def _broken_cupy(error: Exception) -> Check:
    return Check(
        name="CuPy",
        health=Health.FAULTY,
        value=describe_error(error),
        fix="install the CuPy of your CUDA version: pip install 'sweepdiag[gpu]' for 13, "
        "'sweepdiag[gpu-cuda12]' for 12",
    )


def _examine_ray(*, start_ray: bool) -> Check:
    try:
        version = metadata.version("ray")
    except metadata.PackageNotFoundError:
        return Check(
            name="Ray",
            health=Health.BROKEN,
            value="not installed",
            fix="pip install 'ray[tune]'; until then train with --executor serial",
        )
    if not start_ray:
        return Check(name="Ray", value=f"{version}, not started")
    from sweepdiag.execution._ray_session import open_session

    began = time.monotonic()
    try:
        open_session(n_workers=1, gpus=0, is_fake=False, address=None, join_timeout_s=None).close()
    except (SweepdiagError, ImportError) as error:
        return Check(
            name="Ray",
            health=Health.BROKEN,
            value=f"{version} does not start: {clean_message(str(error))}",
            fix="train with --executor serial until it does",
        )
    seconds = time.monotonic() - began
    return Check(name="Ray", value=f"{version}, started and ended in {seconds:.1f} s")


def _examine_ray_directory() -> Check:
    """Whether there is a place whose path leaves room for the names of Ray's sockets."""
    from sweepdiag.execution._ray_directory import ray_directory

    try:
        directory = ray_directory()
    except LaunchError as error:
        return Check(
            name="Temporary files",
            health=Health.BROKEN,
            value=str(error),
            fix="set TMPDIR to a short path that you may write into",
        )
    place = Path(tempfile.gettempdir())
    if directory.parent != place:
        value = f"{place} is too long a path for Ray's sockets (107 bytes): Ray uses /tmp"
        fix = "set TMPDIR to a shorter path to have them there"
        return Check(name="Temporary files", value=value, fix=fix)
    return Check(name="Temporary files", value=f"{place}, {_free_space(place)}")


def _examine_slurm() -> Check:
    if shutil.which("sbatch") is None:
        return Check(name="Slurm", health=Health.ABSENT, value="no sbatch on this machine")
    version = _output(["sbatch", "--version"])
    if version is None:
        return Check(
            name="Slurm",
            health=Health.FAULTY,
            value="sbatch is installed, but `sbatch --version` fails",
            fix="run it to see why; most often this machine has no slurm.conf",
        )
    job = os.environ.get("SLURM_JOB_ID")
    return Check(name="Slurm", value=f"{version}{f', inside job {job}' if job else ''}")


def _examine_cores() -> Check:
    from sweepdiag.execution import usable_cpus
    from sweepdiag.execution.cpu_quota import cpu_quota

    n_usable, n_present = usable_cpus(), os.cpu_count() or 1
    quota = cpu_quota()
    limits = [f"the container grants {quota:.3g}"] if math.isfinite(quota) else []
    granted = os.environ.get("SLURM_CPUS_ON_NODE")
    limits += [f"Slurm grants {granted}"] if granted else []
    processor = str(describe_environment(version="", devices="")["processor"])
    why = f" ({', '.join(limits)})" if limits else ""
    return Check(
        name="Cores",
        value=f"{n_usable} of {n_present} usable{why}; {processor.partition(' (')[0]}",
    )


def _examine_memory() -> Check:
    from sweepdiag.workloads.memory import free_host_bytes

    free = free_host_bytes()
    if not math.isfinite(free):
        return Check(name="Memory", value="not known on this system")
    value = f"{describe_bytes(free)} free for this process"
    if free < _LITTLE_MEMORY_BYTES:
        return Check(
            name="Memory",
            health=Health.BROKEN,
            value=f"{value}, a worker needs {describe_bytes(_LITTLE_MEMORY_BYTES)}",
            fix="end other programs, raise the limit (ulimit -v, the container's, Slurm's --mem)",
        )
    return Check(name="Memory", value=value)


def _examine_disk(output: Path) -> Check:
    """Whether results can be written: into the folder, or the nearest above it that there is."""
    absolute = output.absolute()
    place = next(path for path in (absolute, *absolute.parents) if path.exists())
    value = f"{place}, {_free_space(place)}"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        fix = "choose another folder with --output"
        value = f"{place} cannot be written"
        return Check(name="Results", health=Health.BROKEN, value=value, fix=fix)
    if shutil.disk_usage(place).free < _LITTLE_DISK_BYTES:
        fix = "make room, or choose a folder on another disk with --output"
        return Check(name="Results", health=Health.BROKEN, value=value, fix=fix)
    return Check(name="Results", value=value)


def _free_space(place: Path) -> str:
    return f"{describe_bytes(shutil.disk_usage(place).free)} free"


def _output(command: list[str]) -> str | None:
    """Return what a program prints; ``None`` if it is not there or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return clean_message(done.stdout)

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sweepdiag.errors import LaunchError
from sweepdiag.execution import _ray_directory, _ray_session, cpu_quota, devices
from sweepdiag.pipeline import Health, examine_machine, machine
from sweepdiag.workloads import memory


def examine(output=Path("results")):
    return {check.name: check for check in examine_machine(output, start_ray=False)}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder of programs that comes first, and a way to put some into it."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def add(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return add


def test_a_machine_is_described_part_by_part():
    found = examine()
    assert {"sweepdiag", "torch", "CuPy", "Ray", "Slurm", "Cores", "Memory", "Results"} <= set(
        found
    )
    assert all(check.value for check in found.values())
    assert all(check.fix for check in found.values() if check.health is Health.BROKEN)


def test_gpus_that_torch_cannot_use_are_broken_and_hidden_ones_are_not(tools, monkeypatch):
    tools("nvidia-smi", "echo 'Some GPU, 570.1'")
    monkeypatch.setattr(devices, "count_gpus", lambda: 0)
    monkeypatch.setattr("sweepdiag.execution.count_gpus", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = examine()
    assert found["CUDA driver"].value == "570.1"
    assert found["GPUs"].health is Health.BROKEN
    assert "the driver lists Some GPU, but torch cannot use them" in found["GPUs"].value
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = examine()
    assert found["GPUs"].health is Health.ABSENT
    assert "CUDA_VISIBLE_DEVICES" in found["GPUs"].fix


def test_a_cupy_that_cannot_be_imported_is_faulty_with_its_error(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda.so.1: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    cupy = examine()["CuPy"]
    assert cupy.health is Health.FAULTY
    assert "libcuda.so.1" in cupy.value
    assert "gpu-cuda12" in cupy.fix


def test_slurm_tells_its_version_or_is_faulty(tools):
    tools("sbatch", "echo slurm-wlm 22.05.8")
    assert examine()["Slurm"].value.startswith("slurm-wlm 22.05.8")
    tools("sbatch", "exit 1")
    assert examine()["Slurm"].health is Health.FAULTY


def test_a_long_temporary_folder_is_told_with_the_limit(tmp_path, monkeypatch):
    place = tmp_path / ("x" * 60)
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    check = examine()["Temporary files"]
    assert "107 bytes" in check.value
    assert "TMPDIR" in check.fix
    assert list(place.iterdir()) == []


def test_no_place_for_sockets_is_broken(monkeypatch):
    monkeypatch.setattr(_ray_directory, "_MAX_LENGTH", 3)
    check = examine()["Temporary files"]
    assert check.health is Health.BROKEN
    assert "set TMPDIR to a short path" in check.value


def test_a_ray_that_does_not_start_is_broken(monkeypatch):
    def refuse(**_options):
        message = "Ray does not start on this machine: no sockets"
        raise LaunchError(message)

    monkeypatch.setattr(_ray_session, "open_session", refuse)
    check = machine._examine_ray(start_ray=True)
    assert check.health is Health.BROKEN
    assert "no sockets" in check.value
    assert "--executor serial" in check.fix


def test_little_memory_and_little_disk_are_broken(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "free_host_bytes", lambda: 2e8)
    usage = machine.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    found = examine(tmp_path / "not" / "yet")
    assert found["Memory"].health is found["Results"].health is Health.BROKEN
    assert found["Results"].value == f"{tmp_path}, 1.0 kB free"
    assert not (tmp_path / "not").exists()


def test_results_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    check = examine(tmp_path / "file" / "results")["Results"]
    assert check.health is Health.BROKEN
    assert "--output" in check.fix


@pytest.mark.parametrize(
    ("files", "groups", "quota"),
    [
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"cpu.max": "max 100000"}, "0::/", float("inf")),
        ({"job/cpu.max": "50000 100000", "cpu.max": "max 100000"}, "0::/job", 0.5),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, "3:cpu,x:/", 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "", float("inf")),
        ({}, "0::/gone/../..", float("inf")),
    ],
)
def test_a_containers_quota_limits_the_cores(files, groups, quota, tmp_path, monkeypatch):
    root = tmp_path / "cgroup"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    (tmp_path / "groups").write_text(f"{groups}\n")
    monkeypatch.setattr(cpu_quota, "_ROOT", root)
    monkeypatch.setattr(cpu_quota, "_GROUPS", tmp_path / "groups")
    assert cpu_quota.cpu_quota() == quota
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert devices.usable_cpus() == (8 if quota == float("inf") else max(1, round(quota + 0.4)))

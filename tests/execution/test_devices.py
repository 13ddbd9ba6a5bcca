from __future__ import annotations

import logging
import os
import warnings

import pytest

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution import devices
from sweepdiag.execution.devices import count_gpus, n_fake_gpus, resolve_devices, usable_cpus


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SWEEPDIAG_FAKE_GPUS", "CUDA_VISIBLE_DEVICES", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gpus_present(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(devices, "count_gpus", lambda: request.param)


@pytest.mark.parametrize("gpus_present", [0], indirect=True)
def test_more_gpus_than_there_are_is_an_error_with_the_fix(gpus_present: None) -> None:
    with pytest.raises(
        LaunchError, match=r"--gpus 8 asks for 8 GPUs, this machine has 0"
    ) as error:
        resolve_devices(8)
    assert "leave --gpus away to train on the CPU" in str(error.value)
    assert "nvidia-smi -L" in str(error.value)


@pytest.mark.parametrize("gpus_present", [2], indirect=True)
def test_error_names_the_largest_possible_number(
    gpus_present: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(LaunchError, match=r"CUDA_VISIBLE_DEVICES='0,1'.*use --gpus 2 or fewer"):
        resolve_devices(3)


@pytest.mark.parametrize("gpus_present", [4], indirect=True)
@pytest.mark.parametrize(
    ("gpus", "kind", "count", "line"),
    [
        (None, "cuda", 4, "Training on 4 GPUs of this machine."),
        (4, "cuda", 4, "Training on 4 GPUs of this machine."),
        (1, "cuda", 1, "Training on 1 of 4 GPUs of this machine."),
        (0, "cpu", 0, "Training on the CPU (3 cores), as asked."),
    ],
)
def test_asks_for_what_there_is(
    gpus_present: None,
    monkeypatch: pytest.MonkeyPatch,
    gpus: int | None,
    kind: str,
    count: int,
    line: str,
) -> None:
    monkeypatch.setattr(devices, "usable_cpus", lambda: 3)
    found = resolve_devices(gpus)
    assert (found.kind, found.count, found.line) == (kind, count, line)


@pytest.mark.parametrize("gpus_present", [0], indirect=True)
def test_without_gpus_the_cpu_trains_and_one_line_says_so(gpus_present: None) -> None:
    found = resolve_devices(None)
    assert (found.kind, found.count) == ("cpu", 0)
    assert found.line.startswith("No GPU found on this machine: training on the CPU (")
    assert "\n" not in found.line


def test_fake_gpus_are_counted_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPDIAG_FAKE_GPUS", "8")
    found = resolve_devices(None, address="local")
    assert (found.kind, found.count) == ("fake", 8)
    assert "SWEEPDIAG_FAKE_GPUS" in found.line
    assert "on the CPU" in found.line
    with pytest.raises(LaunchError, match="this machine has 8 fake"):
        resolve_devices(9)
    one = resolve_devices(None, most=1)
    assert (one.count, "with 1 of 8 fake GPUs" in one.line) == (1, True)


@pytest.mark.parametrize("value", ["-1", "two", "1.5", "²"])
def test_malformed_number_of_fake_gpus_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("SWEEPDIAG_FAKE_GPUS", value)
    with pytest.raises(ConfigError, match="must be a whole number of at least 0, got"):
        n_fake_gpus()


def test_empty_variable_means_real_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWEEPDIAG_FAKE_GPUS", "")
    assert n_fake_gpus() is None


def test_negative_number_of_gpus_is_refused() -> None:
    with pytest.raises(ConfigError, match="gpus must be at least 0, got -1"):
        resolve_devices(-1)


def test_gpus_that_torch_cannot_use_do_not_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    def is_available() -> bool:
        warnings.warn("the NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with caplog.at_level(logging.WARNING):
        assert count_gpus() == 0
    assert "driver on your system is too old" in caplog.text


def test_counting_initialises_nothing_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("CUDA was asked"))
    assert count_gpus() == 0


@pytest.mark.parametrize(
    ("allowed", "granted", "usable"),
    [(8, None, 8), (8, "4", 4), (2, "8", 2), (8, "", 8), (8, "many", 8), (8, "0", 8)],
)
def test_cores_are_limited_by_affinity_and_slurm(
    monkeypatch: pytest.MonkeyPatch, allowed: int, granted: str | None, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    if granted is not None:
        monkeypatch.setenv("SLURM_CPUS_ON_NODE", granted)
    assert usable_cpus() == usable


def test_cores_are_counted_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cpus() == 6

from __future__ import annotations

from typing import Literal

import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.execution import Devices, SerialExecutor, choose_executor, make_executor


@pytest.mark.parametrize(
    ("serial_s", "n_packs", "n_workers", "longest_pack_s", "name"),
    [
        (5.0, 10, 2, 1.0, "serial"),  # over before Ray has started
        (19.0, 10, 2, 1.0, "serial"),  # 10 + 19 / 2 is more than 19
        (21.0, 10, 2, 1.0, "ray"),
        (21.0, 10, 8, 1.0, "ray"),
        (1000.0, 1, 8, 1000.0, "serial"),  # one pack keeps one worker busy
        (1000.0, 8, 1, 125.0, "serial"),  # one core
        (1000.0, 8, 4, 995.0, "serial"),  # as long as its longest pack
        (1000.0, 8, 4, 500.0, "ray"),
        (0.0, 0, 4, 0.0, "serial"),
    ],
)
def test_the_sooner_end_is_chosen(
    serial_s: float, n_packs: int, n_workers: int, longest_pack_s: float, name: str
) -> None:
    choice = choose_executor(
        serial_s=serial_s,
        n_packs=n_packs,
        n_workers=n_workers,
        longest_pack_s=longest_pack_s,
        start_s=10.0,
    )
    assert choice.name == name


def test_reason_gives_both_times_in_one_sentence() -> None:
    choice = choose_executor(serial_s=100.0, n_packs=9, n_workers=4, start_s=10.0)
    assert choice.reason == (
        "Ray: about 100 s in this process, 35 s on 4 Ray workers (10 s of them to start)."
    )


def test_reason_for_a_single_pack() -> None:
    choice = choose_executor(serial_s=100.0, n_packs=1, n_workers=4)
    assert choice.reason == "Serial: 1 pack on 4 workers."


def test_cluster_that_is_asked_for_is_joined() -> None:
    choice = choose_executor(serial_s=0.1, n_packs=1, n_workers=1, address="10.0.0.1:6379")
    assert choice.name == "ray"
    assert "10.0.0.1:6379" in choice.reason


def test_local_is_no_cluster() -> None:
    assert choose_executor(serial_s=0.1, n_packs=1, n_workers=1, address="local").name == "serial"


def test_default_costs_count() -> None:
    assert choose_executor(serial_s=8.0, n_packs=8, n_workers=8).name == "serial"
    assert choose_executor(serial_s=80.0, n_packs=8, n_workers=8).name == "ray"


@pytest.mark.parametrize(("kind", "device"), [("cuda", "cuda:0"), ("cpu", "cpu"), ("fake", "cpu")])
def test_serial_executor_trains_on_the_first_device(kind: str, device: str) -> None:
    devices = Devices(kind=kind, count=0 if kind == "cpu" else 1, line="")  # type: ignore[arg-type]
    executor = make_executor("serial", devices=devices)
    assert isinstance(executor, SerialExecutor)
    assert executor.device == device


@pytest.mark.parametrize(
    ("kind", "packs_per_device", "n_at_once"),
    [("cpu", None, 1), ("fake", None, 1), ("cuda", None, 4), ("cuda", 2, 2), ("cpu", 3, 3)],
)
def test_packs_that_take_turns(
    kind: Literal["cuda", "cpu", "fake"], packs_per_device: int | None, n_at_once: int
) -> None:
    devices = Devices(kind=kind, count=int(kind != "cpu"), line="")
    executor = make_executor("serial", devices=devices, packs_per_device=packs_per_device)
    assert isinstance(executor, SerialExecutor)
    assert executor.n_at_once == n_at_once


def test_unknown_executor_is_answered_with_the_valid_ones() -> None:
    devices = Devices(kind="cpu", count=0, line="")
    with pytest.raises(ConfigError, match=r"unknown executor 'rai'. Did you mean 'ray'\?"):
        make_executor("rai", devices=devices)

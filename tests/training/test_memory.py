import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sweepdiag.records import TrainingSettings, TrialEnded
from sweepdiag.training import PackTrainer, engine, timed_trial
from sweepdiag.training.memory import MemoryNeed, halve_until_it_fits, is_out_of_memory
from sweepdiag.training.peak_memory import give_back, start_meter
from sweepdiag.training.plans import Tier
from tests.training.conftest import assert_same_bits, classes, curves, mlp, pack, prepared, trial

linux_only = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc")


def in_child(*arguments, **environment):
    """Return what tests.training.train_in_child prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.training.train_in_child", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_two_peaks_tell_what_is_shared_from_what_each_member_takes():
    need = MemoryNeed.from_peaks({10: 700.0, 20: 1200.0})
    assert need == MemoryNeed(shared_bytes=200.0, member_bytes=50.0)
    assert need.of(4) == 400.0


@pytest.mark.parametrize("peaks", [{8: 400.0}, {4: 400.0, 8: 400.0}, {4: 100.0, 8: 400.0}])
def test_one_peak_or_two_that_are_noise_are_shared_out_among_members(peaks):
    assert MemoryNeed.from_peaks(peaks) == MemoryNeed(shared_bytes=0.0, member_bytes=50.0)


@pytest.mark.parametrize(
    ("room_bytes", "n_fitting"),
    [(math.inf, 9), (1100, 9), (1099, 8), (399.0, 1), (300.0, 1), (299.0, 0), (0.0, 0)],
)
def test_as_many_fit_as_the_room_holds(room_bytes, n_fitting):
    need = MemoryNeed(shared_bytes=200.0, member_bytes=100.0)
    assert need.fitting(9, room_bytes) == n_fitting


def test_a_need_that_is_not_known_fits():
    need = MemoryNeed(shared_bytes=0.0, member_bytes=math.nan)
    assert need.fitting(9, 1.0) == 9


def test_an_attempt_without_memory_is_repeated_with_half():
    tried = []

    def attempt(n):
        tried.append(n)
        if n > 3:
            raise MemoryError
        return f"with {n}"

    assert halve_until_it_fits(attempt, 16) == "with 2"
    assert tried == [16, 8, 4, 2]


@pytest.mark.parametrize("error", [MemoryError("none left"), ValueError("no such layer")])
def test_what_fails_with_one_is_raised(error):
    def attempt(_):
        raise error

    with pytest.raises(type(error), match=str(error)):
        halve_until_it_fits(attempt, 1 if is_out_of_memory(error) else 8)


@linux_only
def test_a_meter_tells_the_peak_since_it_was_started():
    big = torch.ones(30_000_000)  # 120 MB
    meter = start_meter("cpu")
    before_mb = meter.peak_mb()
    small = torch.ones(10_000_000)
    del small
    assert 39e6 < meter.grown_bytes() < 50e6  # the system counts pages in batches
    assert 39 < meter.peak_mb() - before_mb < 50
    del big
    give_back("cpu")
    again = start_meter("cpu")
    assert again.grown_bytes() < 1e6
    assert again.peak_mb() < before_mb - 100


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize(("model", "n"), [("mlp", "16"), ("cnn", "16"), ("embedding", "48")])
def test_what_is_measured_in_one_step_is_what_a_training_takes(model, n):
    # The C library gives large tensors back as soon as they are freed. By itself it learns to keep
    # them, and how many it keeps (up to two of 30 MB here) differs from run to run.
    found = in_child("need", model, n, MALLOC_MMAP_THRESHOLD_="1000000")
    assert found["tier"] == Tier.TRACED
    assert found["grown_mb"] > 10
    assert found["needed_mb"] == pytest.approx(found["grown_mb"], rel=0.05)


@linux_only
@pytest.mark.slow
def test_without_memory_packs_are_halved_and_what_never_fits_ends_as_out_of_memory():
    found = in_child("limit", "70")
    whole, too_large, small = found["states"]
    assert found["sizes"][0] == 15
    assert 1 < found["sizes"][1] < 15
    assert whole == ["finished"] * 15
    assert too_large == ["out_of_memory"]
    assert small == ["finished"]


def sizes_of_programs(monkeypatch, module):
    """Return a list that grows by the number of members whenever the module makes a program."""
    real, sizes = module.make_program, []

    def counted(model, members, **arguments):
        sizes.append(len(members))
        return real(model, members, **arguments)

    monkeypatch.setattr(module, "make_program", counted)
    return sizes


def trainer_with(room_bytes):
    return PackTrainer(
        prepared=prepared(),
        settings=TrainingSettings(epochs=3),
        device="cpu",
        room_bytes=lambda: room_bytes,
    )


def trained(trainer, packed):
    return [event for events in trainer.train(packed) for event in events]


@linux_only
@pytest.mark.usefixtures("_fusing_pays")
def test_a_pack_that_needs_more_than_there_is_is_split_up_front_and_keeps_its_bits(monkeypatch):
    packed = pack(*(trial(lr, capacity=16) for lr in np.geomspace(0.01, 1.0, 12)))
    roomy = trainer_with(math.inf)
    whole = curves(trained(roomy, packed))
    need = roomy.plan(packed).memory
    tight = trainer_with(need.of(5) + 1)
    tight._plans.update(roomy._plans)  # measured once: a second time it would be a bit different
    sizes = sizes_of_programs(monkeypatch, engine)
    events = trained(tight, packed)
    assert sizes == [4, 4, 4]
    assert_same_bits(curves(events), whole)
    assert {event.attempt for event in events} == {1}


@linux_only
@pytest.mark.usefixtures("_fusing_pays")
def test_no_more_members_are_tried_than_fit(monkeypatch):
    packed = pack(*(trial(lr, capacity=1024) for lr in np.geomspace(0.01, 1.0, 16)))
    alone = trainer_with(0.0).plan(packed)
    assert (alone.tier, alone.reason) == (Tier.UNFUSED, "there is no memory for two at a time")
    assert alone.memory.member_bytes > 3 * 4 * 1024**2  # model, gradients, velocities
    sizes = sizes_of_programs(monkeypatch, timed_trial)
    plan = trainer_with(5.5 * alone.memory.member_bytes).plan(packed)
    assert plan.tier is Tier.TRACED
    assert 4 <= max(sizes) <= 7  # it is measured anew


def test_a_probe_without_memory_is_repeated_with_fewer_members(monkeypatch):
    real = timed_trial.make_program

    def small(model, members, **arguments):
        if len(members) > 5:
            raise MemoryError
        return real(model, members, **arguments)

    monkeypatch.setattr(timed_trial, "make_program", small)
    monkeypatch.setattr(timed_trial, "_LONG_STEP_S", math.inf)
    monkeypatch.setattr(timed_trial, "_CLEARLY_LESS", math.inf)
    packed = pack(*(trial(lr, capacity=16) for lr in np.geomspace(0.01, 1.0, 16)))
    assert trainer_with(math.inf).plan(packed).tier is Tier.TRACED


@linux_only
@pytest.mark.usefixtures("_fusing_pays")
def test_every_trial_tells_the_peak_of_its_pack():
    events = trained(trainer_with(math.inf), pack(trial(0.1), trial(0.2)))
    peaks = {event.peak_memory_mb for event in events if isinstance(event, TrialEnded)}
    assert len(peaks) == 1  # the pack's
    assert 50 < peaks.pop() < 10_000  # torch alone is more than 50 MB


@linux_only
def test_a_trial_that_fails_tells_its_peak_too():
    def broken():
        message = "no such model"
        raise ValueError(message)

    trainer = PackTrainer(
        prepared=prepared(broken), settings=TrainingSettings(epochs=1), device="cpu"
    )
    (end,) = trained(trainer, pack(trial(0.1)))
    assert end.peak_memory_mb > 50


@pytest.mark.gpu
def test_on_a_gpu_the_need_is_between_what_tensors_and_what_pytorch_take(cuda):
    def model(capacity):
        return mlp(capacity, n_inputs=12)

    workload = prepared(model, train=classes(n_samples=2000)).to(cuda)
    trainer = PackTrainer(prepared=workload, settings=TrainingSettings(epochs=2), device=cuda)
    packed = pack(*(trial(0.01, seed=s, batch_size=64, capacity=1024) for s in range(32)))
    need = trainer.plan(packed).memory
    assert need.member_bytes > 4 * 4 * 1024 * 1024  # model, its copy, gradients, velocities
    torch.cuda.empty_cache()
    start_bytes = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    list(trainer.train(packed))
    taken_bytes = torch.cuda.max_memory_allocated() - start_bytes
    reserved_bytes = torch.cuda.max_memory_reserved() - start_bytes
    assert taken_bytes / 1.1 < need.of(32) < 1.5 * reserved_bytes

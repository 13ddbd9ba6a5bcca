"""Packs that take turns: the same numbers as one after the other, and nothing left behind."""

import contextlib
from typing import ClassVar

import numpy as np
import pytest
import torch

from sweepdiag.execution import SerialExecutor
from sweepdiag.records import OptimizerSettings, State, TrainingSettings, TrialEnded
from sweepdiag.training import PackTrainer, lanes
from sweepdiag.training.lanes import Lanes, resumed_in
from sweepdiag.training.pack_run import PackRun
from tests.training.conftest import assert_same_bits, curves, mlp, pack, prepared, trial

PACKS = [
    pack(*(trial(lr, seed=s, capacity=capacity) for s, lr in enumerate((0.01, 0.1, 1e30))))
    for capacity in (8, 16, 32)
]
SETTINGS = TrainingSettings(epochs=3, optimizer=OptimizerSettings(momentum=0.9))


def dropping(capacity):
    return torch.nn.Sequential(mlp(capacity)[0], torch.nn.Dropout(0.5), *mlp(capacity)[1:])


def events_of(packs, *, n_at_once, workload=None):
    trainer = PackTrainer(prepared=workload or prepared(), settings=SETTINGS, device="cpu")

    def worker(packed, *, device):
        del device
        return trainer.train(packed)

    with SerialExecutor(n_at_once=n_at_once) as executor:
        return list(executor.run(packs, worker)), trainer


def flat(batches):
    return [event for batch in batches for event in batch]


@pytest.mark.parametrize("model", [mlp, dropping])
def test_packs_that_take_turns_give_the_events_of_packs_one_after_the_other(model):
    workload = prepared(model)
    alone, _ = events_of(PACKS, n_at_once=1, workload=workload)
    turns, _ = events_of(PACKS, n_at_once=2, workload=workload)
    assert_same_bits(curves(flat(turns)), curves(flat(alone)))
    kinds = [
        {t.trial_id: [type(e) for e in flat(batches) if e.trial_id == t.trial_id]
         for p in PACKS for t in p.trials}
        for batches in (alone, turns)
    ]  # fmt: skip
    assert kinds[0] == kinds[1]
    owners = [next(i for i, p in enumerate(PACKS) for t in p.trials if t.trial_id == b[0].trial_id)
              for b in turns]  # fmt: skip
    assert owners[:4] == [0, 1, 0, 1]


@pytest.mark.usefixtures("_fusing_pays")
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, ValueError])
def test_a_pack_that_fails_leaves_the_one_beside_it_alone(monkeypatch, error):
    expected, _ = events_of(PACKS[1:2], n_at_once=1)
    original = PackRun.events

    def events(self):
        members = self._program.members
        is_first = members[0].trial.axes["capacity"] == 8
        for number, batch in enumerate(original(self)):
            if is_first and len(members) > 1 and number == 2:
                raise error
            yield batch

    monkeypatch.setattr(PackRun, "events", events)
    batches, _ = events_of(PACKS[:2], n_at_once=2)
    ends = [event for event in flat(batches) if isinstance(event, TrialEnded)]
    assert len(ends) == 6
    assert {end.state for end in ends} == {State.FINISHED}
    beside = {key: c for key, c in curves(flat(batches)).items() if "capacity=16" in key[0]}
    assert_same_bits(beside, curves(flat(expected)))


class Recording:
    """A lane that notes who entered it."""

    entries: ClassVar[list] = []
    inside: ClassVar[list] = []

    def __init__(self):
        self.number = len(Recording.entries)
        Recording.entries.append(0)

    @contextlib.contextmanager
    def entered(self):
        assert not Recording.inside
        Recording.entries[self.number] += 1
        Recording.inside.append(self.number)
        try:
            yield
        finally:
            Recording.inside.pop()


def test_each_pack_under_way_has_a_lane_of_its_own_and_gives_it_back(monkeypatch):
    monkeypatch.setattr(Recording, "entries", [])
    monkeypatch.setattr(Lanes, "_new", lambda self: Recording())
    _, trainer = events_of(PACKS, n_at_once=2)
    assert len(Recording.entries) == 2
    assert min(Recording.entries) > 3
    assert len(trainer._lanes._free) == 2


def test_on_the_cpu_a_lane_is_nothing():
    with Lanes("cpu").lent() as lane, lane.entered() as entered:
        assert entered is None


def test_nothing_of_an_environment_is_left_between_two_items():
    inside = []

    @contextlib.contextmanager
    def environment():
        inside.append(True)
        yield
        inside.pop()

    def items():
        for number in range(3):
            assert inside
            yield number

    found = []
    for number in resumed_in(environment, items()):
        assert not inside
        found.append(number)
    assert found == [0, 1, 2]


def test_a_generator_that_is_given_up_is_closed_in_its_environment():
    seen = []

    @contextlib.contextmanager
    def environment():
        seen.append("in")
        yield
        seen.append("out")

    def items():
        try:
            yield 1
        finally:
            seen.append("closed")

    running = resumed_in(environment, items())
    next(running)
    running.close()
    assert seen == ["in", "out", "in", "closed", "out"]


@pytest.mark.gpu
def test_on_a_gpu_packs_take_turns_on_streams_of_their_own(cuda, monkeypatch):
    streams = []
    entered = lanes._Stream.entered

    def noted(self):
        streams.append(self._stream.cuda_stream)
        return entered(self)

    monkeypatch.setattr(lanes._Stream, "entered", noted)
    workload = prepared().to(cuda)
    settings = TrainingSettings(epochs=6)
    calm = [
        pack(*(trial(lr, seed=s, capacity=c) for s, lr in enumerate((0.003, 0.01, 0.03))))
        for c in (8, 16, 32)
    ]
    found = []
    for n_at_once in (1, 3):
        trainer = PackTrainer(prepared=workload, settings=settings, device=cuda)
        with SerialExecutor(cuda, n_at_once=n_at_once) as executor:
            worker = lambda packed, *, device: trainer.train(packed)  # noqa: E731, B023
            found.append(curves(flat(executor.run(calm, worker))))
    assert len(set(streams)) >= 3
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    for key, curve in found[0].items():
        np.testing.assert_allclose(found[1][key][:, :5], curve[:, :5], rtol=1e-4)

import collections

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from sweepdiag.records import OptimizerSettings, SplitSettings, State, TrainingSettings, TrialEnded
from sweepdiag.training.fused_model import FusedModel
from sweepdiag.training.members import build_member, common_timetable
from sweepdiag.training.numerics import reproducible_cpu
from sweepdiag.training.programs import make_program
from sweepdiag.workloads import StreamedSamples, Workload, prepare
from tests.training.conftest import assert_same_bits, classes, curves, mlp, pack, train, trial

INPUTS, TARGETS = classes(n_samples=700)
SETTINGS = {
    "sgd": TrainingSettings(epochs=2, optimizer=OptimizerSettings(momentum=0.9)),
    "adam": TrainingSettings(epochs=2, optimizer=OptimizerSettings(name="adam")),
}
TRIALS = [trial(lr, seed=seed) for lr in (0.01, 0.1, 0.3) for seed in (0, 1)]


class Items(Dataset):
    def __init__(self, *, noise=0.0, fails_after=None):
        self.noise = noise
        self.fails_after = fails_after
        self.n_read = collections.Counter()

    def __len__(self):
        return len(TARGETS)

    def __getitem__(self, index):
        self.n_read[index] += 1
        if self.fails_after is not None and self.n_read[index] > self.fails_after:
            message = "the disk is gone"
            raise OSError(message)
        if not self.noise:
            return INPUTS[index], TARGETS[index]
        return INPUTS[index] + self.noise * torch.randn(12).numpy(), TARGETS[index]


def with_dropout():
    return torch.nn.Sequential(torch.nn.Dropout(0.3), mlp())


def samples_of(data, *, memory_gb=0.0, model=mlp, **changes):
    workload = Workload(name="small", train=data, model=model, **changes)
    return prepare(workload, SplitSettings(), memory_gb=memory_gb)


def run(trials, workload, settings, *, is_fused, device="cpu"):
    """Train in the way asked for, whether it pays or not, and return every number recorded."""
    timetable = common_timetable(trials, workload, settings)
    members = [
        build_member(t, 1, prepared=workload, settings=settings, device=device) for t in trials
    ]
    groups = [members] if is_fused else [[member] for member in members]
    model = None
    if is_fused:
        model = FusedModel(members[0].model, prepared=workload, is_exact=device == "cpu")
    found = []
    with reproducible_cpu():
        for group in groups:
            program = make_program(
                model, group, prepared=workload, timetable=timetable, device=device
            )
            rows, step = [program.evaluate().result()], 0
            for stop in timetable.evaluations[1:]:
                running = program.advance(step, stop)
                rows += [running.result(), program.evaluate().result()]
                step = stop
            found += [[row[place] for row in rows] for place in range(len(group))]
    return found


@pytest.mark.parametrize("is_fused", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("optimizer", SETTINGS)
@pytest.mark.parametrize("model", [mlp, with_dropout])
def test_streamed_data_give_the_bits_of_data_in_memory(model, optimizer, is_fused):
    settings = SETTINGS[optimizer]
    held = samples_of((INPUTS, TARGETS), memory_gb=1.0, model=model)
    expected = run(TRIALS, held, settings, is_fused=is_fused)
    for data in (Items(), (INPUTS, TARGETS)):
        streamed = samples_of(data, model=model)
        assert isinstance(streamed.train, StreamedSamples)
        assert run(TRIALS, streamed, settings, is_fused=is_fused) == expected


@pytest.mark.parametrize("model", [mlp, with_dropout])
def test_a_curve_on_random_data_does_not_depend_on_its_pack(model):
    workload, settings = samples_of(Items(noise=0.5), model=model), SETTINGS["sgd"]
    together = run(TRIALS, workload, settings, is_fused=True)
    assert run(TRIALS, workload, settings, is_fused=False) == together
    halves = (TRIALS[4:], TRIALS[:4])
    apart = [run(half, workload, settings, is_fused=True) for half in halves]
    assert apart[1] + apart[0] == together
    assert len({repr(numbers) for numbers in together}) == len(TRIALS)


def test_random_data_are_drawn_anew_at_each_step_and_for_each_seed():
    workload = samples_of(Items(noise=0.5), validation=(INPUTS, TARGETS))
    places = np.arange(3)
    drawn = [
        workload.train.fetch(places, seed=seed, stream=f"data/{step}")[0]
        for seed, step in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({tuple(inputs.flatten().tolist()) for inputs in drawn}) == 3


def test_what_members_of_one_seed_share_is_read_once():
    items = Items()
    workload = samples_of(items, validation=(INPUTS, TARGETS))
    timetable = common_timetable(TRIALS, workload, SETTINGS["sgd"])
    members = [
        build_member(t, 1, prepared=workload, settings=SETTINGS["sgd"], device="cpu")
        for t in TRIALS
    ]
    model = FusedModel(members[0].model, prepared=workload)
    program = make_program(model, members, prepared=workload, timetable=timetable, device="cpu")
    items.n_read.clear()
    program.advance(0, 5)
    n_seeds = 2
    assert sum(items.n_read.values()) == 5 * n_seeds * 16


@pytest.mark.parametrize("trials", [TRIALS, TRIALS[:1]], ids=["pack", "alone"])
def test_the_engine_trains_streamed_data_as_those_in_memory(trials):
    workloads = [samples_of((INPUTS, TARGETS), memory_gb=1.0), samples_of(Items())]
    expected, found = (curves(train(pack(*trials), workload=w)) for w in workloads)
    assert_same_bits(expected, found)


@pytest.mark.parametrize("fails_after", [4, 40])
def test_an_item_that_cannot_be_read_ends_the_trials_that_need_it(fails_after):
    items = Items()
    workload = samples_of(items)
    items.n_read.clear()
    items.fails_after = fails_after
    events = train(pack(*TRIALS[:2]), workload=workload, settings=TrainingSettings(epochs=60))
    ended = [event for event in events if isinstance(event, TrialEnded)]
    assert {event.state for event in ended} == {State.FAILED}
    assert len(ended) == 2
    assert all("could not be read: OSError: the disk is gone" in event.reason for event in ended)
    items.fails_after = None
    events = train(pack(*TRIALS[:2]), workload=workload)
    assert {e.state for e in events if isinstance(e, TrialEnded)} == {State.FINISHED}


def test_one_training_sample():
    one = (INPUTS[:1], TARGETS[:1])
    trials = [trial(lr, batch_size=1) for lr in (0.1, 0.2)]
    expected, found = (
        curves(
            train(
                pack(*trials),
                workload=samples_of(one, validation=(INPUTS, TARGETS), memory_gb=memory_gb),
            )
        )
        for memory_gb in (1.0, 0.0)
    )
    assert_same_bits(expected, found)


@pytest.mark.gpu
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_data_are_streamed_to_a_gpu(noise, cuda):
    workload = samples_of(Items(noise=noise), memory_gb=None if noise else 1.0)
    streamed = workload.to(cuda, memory_gb=0.0)
    assert isinstance(streamed.train, StreamedSamples)
    for is_fused in (True, False):
        found = run(TRIALS, streamed, SETTINGS["sgd"], is_fused=is_fused, device=cuda)
        if noise:
            expected = run(TRIALS, workload, SETTINGS["sgd"], is_fused=is_fused)
        else:
            held = workload.to(cuda)
            expected = run(TRIALS, held, SETTINGS["sgd"], is_fused=is_fused, device=cuda)
        for some, others in zip(found, expected, strict=True):
            assert some[-1][1].loss == pytest.approx(others[-1][1].loss, rel=1e-2)

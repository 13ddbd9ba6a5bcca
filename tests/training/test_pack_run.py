"""Trainings that are ended early, and what that changes for the others: nothing."""

import itertools

import numpy as np
import pytest
import torch

from sweepdiag.records import OptimizerSettings, State, TrainingSettings, TrialEnded
from sweepdiag.training import PackTrainer, pack_run
from sweepdiag.training.fused_model import FusedModel
from tests.training.conftest import assert_same_bits, curves, mlp, pack, prepared, trial

pytestmark = pytest.mark.usefixtures("_fusing_pays")

TRIALS = [trial(lr, seed=seed) for seed in (0, 1) for lr in (0.01, 0.03, 0.1, 0.3)]
OPTIMIZERS = [
    OptimizerSettings(momentum=0.0),
    OptimizerSettings(momentum=0.9, nesterov=True, weight_decay=1e-2),
    OptimizerSettings(name="adamw", weight_decay=1e-2),
]


class StopAt:
    """Ends trials after given numbers of evaluations."""

    def __init__(self, n_points):
        self.n_points = n_points
        self.asked = []

    def __call__(self, found, epochs):
        self.asked.append((found.n_points, len(epochs)))
        return [
            "enough" if self.n_points.get(name, 1000) <= found.n_points else None
            for name in found.run_ids
        ]


def train(trials, stop_rule=None, *, workload=None, settings=None):
    trainer = PackTrainer(
        prepared=workload or prepared(),
        settings=settings or TrainingSettings(epochs=6),
        device="cpu",
        stop_rule=stop_rule,
    )
    return [event for events in trainer.train(pack(*trials)) for event in events]


def states(events):
    return {event.trial_id: event.state for event in events if isinstance(event, TrialEnded)}


@pytest.fixture(params=[0.0, 1e9], ids=["dropped at once", "never dropped"])
def cost_of_dropping(request, monkeypatch):
    monkeypatch.setattr(FusedModel, "layout_s", request.param)
    kept = []
    keep = "sweepdiag.training.programs.FusedProgram.keep"
    original = __import__("sweepdiag.training.programs", fromlist=["_"]).FusedProgram.keep
    monkeypatch.setattr(
        keep, lambda self, places: (kept.append(len(places)), original(self, places))[1]
    )
    return request.param, kept


def normalized():
    return lambda capacity=8: torch.nn.Sequential(
        torch.nn.Linear(12, capacity),
        torch.nn.BatchNorm1d(capacity),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.3),
        torch.nn.Linear(capacity, 3),
    )


@pytest.fixture(params=[0, 1], ids=["read at once", "read later"])
def _n_behind(request, monkeypatch):
    monkeypatch.setattr(pack_run, "evaluations_behind", lambda device: request.param)


@pytest.mark.usefixtures("_n_behind")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
@pytest.mark.parametrize("model", [mlp, normalized()], ids=["mlp", "norm and dropout"])
def test_the_others_keep_their_bits_and_the_ended_a_part_of_theirs(
    optimizer, model, cost_of_dropping
):
    settings = TrainingSettings(epochs=6, optimizer=optimizer)
    ends = {TRIALS[0].trial_id: 2, TRIALS[5].trial_id: 4, TRIALS[6].trial_id: 4}
    whole = curves(train(TRIALS, workload=prepared(model), settings=settings))
    events = train(TRIALS, StopAt(ends), workload=prepared(model), settings=settings)
    expected = {key: rows[: ends.get(key[0], len(rows))] for key, rows in whole.items()}
    assert_same_bits(curves(events), expected)
    assert states(events) == {
        t.trial_id: State.STOPPED if t.trial_id in ends else State.FINISHED for t in TRIALS
    }
    cost, kept = cost_of_dropping
    assert kept == ([7, 5] if cost == 0 else [])


def test_the_reason_is_told_and_nothing_comes_after_the_end():
    ends = {TRIALS[2].trial_id: 3}
    events = train(TRIALS, StopAt(ends))
    (last,) = (e for e in events if isinstance(e, TrialEnded) and e.trial_id in ends)
    assert last.reason == "enough"
    assert all(e.trial_id not in ends for e in events[events.index(last) + 1 :])


@pytest.mark.usefixtures("_n_behind")
def test_a_pack_of_which_one_is_left_goes_on_with_the_same_bits(cost_of_dropping):
    ends = {t.trial_id: 3 for t in TRIALS[1:]}
    events = train(TRIALS, StopAt(ends))
    alone = curves(train(TRIALS[:1]))
    key = (TRIALS[0].trial_id, 1)
    np.testing.assert_array_equal(curves(events)[key], alone[key])
    cost, kept = cost_of_dropping
    assert kept == ([2] if cost == 0 else [])


def test_a_pack_that_has_ended_whole_is_not_trained_on():
    rule = StopAt({t.trial_id: 3 for t in TRIALS})
    events = train(TRIALS, rule)
    assert set(states(events).values()) == {State.STOPPED}
    assert all(len(rows) == 3 for rows in curves(events).values())
    assert rule.asked == [(1, 7), (2, 7), (3, 7)]


def test_a_single_training_can_end_early_too():
    events = train(TRIALS[:1], StopAt({TRIALS[0].trial_id: 2}))
    assert states(events) == {TRIALS[0].trial_id: State.STOPPED}
    assert [len(rows) for rows in curves(events).values()] == [2]


def test_the_last_evaluation_finishes_a_training_whatever_the_rule_says():
    events = train(TRIALS, StopAt({t.trial_id: 7 for t in TRIALS}))
    assert set(states(events).values()) == {State.FINISHED}


def test_long_trainings_are_looked_at_ever_less_often():
    rule = StopAt({})
    train(TRIALS[:2], rule, settings=TrainingSettings(epochs=40))
    asked = [n_points for n_points, _ in rule.asked]
    assert asked[:22] == [*range(1, 22), 23]
    assert all(b >= 1.05 * a for a, b in itertools.pairwise(asked))


def test_what_ended_before_an_error_is_not_trained_again(monkeypatch):
    """A pack that runs out of memory later is halved, without those that have ended."""
    advance = FusedModel.step
    n_steps = []

    def failing(self, *arguments):
        n_steps.append(len(arguments[2]))
        if len(arguments[2]) == len(TRIALS) and len(n_steps) > 80:
            raise MemoryError
        return advance(self, *arguments)

    monkeypatch.setattr(FusedModel, "step", failing)
    monkeypatch.setattr(FusedModel, "layout_s", 1e9)
    ends = {TRIALS[0].trial_id: 2}
    settings = TrainingSettings(epochs=20)
    events = train(TRIALS, StopAt(ends), settings=settings)
    ended = [e for e in events if isinstance(e, TrialEnded)]
    assert sorted(e.trial_id for e in ended) == sorted(t.trial_id for t in TRIALS)
    attempts = {e.trial_id: e.attempt for e in ended}
    assert attempts.pop(TRIALS[0].trial_id) == 1
    assert set(attempts.values()) == {2}
    assert states(events)[TRIALS[0].trial_id] is State.STOPPED

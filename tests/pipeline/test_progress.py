import pytest

from sweepdiag.pipeline.progress import ProgressMeter
from sweepdiag.records import (
    CurvePoint,
    Pack,
    PointMeasured,
    State,
    TrialEnded,
    TrialStarted,
    VerdictClass,
)
from sweepdiag.rules import Thresholds
from sweepdiag.store import History
from sweepdiag.testing import simulate_sweep


@pytest.fixture
def history():
    history = History()
    history.add_plan(simulate_sweep(batch_sizes=(10, 40), lrs=(0.1,), capacities=(4,)).plan)
    return history


def meter_of(history, *, to_do):
    pack = Pack(trials=tuple(history.trials[i].trial for i in to_do), attempts=(1,) * len(to_do))
    return ProgressMeter(history, packs=[pack], epochs=4, thresholds=Thresholds())


def feed(history, meter, *events):
    history.add_events(events)
    return meter.update(events)


def started(trial_id):
    return TrialStarted(trial_id=trial_id, attempt=1, device="cpu")


def measured(trial_id, epoch, loss=1.0):
    point = CurvePoint(epoch=epoch, step=0, train_loss=loss, val_loss=loss)
    return PointMeasured(trial_id=trial_id, attempt=1, point=point)


def ended(trial_id, state=State.FINISHED):
    return TrialEnded(trial_id=trial_id, attempt=1, state=state)


def test_progress_is_weighted_by_steps_per_epoch(history):
    small, _, large, _ = history.trials  # batch 10 twice, batch 40 twice
    meter = meter_of(history, to_do=list(history.trials))
    assert meter.progress().fraction == 0.0
    halfway = feed(history, meter, started(small), measured(small, 2.0))
    assert halfway.fraction == pytest.approx(0.5 * 4 / 10)
    assert halfway.n_done == 0
    done = feed(history, meter, measured(small, 4.0), ended(small))
    assert done.fraction == pytest.approx(4 / 10)
    assert done.n_done == 1
    assert feed(history, meter, started(large), ended(large)).fraction == pytest.approx(5 / 10)


def test_finished_trials_are_counted_by_class_and_failed_ones_apart(history):
    first, second, *_ = history.trials
    meter = meter_of(history, to_do=list(history.trials))
    points = [measured(first, float(epoch), float("nan")) for epoch in range(5)]
    progress = feed(history, meter, started(first), *points, ended(first))
    assert progress.classes == {VerdictClass.DIVERGING: 1}
    progress = feed(history, meter, started(second), ended(second, State.FAILED))
    assert (progress.n_done, progress.n_failed) == (2, 1)


def test_what_an_earlier_session_did_counts_as_done_but_not_as_rate(history):
    first, second, *rest = history.trials
    history.add_events([started(first), ended(first)])
    meter = meter_of(history, to_do=[second, *rest])
    assert meter.progress().n_done == 1
    assert meter.progress().trials_per_s == 0.0


def test_a_trial_that_is_tried_again_is_counted_once(history):
    first, *rest = history.trials
    history.add_events([started(first), ended(first, State.FAILED)])
    meter = meter_of(history, to_do=[first, *rest])
    assert meter.progress().n_done == 0
    again = [
        TrialStarted(trial_id=first, attempt=2, device="cpu"),
        TrialEnded(trial_id=first, attempt=2, state=State.FINISHED),
    ]
    progress = feed(history, meter, *again)
    assert (progress.n_done, progress.n_failed) == (1, 0)

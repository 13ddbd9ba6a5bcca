import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.errors import StoreError
from sweepdiag.records import (
    DONE_STATES,
    CurvePoint,
    PointMeasured,
    State,
    StepFacts,
    SweepFacts,
    TrialEnded,
    TrialStarted,
)
from sweepdiag.store import History, read_journal
from sweepdiag.store.driver import session_record
from sweepdiag.store.history import event_records, header_record, plan_record
from sweepdiag.store.journal import decode_line, encode_line, latest_records
from sweepdiag.testing import simulate_sweep

PLAN = simulate_sweep(lrs=(0.1, 1.0), batch_sizes=(16,), capacities=(4,)).plan
IDS = [trial.trial_id for trial in PLAN.trials]


def point(epoch, loss=1.0):
    return CurvePoint(epoch=float(epoch), step=10 * epoch, train_loss=loss, val_loss=2 * loss)


def attempt(trial_id, number, n_points, *, state=State.FINISHED):
    events = [TrialStarted(trial_id=trial_id, attempt=number, device="cpu", n_parameters=7)]
    events += [
        PointMeasured(trial_id=trial_id, attempt=number, point=point(epoch))
        for epoch in range(n_points)
    ]
    if state is not None:
        events.append(TrialEnded(trial_id=trial_id, attempt=number, state=state, seconds=0.5))
    return events


def through_disk(records):
    return [decode_line(encode_line(record)[:-1]) for record in records]


def history_of(*events):
    return History(through_disk([plan_record(PLAN), *event_records(events)]))


def test_the_peak_of_an_attempt_survives_the_journal():
    start, *points, end = attempt(IDS[0], 1, 2)
    end = dataclasses.replace(end, peak_memory_mb=412.25)
    history = history_of(start, *points, end, *attempt(IDS[1], 1, 2))
    assert history.trials[IDS[0]].peak_memory_mb == 412.25
    assert math.isnan(history.trials[IDS[1]].peak_memory_mb)


def test_what_a_start_told_is_known_although_its_line_is_damaged():
    plan = plan_record(PLAN)
    started, *others = History([plan]).add_events(attempt(IDS[0], 1, 2))
    assert started["kind"] == "started"
    whole, damaged = (History(through_disk([plan, *r])) for r in ([started, *others], others))
    pd.testing.assert_frame_equal(damaged.trials_table(), whole.trials_table())


def test_journals_from_before_peaks_were_recorded_are_read():
    records = event_records(attempt(IDS[0], 1, 2))
    del records[-1]["peak_memory_mb"]
    history = History(through_disk([plan_record(PLAN), *records]))
    assert history.trials[IDS[0]].state is State.FINISHED
    assert history.trials_table()["peak_memory_mb"].isna().all()


def test_plan_and_facts_survive_the_journal():
    step = StepFacts(n_outputs=3, outputs="free", cut_off=("a", "b"), ignored_classes=(0,))
    facts = SweepFacts(workload="w", loss_floor=0.0, baseline_train_loss=1.25, step=step)
    header = header_record(
        run_id="r", created="now", version="1", facts=facts, sources={"a.py": "ff"}
    )
    history = History(through_disk([header, plan_record(PLAN)]))
    assert history.plan == PLAN
    assert history.facts == facts
    assert history.header["sources"] == {"a.py": "ff"}
    assert list(history.trials) == IDS


def test_journals_from_before_first_steps_were_recorded_are_read():
    facts = SweepFacts(workload="w")
    header = header_record(run_id="r", created="now", version="1", facts=facts, sources={})
    del header["facts"]["step"]
    assert History(through_disk([header])).facts == facts


def test_a_journal_of_another_format_is_refused():
    with pytest.raises(StoreError, match=r"has format 99, this version reads 1"):
        History([{"kind": "header", "format": 99, "sweepdiag": "7.0"}])


def test_points_of_one_attempt_share_a_record():
    records = event_records(attempt(IDS[0], 1, 5))
    assert [record["kind"] for record in records] == ["started", "points", "ended"]
    assert len(records[1]["points"]) == 5


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 1e-300, 3.4028235e38])
def test_any_loss_survives_the_journal(loss):
    event = PointMeasured(trial_id=IDS[0], attempt=1, point=point(0, loss))
    history = history_of(*attempt(IDS[0], 1, 0, state=None), event)
    (read,) = history.trials[IDS[0]].points
    assert read.train_loss == loss or (math.isnan(loss) and math.isnan(read.train_loss))


def test_only_the_latest_attempt_counts():
    history = history_of(
        *attempt(IDS[0], 1, 4, state=None),
        *attempt(IDS[0], 2, 2),
        PointMeasured(trial_id=IDS[0], attempt=1, point=point(9)),
        TrialEnded(trial_id=IDS[0], attempt=1, state=State.FAILED),
    )
    trial = history.trials[IDS[0]]
    assert (trial.attempt, trial.state, len(trial.rows)) == (2, State.FINISHED, 2)
    assert list(history.curves_table()["attempt"]) == [2, 2]


def test_an_attempt_may_end_before_it_starts():
    history = history_of(
        TrialEnded(trial_id=IDS[0], attempt=1, state=State.FAILED, reason="no model")
    )
    assert history.trials[IDS[0]].state is State.FAILED
    assert history.trials[IDS[0]].attempt == 1


def test_events_of_unplanned_trials_are_ignored():
    history = history_of(*attempt("f" * 16, 1, 3))
    assert set(history.trials) == set(IDS)


@given(st.lists(st.sampled_from([None, *State]), min_size=len(IDS), max_size=len(IDS)))
def test_what_is_to_do_is_the_plan_minus_what_is_done(states):
    events = [
        event
        for trial_id, state in zip(IDS, states, strict=True)
        if state is not None
        for event in attempt(trial_id, 1, 1, state=state)
    ]
    history = history_of(*events)
    todo = {trial.trial_id for trial in history.todo()}
    done = {i for i, state in zip(IDS, states, strict=True) if state in DONE_STATES}
    assert todo == set(IDS) - done
    failed = {i for i, state in zip(IDS, states, strict=True) if state is State.FAILED}
    again = {trial.trial_id for trial in history.todo(retry=[State.FAILED])}
    assert again == todo | failed


def test_a_trial_whose_run_is_gone_is_lost_and_to_do():
    history = history_of(*attempt(IDS[0], 1, 2, state=None))
    history.mark_lost()
    assert history.trials[IDS[0]].state is State.LOST
    assert IDS[0] in {trial.trial_id for trial in history.todo()}


def test_tables_have_their_columns():
    history = history_of(*attempt(IDS[1], 1, 3))
    assert list(history.trials_table()) == [
        "trial_id",
        "config_id",
        "lr",
        "batch_size",
        "capacity",
        "seed",
        "n_parameters",
        "state",
        "reason",
        "attempt",
        "device",
        "seconds",
        "peak_memory_mb",
    ]
    curves = history.curves_table()
    assert list(curves) == [
        "trial_id",
        "attempt",
        "epoch",
        "step",
        "train_loss",
        "val_loss",
        "train_loss_running",
        "train_metric",
        "val_metric",
        "seconds",
        "grad_norm",
        "update_ratio",
        "dead_fraction",
    ]
    assert curves["grad_norm"].isna().all()
    assert curves["step"].dtype == np.int64
    assert curves["train_loss"].dtype == np.float64


def test_what_was_recorded_survives_the_journal_and_costs_nothing_where_it_was_not():
    plain_point = point(0)
    full_point = dataclasses.replace(
        point(1), grad_norm=math.inf, update_ratio=0.5, dead_fraction=math.nan
    )
    events = [
        PointMeasured(trial_id=IDS[0], attempt=1, point=p) for p in (plain_point, full_point)
    ]
    (record,) = event_records(events)
    assert [len(row) for row in record["points"]] == [8, 11]
    read, again = history_of(*events).trials[IDS[0]].points
    np.testing.assert_equal(dataclasses.asdict(read), dataclasses.asdict(plain_point))
    np.testing.assert_equal(dataclasses.asdict(again), dataclasses.asdict(full_point))


def test_tables_of_a_plan_without_points_are_empty_and_typed():
    curves = history_of().curves_table()
    assert len(curves) == 0
    assert curves["val_loss"].dtype == np.float64
    assert set(history_of().trials_table()["state"]) == {"pending"}


def states_of(history):
    return {
        trial_id: (trial.state, trial.attempt, trial.reason, [row[:4] for row in trial.rows[-1:]])
        for trial_id, trial in history.trials.items()
    }


def test_progress_is_read_without_curves_at_every_cut_and_flip(tmp_path):
    first, second, *rest = IDS
    unfinished = attempt(second, 1, 4, state=None)
    events = [
        [*attempt(first, 1, 2), *unfinished[:3]],
        unfinished[3:],
        attempt(first, 2, 3),
        attempt(rest[0], 1, 1, state=State.FAILED),
        attempt(rest[0], 3, 2, state=None)[1:],  # its start cannot be read
    ]
    records = [plan_record(PLAN), *(r for batch in events for r in event_records(batch))]
    whole = b"".join(encode_line(record) for record in records)
    path = tmp_path / "journal.jsonl"
    n_plan = len(encode_line(records[0]))
    damaged = [whole[:cut] for cut in range(n_plan, len(whole) + 1)]
    damaged += [
        whole[:i] + bytes([whole[i] ^ 1]) + whole[i + 1 :] for i in range(n_plan, len(whole), 3)
    ]
    for content in damaged:
        path.write_bytes(content)
        expected, expected_damages = read_journal(path)
        found, damages = latest_records(path)
        assert states_of(History(found)) == states_of(History(expected))
        assert damages == expected_damages


def test_a_session_ends_what_the_one_before_left_running():
    left = event_records(attempt(IDS[0], 1, 2, state=None))
    session = session_record(started="2026-01-01T00:00:00+00:00")
    history = History(through_disk([plan_record(PLAN), session, *left, session]))
    assert history.trials[IDS[0]].state is State.LOST
    assert [s.is_of_this_machine for s in history.sessions] == [True, True]
    again = event_records(attempt(IDS[0], 2, 2))
    history = History(through_disk([plan_record(PLAN), session, *left, session, *again]))
    assert history.trials[IDS[0]].state is State.FINISHED
    assert history.trials[IDS[0]].n_sessions == 2


def records_of(events):
    """Return the records that a sweep's loop writes."""
    return through_disk([plan_record(PLAN), *History([plan_record(PLAN)]).add_events(events)])


@pytest.mark.parametrize("n_copies", [2, 3])
def test_lines_that_are_there_twice_tell_nothing_more(n_copies):
    records = records_of([*attempt(IDS[0], 1, 3), *attempt(IDS[1], 1, 2), *attempt(IDS[1], 2, 4)])
    once = History(records)
    adjacent = History([record for record in records for _ in range(n_copies)])
    again = History(records * n_copies)
    for other in (adjacent, again):
        pd.testing.assert_frame_equal(other.curves_table(), once.curves_table())
        pd.testing.assert_frame_equal(other.trials_table(), once.trials_table())


def test_a_finished_trial_that_misses_a_point_is_lost_and_trained_again():
    batches = [[event] for event in attempt(IDS[0], 1, 5)]
    history = History([plan_record(PLAN)])
    records = [record for batch in batches for record in history.add_events(batch)]
    assert history.trials[IDS[0]].state is State.FINISHED
    del records[2]
    damaged = History([plan_record(PLAN), *records])
    assert damaged.trials[IDS[0]].state is State.LOST
    assert damaged.trials[IDS[0]].reason.startswith("1 of its 5 points cannot be read")
    assert IDS[0] in {trial.trial_id for trial in damaged.todo()}


def test_a_plan_that_is_recorded_again_at_the_end_finds_what_was_told_before():
    records = records_of(attempt(IDS[0], 1, 3))
    moved = History([*records[1:], records[0]])
    assert moved.trials[IDS[0]].state is State.FINISHED
    pd.testing.assert_frame_equal(moved.curves_table(), History(records).curves_table())

"""kill -9 of the driver and of workers, at random moments; then on as if nothing had been."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from sweepdiag.records import State
from sweepdiag.store import History, Journal, read_journal
from sweepdiag.testing.executors import ScriptedWorker, scripted_packs
from tests.faults import sweeps


def test_two_runs_without_a_fault_are_the_same(reference, seconds):
    sweeps.check_same(reference.with_name("again"), reference)


@pytest.mark.parametrize("seed", sweeps.cases(90, 1))
def test_a_killed_driver_is_resumed_to_the_same_tables(tmp_path, reference, seconds, seed):
    sweeps.kill_at_random(tmp_path / "run", seconds, seed)
    sweeps.whole(tmp_path / "run")
    sweeps.check_same(tmp_path / "run", reference)
    sweeps.check_nothing_done_twice(tmp_path / "run")


@pytest.mark.faults
@pytest.mark.ray
@pytest.mark.parametrize("seed", range(10))
def test_a_killed_driver_under_ray_is_resumed_to_the_same_tables(tmp_path, reference, seed):
    path = tmp_path / "run"
    process = sweeps.start(path, sweeps.RAY)
    if seed:  # the first one is killed while Ray starts
        sweeps.wait_for_points(path)
        process.join(random.Random(seed).uniform(0.0, 2.0))
    else:
        process.join(3.0)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    sweeps.whole(path)
    sweeps.check_same(path, reference, is_apart=True)
    sweeps.check_nothing_done_twice(path)


class KillingWorker(ScriptedWorker):
    """Kills its process before a point of a pack, the first time that it comes there."""

    def __call__(self, pack, *, device):
        for step, batch in enumerate(super().__call__(pack, device=device)):
            self._kill(pack, step)
            yield batch

    def _kill(self, pack, step):
        trial = pack.trials[0]
        once = Path(str(trial.axes["once"]))
        if step == trial.axes["kill_at"] and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(
    "n_kills", [pytest.param(2, id="2"), pytest.param(50, marks=pytest.mark.faults, id="50")]
)
def test_a_killed_worker_costs_its_pack_one_attempt(tmp_path, n_kills):
    from sweepdiag.execution._ray import RayExecutor

    rng = random.Random(n_kills)
    packs = scripted_packs([["train"] * rng.randint(1, 4) for _ in range(2 * n_kills)])
    for index, pack in enumerate(packs):
        for trial in pack.trials:
            trial.axes["once"] = str(tmp_path / f"killed-{index}")
            # Every other pack; 0 is its start, and one more than it has points its end.
            trial.axes["kill_at"] = -1 if index % 2 else rng.randint(0, 5)
    path = tmp_path / "journal.jsonl"
    with RayExecutor(2) as executor, Journal(path) as journal:
        history = History()
        for events in executor.run(packs, KillingWorker(n_points=4)):
            journal.append(history.add_events(events))
    assert len(list(tmp_path.glob("killed-*"))) == n_kills
    records, damages = read_journal(path)
    assert damages == []
    check_attempts(packs, records)


def check_attempts(packs, records):
    """Check each trial's last attempt: whole, in order, of one process, and the only one ended."""
    for index, pack in enumerate(packs):
        for trial in pack.trials:
            told = [record for record in records if record["trial"] == trial.trial_id]
            ends = [record for record in told if record["kind"] == "ended"]
            assert [end["state"] for end in ends] == [State.FINISHED]
            last = ends[0]["attempt"]
            assert last == (1 if index % 2 else 2)
            rows = [
                row
                for record in told
                if record["kind"] == "points" and record["attempt"] == last
                for row in record["points"]
            ]
            assert [row[1] for row in rows] == [0, 1, 2, 3]
            assert told[-1] is ends[0]

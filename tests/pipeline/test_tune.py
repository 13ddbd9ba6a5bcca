"""Training loops of a user's own on Ray Tune: what comes of them is what comes elsewhere."""

import math
import os
import textwrap

import pandas as pd
import pytest

from sweepdiag import ConfigError, TrainLoop, resume_sweep, run_sweep
from sweepdiag.records import DONE_STATES
from sweepdiag.store import RunFolder, read_journal
from tests.pipeline.test_sweep import Interrupting

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LOOPS = """
    import os, sys, time

    def descend(config, report, first, to):
        for epoch in range(first, to + 1):
            report(epoch=epoch, train_loss=0.9**epoch, val_loss=1.1 * 0.9**epoch)

    def train(config, report):
        act, last = config["act"], config["epochs"]
        if act == "nothing":
            return
        if act == "hangs":
            time.sleep(1e6)
        if act in {"raises", "exits", "memory"}:
            # The best by far until they fail.
            report(epoch=0, train_loss=1e-6, val_loss=1e-6)
            if act == "raises":
                raise ValueError("no luck")
            if act == "exits":
                os._exit(3)
            raise MemoryError
        descend(config, report, 0, 2)
        if act == "nan":
            nan = float("nan")
            for epoch in range(3, last + 1):
                report(epoch=epoch, train_loss=nan, val_loss=nan)
            return
        if act == "wrong_type":
            report(epoch=3, train_loss="low", val_loss=1.0)
        if act == "dict":
            report({"epoch": 3, "train_loss": 1.0, "val_loss": 1.0})
        if act == "ray_train":
            from ray import train
            train.report({"loss": 1.0})
        if act == "ray_tune":
            from ray import tune
            tune.report({"loss": 1.0})  # nobody listens, and it hurts nobody
        descend(config, report, 3, last)
"""

EXPECTED = {
    "fine": ("finished", ""),
    "ray_tune": ("finished", ""),
    "nothing": ("failed", "returned without calling report"),
    "hangs": ("timed_out", "no first evaluation within 30 s"),
    "raises": ("failed", "ValueError: no luck"),
    "exits": ("failed", "exit code 3 before the loop returned"),
    "memory": ("out_of_memory", "MemoryError"),
    "nan": ("stopped", "diverging: training loss was not finite"),
    "wrong_type": ("failed", "train_loss passed to report must be a number, got 'low'"),
    "dict": ("failed", "got a dict without a name"),
    "ray_train": ("failed", "cannot be used outside of a Ray Train training function"),
}

TUNE = {"executor": "tune", "workers": 2}


@pytest.fixture
def loops(tmp_path):
    path = tmp_path / "loops.py"
    path.write_text(textwrap.dedent(LOOPS))
    return path


def compared(result):
    """Return what must not depend on where the trials ran."""
    columns = ["trial_id", "epoch", "step", "train_loss", "val_loss"]
    tables = (
        result.trials[["trial_id", "act", "state", "reason", "attempt"]],
        result.curves[columns],
        result.verdicts[["trial_id", "verdict", "tags"]],
    )
    return [table.sort_values(list(table.columns[:2]), ignore_index=True) for table in tables]


def test_tune_reports_what_the_serial_executor_reports(tmp_path, loops, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = {
        "parameters": {"act": list(EXPECTED)},
        "seeds": 1,
        "epochs": 12,
        "stop_early": True,
    }
    settings = {"start_timeout_s": 30.0, "max_failed_fraction": 1.0}
    tuned = run_sweep("loops.py:train", **sweep, output="tuned", execution=TUNE | settings)
    trials = tuned.trials.set_index("act")
    for act, (state, reason) in EXPECTED.items():
        assert (act, trials.loc[act, "state"]) == (act, state)
        assert reason in trials.loc[act, "reason"]
    assert set(trials["attempt"]) == {1}
    finished = set(trials.loc[["fine", "ray_tune"], "config_id"])
    assert tuned.diagnosis.data.best_config_id in finished
    assert set(tuned.recommendation.region.config_ids) <= finished
    _, damages = read_journal(tuned.path / "journal.jsonl")
    assert damages == []

    serial = run_sweep(
        "loops.py:train", **sweep, output="serial", execution={"executor": "serial"} | settings
    )
    for there, here in zip(compared(tuned), compared(serial), strict=True):
        pd.testing.assert_frame_equal(there, here, check_exact=True)
    # Nothing of Tune's is left in the run folder, and nothing is trained again.
    assert {path.name for path in tuned.path.iterdir()} == {
        path.name for path in serial.path.iterdir()
    }
    journal = (tuned.path / "journal.jsonl").read_bytes()
    again = run_sweep("loops.py:train", **sweep, output="tuned", execution=TUNE | settings)
    assert (tuned.path / "journal.jsonl").read_bytes() == journal
    assert again.n_missing == 0


def test_an_interrupted_sweep_goes_on_with_a_new_attempt(tmp_path, loops):
    arguments = {
        "parameters": {"act": ["fine", "ray_tune"]},
        "seeds": 2,
        "epochs": 6,
        "output": tmp_path / "run",
        "execution": TUNE,
    }
    with pytest.raises(KeyboardInterrupt):
        run_sweep(f"{loops}:train", **arguments, observer=Interrupting(12))
    history, _ = RunFolder(tmp_path / "run").read_history()
    begun = [
        trial_id
        for trial_id, trial in history.trials.items()
        if trial.rows and trial.state not in DONE_STATES
    ]
    assert begun
    resumed = resume_sweep(tmp_path / "run")
    assert set(resumed.trials["state"]) == {"finished"}
    attempts = resumed.trials.set_index("trial_id")["attempt"]
    assert all(attempts[trial_id] == 2 for trial_id in begun)
    assert (resumed.curves.groupby("trial_id")["epoch"].count() == 7).all()


def test_a_loop_of_this_process_runs_on_tune(tmp_path):
    here = os.getpid()

    def loop(config, report):
        for epoch in range(config["epochs"] + 1):
            report(epoch=epoch, train_loss=config["lr"] ** epoch, val_loss=float(os.getpid()))

    sweep = {"parameters": {"lr": [0.5, 0.9]}, "seeds": 1, "epochs": 3}
    loop = TrainLoop(name="mine", function=loop)
    result = run_sweep(loop, **sweep, output=tmp_path / "run", execution=TUNE)
    assert set(result.trials["state"]) == {"finished"}
    assert here not in set(result.curves["val_loss"])
    assert not math.isnan(result.curves["train_loss"].sum())


def test_models_are_refused_before_anything_is_written(tmp_path):
    message = r"must be auto, ray or serial for workload 'synthetic'.* can report one training"
    with pytest.raises(ConfigError, match=message):
        run_sweep("synthetic", output=tmp_path / "run", execution=TUNE)
    assert not (tmp_path / "run").exists()


def test_deadlines_of_a_loop_without_a_process_of_its_own_are_refused(tmp_path):
    loop = TrainLoop(name="mine", function=lambda config, report: None)
    with pytest.raises(ConfigError, match="must be ray or auto, got tune"):
        run_sweep(
            loop,
            parameters={"lr": [0.5]},
            output=tmp_path / "run",
            execution={**TUNE, "silence_timeout_s": 1.0},
        )

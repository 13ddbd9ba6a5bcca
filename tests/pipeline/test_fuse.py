import json

import pytest

from sweepdiag import FailedTrialsError, resume_sweep, run_sweep
from sweepdiag.config import load_config
from sweepdiag.pipeline.fuse import FailureFuse
from sweepdiag.records import State, TrialEnded
from sweepdiag.store import History, RunFolder
from sweepdiag.testing import simulate_sweep

LOOP = """
from pathlib import Path

def train(config, report):
    report(epoch=0, train_loss=1.0, val_loss=1.0)
    if config["number"] in {1, 2, 3} and not Path(__file__).with_name("mended").exists():
        raise ValueError(f"no luck with {config['number']}")
    for epoch in range(1, config["epochs"] + 1):
        report(epoch=epoch, train_loss=float("nan"), val_loss=0.5**epoch)
"""


@pytest.fixture
def history():
    history = History()
    history.add_plan(simulate_sweep(batch_sizes=(10, 40), lrs=(0.1, 1.0), capacities=(4,)).plan)
    return history


def fed(history, fraction, states, *, n_left=1):
    """Return what a fuse says of trials that end so, in their order; None if it holds."""
    fuse = FailureFuse(history, max_fraction=fraction)
    ends = [
        TrialEnded(trial_id=trial_id, attempt=1, state=state, reason=f"why {trial_id}")
        for trial_id, state in zip(history.trials, states, strict=False)
    ]
    try:
        for end in ends:
            fuse.update([end], n_left=n_left)
    except FailedTrialsError as error:
        return str(error)
    return None


def test_the_share_is_of_the_planned_trials_and_may_be_reached(history):
    n_planned = len(history.trials)
    assert n_planned == 8
    assert fed(history, 0.5, [State.FAILED] * 4) is None
    assert fed(history, 0.5, [State.FAILED] * 5) is not None
    assert fed(history, 0.0, [State.FAILED]) is not None
    assert fed(history, 1.0, [State.FAILED] * 8) is None


def test_what_failed_first_is_told_and_how_many_of_each_kind(history):
    states = [State.FINISHED, State.TIMED_OUT, State.FAILED, State.OUT_OF_MEMORY, State.FAILED]
    message = fed(history, 0.4, states)
    first = list(history.trials)[1]
    assert message.startswith(
        "4 of 8 trials failed to execute (2 failed, 1 out_of_memory, 1 timed_out): more than "
        "execution.max_failed_fraction allows, which is 0.4\n"
    )
    assert f"The first was {first} (" in message
    assert message.endswith(f"seed 1), timed_out: why {first}")


def test_trainings_that_end_have_not_failed(history):
    assert fed(history, 0.0, [State.FINISHED, State.STOPPED] * 4) is None


def test_a_sweep_with_nothing_left_to_do_is_not_stopped(history):
    assert fed(history, 0.0, [State.FAILED] * 8, n_left=0) is None


@pytest.fixture
def loop(tmp_path):
    path = tmp_path / "loop.py"
    path.write_text(LOOP)
    return path


def sweep(loop, path, fraction):
    return run_sweep(
        f"{loop}:train",
        parameters={"number": [0, 1, 2, 3, 4, 5]},
        seeds=1,
        epochs=5,
        output=path,
        execution={"executor": "serial", "max_failed_fraction": fraction},
    )


@pytest.mark.slow
def test_a_sweep_that_fails_too_often_is_stopped_and_can_be_resumed(loop, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(
        FailedTrialsError, match=r"(?s)2 of 6 .*number 1.*failed: .*no luck with 1"
    ):
        sweep(loop, path, 0.2)
    history, damages = RunFolder(path).read_history()
    assert damages == []
    states = history.count_states()
    assert (states[State.FAILED], states[State.PENDING]) == (2, 3)
    # One more fails in the next session, which is not too many.
    resumed = resume_sweep(path)
    assert resumed.trials["state"].value_counts().to_dict() == {"failed": 3, "finished": 3}
    # The cause is mended.
    (tmp_path / "mended").touch()
    again = resume_sweep(path, retry=[State.FAILED], accept_changed_code=True)
    assert set(again.trials["state"]) == {"finished"}
    verdicts = set(again.verdicts["verdict"])
    assert verdicts == {"diverging"}, "which is not failing"
    assert json.loads((path / "findings.json").read_text()) is not None


def test_by_default_half_of_the_trials_may_fail():
    assert load_config(options={"workload": "digits"}).execution.max_failed_fraction == 0.5

"""Code of users that fails in every way: the sweep goes on, and recommends none of it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from sweepdiag import ConfigError, run_sweep
from sweepdiag.messages import MAX_MESSAGE_BYTES
from sweepdiag.store import RunFolder

CODE = Path(__file__).parent / "misbehaving.py"

LOOP = {
    "fine": ("finished", ""),
    "better": ("finished", ""),
    "raises": ("failed", "ValueError: no luck"),
    "exits": ("failed", "exit code 1 before the loop returned\nenough"),
    "os_exits": ("failed", "exit code 3 before the loop returned"),
    "segfaults": ("failed", "ended by SIGSEGV"),
    "hangs": ("timed_out", "no evaluation within 2 s"),
    "hangs_at_start": ("timed_out", "no first evaluation within 40 s"),
    "nothing": ("failed", "returned without calling report"),
    "wrong_type": ("failed", "train_loss passed to report must be a number, got 'low'"),
    "memory": ("out_of_memory", "MemoryError"),
    "cuda_memory": ("out_of_memory", "CUDA out of memory"),
    "nan_first": ("finished", ""),
    "nan_middle": ("finished", ""),
    "nan_last": ("finished", ""),
}
MODEL = {
    "fine": ("finished", ""),
    "raises": ("failed", "ValueError: no luck"),
    "exits": ("failed", "enough"),
    "os_exits": ("failed", "worker process died twice"),
    "segfaults": ("failed", "worker process died twice"),
    "hangs": ("timed_out", "no evaluation within"),
    "memory": ("out_of_memory", "MemoryError"),
    "cuda_memory": ("out_of_memory", "CUDA out of memory"),
}


def check(result, expected):
    """Check states, messages and that what is recommended has finished."""
    trials = result.trials.set_index("act")
    for act, (state, reason) in expected.items():
        assert (act, trials.loc[act, "state"]) == (act, state)
        told = trials.loc[act, "reason"]
        assert reason in told
        assert len(told.encode()) <= MAX_MESSAGE_BYTES
        assert not [c for c in told if c not in "\n\t" and unicodedata.category(c)[0] == "C"]
    finished = set(result.trials.loc[result.trials["state"] == "finished", "config_id"])
    broken = set(trials.loc[[act for act in expected if act.startswith("nan")], "config_id"])
    recommended = result.recommendation
    if recommended.region is not None:
        assert set(recommended.region.config_ids) <= finished - broken
    assert re.search(r"\b(failed|could not be carried out|timed out)\b", str(result))


def swept(tmp_path, function, acts, **execution):
    return run_sweep(
        f"{CODE}:{function}",
        parameters={"act": list(acts)},
        seeds=1,
        epochs=8,
        output=tmp_path / "run",
        # Most of these trials fail, as they are meant to.
        execution={"max_failed_fraction": 1.0, **execution},
    )


@pytest.mark.parametrize(
    "acts",
    [
        pytest.param(["fine", "os_exits"], id="two"),
        pytest.param(list(LOOP), marks=pytest.mark.faults, id="all"),
    ],
)
def test_each_trial_of_a_loop_fails_alone(tmp_path, acts):
    result = swept(
        tmp_path, "train", acts, executor="serial", start_timeout_s=40.0, silence_timeout_s=2.0
    )
    check(result, {act: LOOP[act] for act in acts})
    verdicts = result.verdicts.set_index("act")["verdict"]
    for act in set(acts) & {"nan_first", "nan_middle", "nan_last"}:
        assert verdicts[act] == "diverging"


@pytest.mark.faults
@pytest.mark.ray
def test_each_model_fails_alone_and_its_pack_goes_on(tmp_path):
    result = swept(
        tmp_path,
        "build",
        MODEL,
        executor="ray",
        workers=2,
        start_timeout_s=60.0,
        silence_timeout_s=10.0,
    )
    check(result, MODEL)


def command(*words):
    line = [sys.executable, "-m", "sweepdiag", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.faults
@pytest.mark.ray
def test_a_crash_of_this_process_names_its_line_and_is_survived_when_resumed(tmp_path):
    run = tmp_path / "run"
    how = ["--seeds", 1, "--epochs", 8, "execution.max_failed_fraction=1", "--output", run]
    ended = command("run", f"{CODE}:build", "parameters.act=fine,segfaults", *how)
    assert ended.returncode == -signal.SIGSEGV
    assert "Segmentation fault" in ended.stderr
    assert re.search(r'misbehaving.py", line \d+ in misbehave', ended.stderr)

    resumed = command("resume", run)
    assert resumed.returncode == 3, resumed.stderr
    assert "Ray: the process before has died" in resumed.stderr
    trials = RunFolder(run).read_table("trials").set_index("act")
    assert trials["state"].to_dict() == {"fine": "finished", "segfaults": "failed"}


def test_deadlines_need_a_process_that_can_be_ended(tmp_path):
    with pytest.raises(ConfigError, match=r"executor must be ray or auto, got serial"):
        swept(tmp_path, "build", ["fine"], executor="serial", silence_timeout_s=5.0)

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sweepdiag.messages import clean_message
from sweepdiag.records import (
    Deadlines,
    Pack,
    PointMeasured,
    State,
    TrainingSettings,
    Trial,
    TrialEnded,
)
from sweepdiag.training import LoopSource, run_user_loop
from sweepdiag.workloads import TrainLoop

LOOPS = """
    import ctypes, os, random, signal, sys, time
    import numpy as np
    import torch

    def good(config, report):
        print("the user's own output")
        for epoch in range(config["epochs"] + 1):
            loss = config["lr"] * (1 + epoch)
            losses = {"train_loss": torch.tensor(loss), "val_loss": np.float32(loss)}
            report(epoch=epoch, **losses, val_metric=0.5)

    def seeded(config, report):
        losses = {"train_loss": random.random(), "val_loss": float(torch.rand(()))}
        report(epoch=0, **losses, val_metric=np.random.rand())

    def raises(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        raise ValueError("no luck")

    def dies(config, report):
        print("last words", file=sys.stderr, flush=True)
        os._exit(7)

    def crashes(config, report):
        ctypes.string_at(0)

    def diverges(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        report(epoch=1, train_loss=float("nan"), val_loss=float("inf"))

    def hangs_at_start(config, report):
        time.sleep(1e6)

    def hangs(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        time.sleep(1e6)

    def stops(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        os.kill(os.getpid(), 19)

    def exits(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        sys.exit("enough")

    def ends_half_a_line(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        os.write(int(sys.argv[1]), b'{"kind": "po')
        os._exit(3)

    def forks_and_is_killed(config, report):
        if os.fork() == 0:  # which inherits the pipe, and lives on
            time.sleep(1e6)
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    def closes_its_pipe(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        os.closerange(3, 1000)
        time.sleep(1e6)

    def ends_by_a_nameless_signal(config, report):
        os.kill(os.getpid(), 40)

    def noisy(config, report):
        raise ValueError("\x1b[31mred\x07\u202e" + 9999 * "\u00e9")

    def reads(config, report):
        report(epoch=0, train_loss=1.0, val_loss=float(len(sys.stdin.read())))

    def parent(config, report):
        import subprocess
        subprocess.Popen(["sleep", "1e6"])
        report(epoch=0, train_loss=float(os.getpid()), val_loss=1.0)
        time.sleep(1e6)

    def stubborn(config, report):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for epoch in range(1000):
            report(epoch=epoch, train_loss=1.0, val_loss=1.0)
        time.sleep(1e6)

    def greedy(config, report):
        taken = b"x" * 150_000_000
        del taken
        good(config, report)

"""


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    path = tmp_path_factory.mktemp("loops") / "loops.py"
    path.write_text(textwrap.dedent(LOOPS))
    return path


FOR_EVER = Deadlines()


def run(source, *, lr=0.5, seed=0, epochs=2, deadlines=FOR_EVER, stop_rule=None):
    trial = Trial(trial_id="t", config_id="c", axes={"lr": lr}, seed=seed)
    events = [
        event
        for events in run_user_loop(
            Pack(trials=(trial,), attempts=(1,)),
            source=source,
            settings=TrainingSettings(epochs=epochs),
            device="cpu",
            deadlines=deadlines,
            stop_rule=stop_rule,
        )
        for event in events
    ]
    points = [event.point for event in events if isinstance(event, PointMeasured)]
    (end,) = [event for event in events if isinstance(event, TrialEnded)]
    return points, end


def named(loops, name):
    return LoopSource(reference=f"{loops}:{name}")


def test_reported_points_arrive(loops, capfd):
    points, end = run(named(loops, "good"))
    assert end.state is State.FINISHED
    assert [(p.epoch, p.step, p.train_loss, p.val_metric) for p in points] == [
        (0.0, 0, 0.5, 0.5),
        (1.0, 1, 1.0, 0.5),
        (2.0, 2, 1.5, 0.5),
    ]
    assert capfd.readouterr().out == ""  # the user's prints stay out of our terminal


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_the_peak_of_a_trials_own_process_is_told(loops):
    _, small = run(named(loops, "good"))
    _, large = run(named(loops, "greedy"))
    assert 100 < large.peak_memory_mb - small.peak_memory_mb < 200


def test_global_generators_are_seeded_from_the_trial(loops):
    (first,), _ = run(named(loops, "seeded"), seed=1)
    (again,), _ = run(named(loops, "seeded"), seed=1)
    (other,), _ = run(named(loops, "seeded"), seed=2)
    assert (first.train_loss, first.val_loss, first.val_metric) == (
        again.train_loss,
        again.val_loss,
        again.val_metric,
    )
    assert first.train_loss != other.train_loss
    assert first.val_loss != other.val_loss
    assert first.val_metric != other.val_metric


def test_divergence_is_data(loops):
    points, end = run(named(loops, "diverges"))
    assert end.state is State.FINISHED
    assert points[1].val_loss == float("inf")
    assert points[1].train_loss != points[1].train_loss


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("raises", State.FAILED, "ValueError: no luck"),
        ("dies", State.FAILED, "last words"),
        ("crashes", State.FAILED, signal.SIGSEGV.name),
        ("hangs_at_start", State.TIMED_OUT, "no first evaluation within 2 s"),
        ("hangs", State.TIMED_OUT, "no evaluation within 1 s"),
        ("stops", State.TIMED_OUT, "no evaluation within 1 s"),
        ("exits", State.FAILED, "enough"),
        ("ends_half_a_line", State.FAILED, "ended with exit code 3 before the loop returned"),
        ("forks_and_is_killed", State.FAILED, "SIGKILL"),
        ("closes_its_pipe", State.TIMED_OUT, "no evaluation within 1 s"),
        ("ends_by_a_nameless_signal", State.FAILED, "was ended by signal 40"),
        ("noisy", State.FAILED, "ValueError: red"),
    ],
)
def test_what_goes_wrong_ends_one_trial_and_says_why(loops, name, state, reason):
    start_s = 2.0 if name == "hangs_at_start" else None
    others = children()  # of other tests in this process
    _, end = run(named(loops, name), deadlines=Deadlines(start_s=start_s, silence_s=1.0))
    assert end.state is state
    assert reason in end.reason
    assert end.reason == clean_message(end.reason)
    assert len(end.reason.encode()) <= 2048
    assert not children() - others


def test_a_loop_that_reads_finds_nothing_to_read(loops):
    ((point,), end) = run(named(loops, "reads"))
    assert (end.state, point.val_loss) == (State.FINISHED, 0.0)


def test_whoever_starts_a_trial_takes_it_along_when_killed(loops):
    """Also what the trial has started, which is in no way the killed process's own."""
    program = (
        "import sys\n"
        "from sweepdiag.records import *\n"
        "from sweepdiag.training import LoopSource, run_user_loop\n"
        "trial = Trial(trial_id='t', config_id='c', axes={}, seed=0)\n"
        "pack = Pack(trials=(trial,), attempts=(1,))\n"
        "source = LoopSource(reference=sys.argv[1])\n"
        "settings = TrainingSettings(epochs=2)\n"
        "for (event,) in run_user_loop(pack, source=source, settings=settings, device='cpu'):\n"
        "    if isinstance(event, PointMeasured):\n"
        "        print(int(event.point.train_loss), flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, f"{loops}:parent"], stdout=subprocess.PIPE, text=True
    )
    group = int(process.stdout.readline())
    assert len(members(group)) == 3  # the loop, what it has started, and who listens
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 10
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert members(group) == []


def silent(config, report):
    return 1.0


def wrong(config, report):
    report(epoch=0, train_loss="low", val_loss=1.0)


def misspelt(config, report):
    report(epoch=0, train_loss=1.0, val_loss=1.0, val_acc=0.5)


def without_validation(config, report):
    report(epoch=0, train_loss=1.0)


def without_epoch(config, report):
    report(step=0, train_loss=1.0, val_loss=1.0)


def as_a_dict(config, report):
    report({"epoch": 0, "train_loss": 1.0, "val_loss": 1.0})


def hungry(config, report):
    raise MemoryError


@pytest.mark.parametrize(
    ("function", "state", "reason"),
    [
        (silent, State.FAILED, "returned without calling report"),
        (wrong, State.FAILED, "train_loss passed to report must be a number, got 'low'"),
        (misspelt, State.FAILED, "unknown argument of report 'val_acc'"),
        (misspelt, State.FAILED, "any other metric is val_metric (test_user_loop.py:"),
        (without_validation, State.FAILED, "missing or None: val_loss: hold samples out"),
        (without_epoch, State.FAILED, "missing or None: epoch (test_user_loop.py:"),
        (as_a_dict, State.FAILED, "got a dict without a name: for a dict d write report(**d)"),
        (hungry, State.OUT_OF_MEMORY, "MemoryError"),
    ],
)
def test_what_is_reported_wrongly_ends_the_trial_and_says_why(function, state, reason):
    _, end = run(LoopSource(loop=TrainLoop(name="here", function=function)))
    assert end.state is state
    assert reason in end.reason


def test_points_before_a_failure_are_kept():
    def train(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        raise ValueError

    points, end = run(LoopSource(loop=TrainLoop(name="here", function=train)))
    assert len(points) == 1
    assert end.state is State.FAILED


def test_a_loop_of_this_process_runs_here():
    pids = []

    def train(config, report):
        pids.append(os.getpid())
        report(epoch=0, train_loss=config["lr"], val_loss=1.0)

    points, end = run(LoopSource(loop=TrainLoop(name="here", function=train)))
    assert end.state is State.FINISHED
    assert points[0].train_loss == 0.5
    assert pids == [os.getpid()]


def test_a_loop_may_report_what_sweepdiag_records_of_its_own_trainings():
    def train(config, report):
        report(epoch=0, train_loss=1.0, val_loss=1.0)
        more = {"grad_norm": 2.0, "update_ratio": 0.1, "dead_fraction": 0.5}
        report(epoch=1, train_loss=1.0, val_loss=1.0, **more)

    (first, second), _ = run(LoopSource(loop=TrainLoop(name="here", function=train)))
    assert (second.grad_norm, second.update_ratio, second.dead_fraction) == (2.0, 0.1, 0.5)
    assert first.grad_norm != first.grad_norm


def test_a_loop_of_this_process_that_raises_fails():
    def train(config, report):
        message = "no luck"
        raise ValueError(message)

    _, end = run(LoopSource(loop=TrainLoop(name="here", function=train)))
    assert end.state is State.FAILED
    assert "no luck" in end.reason


def test_closing_half_way_leaves_no_process(loops):
    (loops.parent / "slow.py").write_text(
        "import time\n"
        "def train(config, report):\n"
        "    report(epoch=0, train_loss=1.0, val_loss=1.0)\n"
        "    time.sleep(600)\n"
    )
    trial = Trial(trial_id="t", config_id="c", axes={"lr": 0.1}, seed=0)
    events = run_user_loop(
        Pack(trials=(trial,), attempts=(1,)),
        source=LoopSource(reference=f"{loops.parent / 'slow.py'}:train"),
        settings=TrainingSettings(epochs=2),
        device="cpu",
    )
    others = children()  # of other tests in this process
    next(events)
    next(events)
    assert children() - others
    events.close()
    assert not children() - others


class StopAt:
    """A stop rule that ends every curve at its n-th evaluation, and keeps what it was asked."""

    def __init__(self, n_points):
        self.n_points = n_points
        self.asked = []

    def __call__(self, curves, epochs):
        assert curves.n_curves == 1
        assert (curves.epochs[0] == epochs[: curves.n_points]).all()
        self.asked.append((curves.n_points, epochs.tolist()))
        return ["enough seen" if curves.n_points >= self.n_points else None]


def test_a_trial_that_the_stop_rule_ends_is_stopped_where_it_was_told(loops):
    others = children()  # of other tests in this process
    points, end = run(named(loops, "stubborn"), epochs=50, stop_rule=StopAt(4))
    assert (end.state, end.reason) == (State.STOPPED, "enough seen")
    assert [point.epoch for point in points] == [0.0, 1.0, 2.0, 3.0]
    assert not children() - others


def test_a_loop_of_this_process_ends_inside_its_report():
    reached = []

    def train(config, report):
        for epoch in range(100):
            reached.append(epoch)
            try:
                report(epoch=epoch, train_loss=1.0, val_loss=1.0)
            except Exception:  # noqa: BLE001 - what users write
                reached.append("an error of the loop's")

    source = LoopSource(loop=TrainLoop(name="here", function=train))
    points, end = run(source, epochs=50, stop_rule=StopAt(3))
    assert (end.state, end.reason) == (State.STOPPED, "enough seen")
    assert reached == [0, 1, 2]
    assert len(points) == 3


def test_a_loop_that_catches_everything_reports_in_vain():
    def train(config, report):
        for epoch in range(100):
            with contextlib.suppress(BaseException):
                report(epoch=epoch, train_loss=1.0, val_loss=1.0)
        raise ValueError

    source = LoopSource(loop=TrainLoop(name="here", function=train))
    points, end = run(source, epochs=50, stop_rule=StopAt(3))
    assert (end.state, end.reason) == (State.STOPPED, "enough seen")
    assert len(points) == 3


def test_the_stop_rule_is_asked_with_the_evaluations_to_come_until_the_last():
    def train(config, report):
        for epoch in (1, 3, 5, 7, 9, 11):
            report(epoch=epoch, train_loss=1.0, val_loss=1.0)

    rule = StopAt(99)
    source = LoopSource(loop=TrainLoop(name="here", function=train))
    _, end = run(source, epochs=9, stop_rule=rule)
    assert end.state is State.FINISHED
    assert rule.asked == [(n, [1.0, 3.0, 5.0, 7.0, 9.0]) for n in (2, 3, 4)]


def members(group):
    """Return the living processes of a process group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group, *_ = path.read_text().rpartition(")")[2].split()
            if int(its_group) == group and state != "Z":
                found.append(int(path.parent.name))
    return found


def children():
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())

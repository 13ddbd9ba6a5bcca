import os
import signal
import subprocess
import sys

import pytest

from sweepdiag.cli.exits import Stopped, stop_signals_raise
from tests.cli.test_cli import SMALL

# With a PATH on which there is no sbatch, whatever this machine has.
NO_SLURM = {"PATH": "/nowhere"}


def command(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "sweepdiag", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def test_a_dry_run_shows_scripts_and_commands_and_writes_nothing(tmp_path):
    shown = command(
        *("submit", "digits", "seeds=2", "optimizer.name=adam", "--output=results/x"),
        *("--array=4", "--partition=gpu", "--timeout-min=30", "--dry-run"),
        cwd=tmp_path,
        MY_TOKEN="hunter2",
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    for line in (
        "#SBATCH --array=0-3",
        "#SBATCH --partition=gpu",
        "#SBATCH --output=results/x.slurm/%j.out",
        "sweep=(digits seeds=2 optimizer.name=adam)  # what follows `sweepdiag run`",
    ):
        assert line in shown.stdout.splitlines()
    assert shown.stdout.splitlines()[-2:] == [
        f"# would be submitted with: sbatch --parsable {options}"
        for options in (
            "results/x.slurm/shard.sbatch",
            "--dependency=afterany:JOBID results/x.slurm/merge.sbatch",
        )
    ]
    assert shown.stdout.startswith("#!/bin/bash\n")
    assert "hunter2" not in shown.stdout
    assert "MY_TOKEN" not in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_pair_may_name_the_workload(tmp_path):
    shown = command("submit", "workload=digits", "--output=x", "--dry-run", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "sweep=(workload=digits --output x)" in shown.stdout


def test_the_folder_is_named_by_workload_and_time_unless_it_is_given(tmp_path):
    shown = command("submit", "digits", "--no-check", "--dry-run", cwd=tmp_path).stdout
    assert "#SBATCH --job-name=digits-2" in shown
    assert "sweep=(digits --output results/digits-2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digit"], "unknown workload 'digit'. Did you mean 'digits'"),
        (["digits", "epoch=3"], "epochs"),
        (["nothing.yaml"], "nothing.yaml"),
        (["digits", "seeds=1", "--array=100"], "at most the number of trials (99), got 100"),
        (["digits", "output=foo", "--output=zz", "--array=2"], "output is 'zz.slurm/shard-0' al"),
        (["digits", "execution.shard=0/3", "--array=2"], "execution.shard is '0/2' already"),
        (["digits", "execution.gpus=2", "--nodes=2"], "execution.gpus is 0 already"),
        (["digits", "--no-check", "--partition=a;b"], "--partition must match"),
        (["digits", "--no-check", "--sbatch=wrap=x"], "--sbatch wrap is set by sweepdiag"),
        (["digits", "--no-check"], "no sbatch on this machine"),
        (["digits", "--no-check", "--wait"], "no sbatch on this machine"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_submitted(tmp_path, arguments, message):
    done = command("submit", *arguments, cwd=tmp_path, **NO_SLURM)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_shards_are_trained_and_merged_from_the_command_line(tmp_path):
    for shard in ("0/2", "1/2"):
        done = command("run", *SMALL, f"--shard={shard}", f"--output={shard[0]}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{shard[0]}: shard {shard}, trials: 1 finished\n"

    early = command("merge", "0", "--output=run", cwd=tmp_path)
    assert early.returncode == 75
    assert "1 of 2 trials are missing" in early.stderr

    done = command("merge", "0", "1", "--output=run", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("Report: run/report.html")

    refused = command("run", *SMALL, "--shard=2/2", "--output=x", cwd=tmp_path)
    assert refused.returncode == 2
    assert "must be i/K with i from 0 to 1, got '2/2'" in refused.stderr


def test_signals_in_quick_succession_are_one_request_to_stop():
    with stop_signals_raise():
        with pytest.raises(Stopped):
            signal.raise_signal(signal.SIGTERM)
        # While what was under way is being closed.
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGTERM)


def test_a_later_signal_ends_the_process_at_once():
    code = (
        "import signal, time\n"
        "from sweepdiag.cli import exits\n"
        "exits._ONE_STOP_S = 0.1\n"
        "with exits.stop_signals_raise():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGUSR2)\n"
        "    except exits.Stopped:\n"
        "        time.sleep(0.2)\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, b"")

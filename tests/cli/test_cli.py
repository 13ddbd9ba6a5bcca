import json
import os
import re
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree as ET

import pytest

import sweepdiag
from sweepdiag.config import load_config
from sweepdiag.store import RunFolder

SMALL = [
    "synthetic",
    "--lr=0.01,0.1",
    "--batch-size=16",
    "--capacity=4",
    "--seeds=1",
    "--epochs=3",
    "--executor=serial",
    "workload_parameters.n_train=64",
    "workload_parameters.n_validation=32",
]


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "sweepdiag", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


def test_version_and_help():
    assert command("--version").stdout == f"sweepdiag {sweepdiag.__version__}\n"
    assert "Continue an interrupted sweep" in command("--help").stdout


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from sweepdiag.cli import app\n"
        "heavy = {'torch', 'ray', 'optuna', 'pandas', 'numpy', 'pydantic', 'matplotlib'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_sweep_prints_its_diagnosis_and_where_the_report_is(tmp_path):
    done = command("run", *SMALL, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "Classes" in done.stdout
    assert done.stdout.rstrip().endswith(f"Report: {tmp_path / 'run' / 'report.html'}")
    assert "2/2 trials" in done.stderr
    assert "Traceback" not in done.stderr

    again = command("run", *SMALL, "--output", tmp_path / "run", "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    status = command("status", tmp_path / "run")
    assert "2 trials planned" in status.stdout
    assert "finished" in status.stdout
    assert re.search(r"^Peak memory: \d+ MB per worker$", status.stdout, re.MULTILINE)

    (tmp_path / "run" / "report.html").unlink()
    assert command("rebuild", tmp_path / "run").returncode == 0
    assert (tmp_path / "run" / "report.html").exists()


def test_the_resolved_configuration_is_printed_and_can_be_run(tmp_path):
    printed = command("run", *SMALL, "optimizer.momentum=0.5", "--print-config")
    assert printed.returncode == 0, printed.stderr
    path = tmp_path / "sweep.yaml"
    path.write_text(printed.stdout)
    config = load_config(path)
    assert config.optimizer.momentum == 0.5
    assert config.parameters["lr"].values == (0.01, 0.1)
    again = command("run", path, "--epochs=5", "--print-config")
    assert "epochs: 5" in again.stdout


def test_what_to_record_is_an_option_and_a_setting():
    for asked in ("--record=gradients", "record=gradients", "record=[gradients]"):
        printed = command("run", *SMALL, asked, "--print-config")
        assert "record: [gradients]" in printed.stdout, printed.stderr


def test_the_schema_is_printed():
    schema = json.loads(command("run", "--print-schema").stdout)
    assert "parameters" in schema["properties"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "digit"], "unknown workload 'digit'. Did you mean 'digits'"),
        (["run", "digits", "--lr=low"], "lr must be a number"),
        (["run", "digits", "--learning-rate=low"], "lr must be a number"),
        (["run", "digits", "epoch=3"], "epochs"),
        (["run", "digits", "--gpus=4096"], "--gpus 4096 asks for 4096 GPUs"),
        (["run", "digits", "--batch-size=4096"], "[1, 1438]"),
        (["run", "nothing.yaml"], "nothing.yaml"),
        (["run", "nothing.py:build"], "nothing.py"),
        (["run", "digits", "--sampler=random"], "sampler"),
        (["run", "digits", "--record=gradient"], "record must be gradients, got 'gradient'"),
        (["resume", "/dev/null", "--retry=lots"], "unknown state for --retry 'lots'"),
        (["explain", "SD1"], "SD101"),
        (["run", "--no-such-option"], "No such option"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(arguments, message):
    done = command(*arguments)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_a_file_names_file_line_and_column(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("workload: digits\noptimizer:\n  momentun: 0.9\n")
    done = command("run", path)
    assert done.returncode == 2
    assert f"{path}:3:3:" in done.stderr
    assert "momentum" in done.stderr


@pytest.mark.parametrize("verb", ["resume", "report", "rebuild", "status"])
def test_a_folder_that_is_no_run_is_exit_code_5(tmp_path, verb):
    done = command(verb, tmp_path)
    assert done.returncode == 5
    assert "is not a run folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_finding_is_explained():
    done = command("explain", "SD101")
    assert done.returncode == 0, done.stderr
    assert "What it checks" in done.stdout


def test_findings_can_be_ignored_fail_a_command_and_be_written_as_junit(tmp_path):
    run, junit = tmp_path / "run", tmp_path / "checks.xml"
    done = command("run", *SMALL, "--output", run, "--junit", junit, "--fail-on", "warning")
    # Four evaluations are too few to judge, which is a finding.
    assert done.returncode == 1, done.stderr
    assert "--fail-on warning: SD401" in done.stderr
    suite = ET.parse(junit).getroot()[0]
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert "SD401 budget-too-short" in failed
    assert command("report", run).returncode == 0
    assert command("report", run, "--fail-on", "SD401").returncode == 1
    assert command("report", run, "--fail-on", "SD308,error").returncode == 0
    done = command("report", run, "--fail-on", "SD401", "--ignore", "SD401,trials-failed")
    assert done.returncode == 0
    codes = [finding["code"] for finding in json.loads((run / "findings.json").read_text())]
    assert not {"SD401", "SD902"} & set(codes)


def test_codes_that_do_not_exist_are_refused_before_anything_is_trained(tmp_path):
    for option in ("--ignore", "--fail-on"):
        done = command("run", *SMALL, "--output", tmp_path / "run", option, "SD999")
        assert done.returncode == 2
        assert "SD999" in done.stderr
        assert "Valid: SD101" in done.stderr
    done = command("run", *SMALL, "--junit", tmp_path / "nowhere" / "checks.xml")
    assert done.returncode == 2
    assert "--junit must lie in a folder that exists" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_trial_that_fails_is_exit_code_3(tmp_path):
    path = tmp_path / "my_loop.py"
    path.write_text(
        "def train(config, report):\n"
        "    report(epoch=0, train_loss=1.0, val_loss=1.0)\n"
        "    if config['speed'] > 1:\n"
        "        raise ValueError('too fast')\n"
        "    for epoch in range(1, 8):\n"
        "        report(epoch=epoch, train_loss=0.5 ** epoch, val_loss=0.5 ** epoch + 0.1)\n"
    )
    done = command(
        "run",
        f"{path}:train",
        "parameters.speed=1,2",
        "--seeds=1",
        "--epochs=7",
        "--executor=serial",
        "--output",
        tmp_path / "run",
    )
    assert done.returncode == 3, done.stderr
    assert "too fast" in done.stdout


def test_a_sweep_that_fails_too_often_stops_with_exit_code_3_and_says_how_to_go_on(tmp_path):
    path = tmp_path / "my_loop.py"
    path.write_text("def train(config, report):\n    raise ValueError('no such column')\n")
    run = tmp_path / "run"
    arguments = ["parameters.speed=1,2,3,4", "--seeds=1", "--epochs=7", "--executor=serial"]
    done = command(
        "run", f"{path}:train", *arguments, "--output", run, "--max-failed-fraction=0.3"
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "sweepdiag: 2 of 4 trials failed to execute (2 failed)" in done.stderr
    assert "ValueError: no such column" in done.stderr
    assert f"Go on:      sweepdiag resume {run}\n" in done.stderr
    assert (
        f"If mended:  sweepdiag resume {run} --retry failed --accept-changed-code" in done.stderr
    )
    assert "(my_loop.py:2)" in done.stderr
    assert "Traceback" not in done.stderr
    resumed = command("resume", run, "--max-failed-fraction=1", "--retry=failed")
    assert resumed.returncode == 3, resumed.stderr
    assert "Report: " in resumed.stdout
    assert command("run", "digits", "--max-failed-fraction=2").returncode == 2


BROKEN = """
import torch
from sweepdiag import Workload

def build():
    x, y = torch.randn(60, 4), torch.arange(60) % 3
    return Workload(
        name="broken", train=(x, y), axes={"lr": [0.1, 0.2], "batch_size": [10]},
        model=lambda: torch.nn.Linear(5, 3),
    )
"""


def test_a_model_that_cannot_take_one_step_is_refused_before_anything_is_recorded(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    done = command("run", f"{path}:build", "--output", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert "forward pass of the model with inputs of shape (2, 4), float32" in done.stderr
    assert "at broken.py:9" in done.stderr
    assert not (tmp_path / "run").exists()
    path.write_text(BROKEN.replace("Linear(5", "Linear(4"))
    mended = command("run", f"{path}:build", "--output", tmp_path / "run", "--epochs=2")
    assert mended.returncode == 0, mended.stderr


def test_doctor_exits_with_1_if_a_model_does_not_run(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN)
    done = command("doctor", f"{path}:build")
    assert done.returncode == 1, done.stderr
    assert "does not run" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_keeps_the_points_and_says_how_to_go_on(tmp_path, number, code):
    process = subprocess.Popen(
        [
            *[sys.executable, "-m", "sweepdiag", "run", "digits", "--executor=serial"],
            *["--output", str(tmp_path / "run"), "--epochs=2000", "--capacity=4,64"],
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = RunFolder(tmp_path / "run")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        history, _ = folder.read_history()
        if any(trial.rows for trial in history.trials.values()):
            break
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert f"sweepdiag resume {tmp_path / 'run'}" in err
    assert "Traceback" not in err
    assert out == ""
    history, damages = folder.read_history()
    assert sum(len(trial.rows) for trial in history.trials.values()) > 0
    assert damages == []
    looked = command("report", tmp_path / "run")
    assert looked.returncode == 0, looked.stderr


def test_doctor_describes_the_machine_and_how_a_workload_trains():
    done = command("doctor", "digits", "parameters.capacity=4,16", "parameters.batch_size=64")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^  torch +2\.", done.stdout, re.MULTILINE)
    assert re.search(r"^  Ray +2\..* started and ended in", done.stdout, re.MULTILINE)
    assert "Nothing that is needed is broken." in done.stdout
    assert "digits: 66 trials, 2 architectures" in done.stdout
    assert "trials/s" in done.stdout


def test_doctor_exits_with_1_if_something_needed_is_broken(tmp_path):
    (tmp_path / "results").write_text("a file in the way")
    done = subprocess.run(
        [sys.executable, "-m", "sweepdiag", "doctor"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert re.search(r"^! Results", done.stdout, re.MULTILINE)
    assert "1 part broken." in done.stdout


def test_doctor_of_a_misspelt_workload_names_the_nearest():
    done = command("doctor", "digist")
    assert done.returncode == 2
    assert "Did you mean 'digits'?" in done.stderr

"""``sweepdiag diagnose`` through the real entry point."""

import pytest

from tests.cli.test_cli import command
from tests.readers import samples

HEADER = "run,epoch,train_loss,val_loss,lr\n"


def rows(run, lr, n=12):
    return "".join(
        f"{run},{epoch},{1 / (1 + lr * epoch):.6f},{1.1 / (1 + lr * epoch):.6f},{lr}\n"
        for epoch in range(n)
    )


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "".join(rows(f"r{lr}", lr) for lr in (0.1, 1, 10)))
    return path


def test_the_mapping_the_verdicts_and_the_report_are_printed(log, tmp_path):
    done = command("diagnose", log, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "36 rows of 3 runs from log.csv" in done.stdout
    assert "run=run, epoch=epoch, train_loss=train_loss, val_loss=val_loss" in done.stdout
    assert "3 curves, 3 judged" in done.stdout
    assert done.stdout.rstrip().endswith(f"Report: {tmp_path / 'out' / 'report.html'}")
    assert done.stderr == ""


def test_one_curve_is_told_with_its_evidence_and_when_to_stop(tmp_path):
    log = tmp_path / "one.csv"
    losses = [1.0, 0.6, 0.4, 0.3, 0.25, 0.24, 0.26, 0.29, 0.33, 0.37, 0.42, 0.47]
    lines = [f"{i + 1},{1 / (1 + i):.4f},{loss}\n" for i, loss in enumerate(losses)]
    log.write_text("epoch,train_loss,val_loss\n" + "".join(lines))
    done = command("diagnose", log, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "One curve, judged alone." in done.stdout
    assert "  one: u-shaped, confidence " in done.stdout
    assert "validation loss rose" in done.stdout
    assert "-> Stop at epoch 6 of 12" in done.stdout
    assert "in the median" not in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<b>one: u-shaped, confidence " in page


def test_problems_are_printed_up_to_the_twentieth(log, tmp_path):
    with log.open("a") as stream:
        stream.writelines(f"bad,{i},x{i},1,1\n" for i in range(25))
        stream.write("bad,25,0.1")
    done = command("diagnose", log, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "26 problems in the files" in done.stdout
    assert "log.csv, line 63: the file is cut off here" in done.stdout
    assert "log.csv, line 38: train_loss is 'x0', expected a number" in done.stdout
    assert "'x19'" not in done.stdout
    assert (tmp_path / "out" / "unreadable.csv").read_text().count("\n") == 27


def test_a_sweep_shows_its_map(log, tmp_path):
    done = command("diagnose", log, "--one-sweep", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "axes: lr" in done.stdout
    assert "Map: lr across" in done.stdout


def test_quiet_says_nothing(log, tmp_path):
    done = command("diagnose", log, "--quiet", "--output", tmp_path / "out")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_columns_can_be_named(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_text(
        "job,tick,dev nll, fit\n" + "".join(f"j,{i},{1 / (i + 1)},1\n" for i in range(9))
    )
    done = command(
        "diagnose", path, "--columns", "run=job,epoch=tick", "--columns", "val_loss=dev nll",
        "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "run=job, epoch=tick, val_loss=dev nll" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--columns", "val_loss"], "--columns must be ROLE=NAME"),
        (["--columns", "loss=a"], "unknown role in --columns 'loss'"),
        (["--columns", "run=a,run=b"], "--columns gives run twice"),
        (["--group-by", "learning"], "unknown column for --group-by 'learning'"),
        (["--monitor", "loss"], "unknown monitor 'loss'"),
        (["--group-by", "epoch"], "the column has several values within one run"),
    ],
)
def test_wrong_options_are_explained(log, tmp_path, arguments, said):
    done = command("diagnose", log, *arguments, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_not_there(tmp_path):
    done = command("diagnose", tmp_path / "no.csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not exist" in done.stderr


def test_a_folder_of_keras_logs(tmp_path):
    for i in range(3):
        (tmp_path / f"run{i}.csv").write_text(samples.KERAS)
    done = command("diagnose", tmp_path, "--output", tmp_path / "diagnosis")
    assert done.returncode == 0, done.stderr
    assert "run: the name of the file or its folder" in done.stdout
    # The report lies among the logs, and is none of them.
    again = command("diagnose", tmp_path, "--output", tmp_path / "diagnosis")
    assert "9 rows of 3 runs from 3 files" in again.stdout

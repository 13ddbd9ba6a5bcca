"""MLflow's folders, written as its file store writes them."""

import pytest

from sweepdiag.readers import read_curves

RUN = "1f" * 16


def write_run(run, metrics, params):
    for folder in ("metrics", "params", "tags"):
        (run / folder).mkdir(parents=True)
    (run / "meta.yaml").write_text(f"run_id: {run.name}\nrun_name: bold-fox\nstatus: 3\n")
    for name, values in metrics.items():
        path = run / "metrics" / name
        path.parent.mkdir(exist_ok=True)
        lines = (f"{1700000000000 + 1000 * i} {value} {i}\n" for i, value in enumerate(values))
        path.write_text("".join(lines))
    for name, value in params.items():
        (run / "params" / name).write_text(str(value))


@pytest.fixture
def mlruns(tmp_path):
    for i in range(2):
        run = tmp_path / "mlruns" / "7" / f"{RUN[:-1]}{i}"
        metrics = {"train_loss": [4, 3, 2], "val_loss": [5, 4, 3 + i], "val/acc": [0.1, 0.2, 0.3]}
        write_run(run, metrics, {"lr": 0.1 * (i + 1), "model": "net"})
    return tmp_path / "mlruns"


def test_metrics_of_a_run_are_its_curves_and_params_its_settings(mlruns):
    reading = read_curves(mlruns, with_attributes=True)
    assert reading.runs["trial_id"].tolist() == [f"7/{RUN[:-1]}{i}" for i in range(2)]
    assert reading.runs["config/lr"].tolist() == [0.1, 0.2]
    assert reading.curves["val_loss"].tolist() == [5, 4, 3, 5, 4, 4]
    assert reading.curves["val_metric"].tolist() == [0.1, 0.2, 0.3] * 2
    assert not reading.problems.listed


def test_a_run_or_a_metric_can_be_named_itself(mlruns):
    run = mlruns / "7" / f"{RUN[:-1]}0"
    for path in (run, run / "metrics" / "val_loss"):
        reading = read_curves(path)
        assert reading.runs["trial_id"].tolist() == [run.name]
        assert reading.curves["val_loss"].tolist() == [5, 4, 3]


def test_metrics_of_logged_models_repeat_those_of_their_run(mlruns):
    write_run(mlruns / "7" / "models" / "m-1", {"train_loss": [4, 3, 2]}, {})
    assert len(read_curves(mlruns).runs) == 2


def test_lines_that_cannot_be_read_are_listed(mlruns):
    path = mlruns / "7" / f"{RUN[:-1]}0" / "metrics" / "val_loss"
    path.write_text(path.read_text() + "1700000009000 nan 3\n170000 oops\nnan 1 4\n")
    reading = read_curves(mlruns)
    assert [problem.value for problem in reading.problems.listed] == ["170000 oops", "nan 1 4"]
    assert "expected a time, a value and a step" in str(reading.problems.listed[0])

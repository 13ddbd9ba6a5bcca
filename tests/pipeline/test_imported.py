import csv
import json

import numpy as np
import pandas as pd
import pytest

import sweepdiag
from sweepdiag.config import load_config
from sweepdiag.errors import ConfigError, ReaderError
from sweepdiag.records import FindingState
from sweepdiag.store import RunFolder
from tests.report.test_browser import chromium_path, dump_dom

EPOCHS = np.arange(40)


def curve(run, *, rise=0.0, fall=8.0, noise=0.01, seed=0, **attributes):
    """A run whose validation loss falls, then rises by ``rise`` per epoch."""
    rng = np.random.default_rng(seed)
    shape = 2 * np.exp(-EPOCHS / fall)
    return pd.DataFrame(
        {
            "run": run,
            "epoch": EPOCHS,
            "train_loss": 0.1 + shape + noise * rng.standard_normal(EPOCHS.size),
            "val_loss": 0.2 + shape + rise * EPOCHS + noise * rng.standard_normal(EPOCHS.size),
            **attributes,
        }
    )


@pytest.fixture(scope="module")
def mixed():
    diverged = curve("diverged")
    diverged.loc[20:, ["train_loss", "val_loss"]] = np.inf
    return pd.concat([curve("healthy", fall=3), curve("overfit", rise=0.03), diverged])


@pytest.fixture(scope="module")
def sweep():
    parts = [
        curve(f"{task}-{lr}-{batch}-{seed}", fall=1 / lr, seed=seed).assign(
            task=task, learning_rate=lr, batch=batch, seed=seed, width=16, host=f"node{seed}",
            best_val=float(seed),
        )
        for task in ("digits", "=evil/../<b>")
        for lr in (0.01, 0.1, 0.5)
        for batch in (16, 64)
        for seed in (0, 1)
    ]  # fmt: skip
    return pd.concat(parts)


def test_curves_are_judged_alone_by_their_own_names(mixed, tmp_path):
    result = sweepdiag.diagnose(mixed, output=tmp_path / "out")
    verdicts = result.verdicts.set_index("trial_id")
    assert verdicts["verdict"].to_dict() == {
        "healthy": "healthy", "overfit": "u_shaped", "diverged": "diverging",
    }  # fmt: skip
    assert set(verdicts["context"]) == {"alone"}
    assert {f.state for f in result.findings} == {FindingState.NOT_APPLICABLE}
    assert "--group-by" in result.findings[0].evidence
    stored = pd.read_parquet(tmp_path / "out" / "verdicts.parquet")
    assert stored["trial_id"].tolist() == ["healthy", "overfit", "diverged"]
    names = {path.name for path in RunFolder(tmp_path / "out")}
    assert {"curves.parquet", "stopping.parquet", "report.html", "curve_gallery.png"} <= names
    assert "unreadable.csv" not in names
    assert not [name for name in names if "heatmap" in name]


def test_each_criterion_is_followed_on_each_curve(mixed, tmp_path):
    result = sweepdiag.diagnose(mixed, output=tmp_path / "out")
    table = result.stopping
    assert set(table["trial_id"]) == {"healthy", "overfit", "diverged"}
    early = table[(table["criterion"] == "patience 5") & (table["trial_id"] == "overfit")]
    assert 10 < early["epochs_used"].item() < 35
    stops = {stop.config_id: stop.epoch for stop in result.recommendation.stop_epochs}
    assert stops["overfit"] < stops["healthy"]
    assert "What stopping early would have done" in str(result)


def test_a_verdict_alone_does_not_depend_on_the_other_curves(mixed, tmp_path):
    together = sweepdiag.diagnose(mixed, output=tmp_path / "a").verdicts.set_index("trial_id")
    alone = sweepdiag.diagnose(mixed[mixed["run"] == "overfit"], output=tmp_path / "b").verdicts
    assert alone["evidence"].item() == together["evidence"]["overfit"]
    assert alone["confidence"].item() == together["confidence"]["overfit"]


def test_one_sweep_has_axes_seeds_findings_and_a_region(sweep, tmp_path):
    digits = sweep[sweep["task"] == "digits"].drop(columns="task")
    result = sweepdiag.diagnose(digits, one_sweep=True, output=tmp_path / "out")
    assert [axis.name for axis in result.data.axes] == ["lr", "batch_size"]
    assert len(result.configurations) == 6
    assert result.trials["seed"].tolist() == [0, 1] * 6
    assert set(result.verdicts["context"]) == {"sweep"}
    assert result.recommendation.region is not None
    states = {f.code: f.state for f in result.findings}
    assert states["SD102"] is not FindingState.NOT_APPLICABLE
    assert states["SD303"] is states["SD902"] is FindingState.NOT_APPLICABLE
    assert states["SD903"] is FindingState.NOT_APPLICABLE
    names = {path.name for path in RunFolder(tmp_path / "out")}
    assert {"class_heatmap.png", "loss_heatmap.svg"} <= names
    lines = result.data.origin.lines
    assert "axes: lr = learning_rate, batch_size = batch" in lines
    assert any("host, best_val (not named like a setting)" in line for line in lines)


def test_the_next_sweep_of_imported_curves_can_be_run_as_soon_as_it_has_a_workload(tmp_path):
    settings = [(decay, drop, act) for decay in (0.01, 0.1, 0.5) for drop in (0.1, 0.2)
                for act in ("relu", "ta\x1b[31mnh")]  # fmt: skip
    parts = [
        curve(f"{decay}-{drop}-{act}", fall=1 / decay, rise=0.1 * ("\x1b" in act)).assign(
            **{"weight decay": decay, "model.dropout": drop, "model_dropout": 1 - drop,
               "3d": act, "état": drop}
        )
        for decay, drop, act in settings
    ]  # fmt: skip
    out = tmp_path / "out"
    axes = ["weight decay", "model.dropout", "model_dropout", "3d", "état"]
    result = sweepdiag.diagnose(pd.concat(parts), one_sweep=True, axes=axes, output=out)
    (line,) = (line for line in result.data.origin.lines if line.startswith("axes: "))
    assert line.split(", ")[1:] == [
        "model_dropout = model.dropout", "model_dropout_2 = model_dropout", "param_3d = 3d",
        "etat = état",
    ]  # fmt: skip
    following = tmp_path / "next.yaml"
    text = (out / "next_sweep.yaml").read_text(encoding="utf-8")
    following.write_text(f"workload: digits\n{text}", encoding="utf-8")
    config = load_config(following)
    assert list(config.to_mapping()["parameters"]) == [axis.name for axis in result.data.axes]
    assert "\x1b" not in text


def test_a_number_of_steps_is_no_number_of_epochs_to_train_for(sweep, tmp_path):
    curves = sweep[(sweep["task"] == "digits") & (sweep["epoch"] < 4)]
    by_epoch = sweepdiag.diagnose(curves, one_sweep=True, output=tmp_path / "epochs")
    by_step = sweepdiag.diagnose(
        curves.rename(columns={"epoch": "step"}), one_sweep=True, output=tmp_path / "steps"
    )
    assert "epochs" in by_epoch.recommendation.next_settings
    assert "epochs" not in by_step.recommendation.next_settings
    assert not any("epochs" in reason for reason in by_step.recommendation.next_reasons)


def test_groups_are_sweeps_with_reports_of_their_own(sweep, tmp_path):
    result = sweepdiag.diagnose(sweep, group_by="task", output=tmp_path / "out")
    assert list(result.groups) == ["digits", "=evil/../<b>"]
    assert len(result.verdicts) == 24
    assert set(result.verdicts["group"]) == set(result.groups)
    folders = sorted(path.name for path in (tmp_path / "out" / "groups").iterdir())
    assert folders == ["01-digits", "02-evil-..-b"]
    for group in result.groups.values():
        assert group.report.is_file()
        assert len(group.verdicts) == 12
        assert group.recommendation.region is not None
    again = sweepdiag.diagnose(
        sweep[sweep["task"] == "digits"], group_by="task", output=tmp_path / "out"
    )
    assert not again.groups
    assert not list((tmp_path / "out" / "groups").iterdir())


def test_axes_can_be_named(sweep, tmp_path):
    result = sweepdiag.diagnose(
        sweep, one_sweep=True, axes=["learning_rate", "task"], output=tmp_path / "out"
    )
    assert [axis.name for axis in result.data.axes] == ["lr", "task"]
    with pytest.raises(ConfigError, match="unknown column for --axes 'learning'"):
        sweepdiag.diagnose(sweep, one_sweep=True, axes=["learning"], output=tmp_path / "out")


@pytest.mark.parametrize("missing", ["train_loss", "val_loss"])
def test_half_a_curve_is_judged_as_far_as_it_goes(mixed, missing, tmp_path):
    result = sweepdiag.diagnose(mixed.drop(columns=missing), output=tmp_path / "out")
    assert len(result.verdicts) == 3
    verdicts = result.verdicts.set_index("trial_id")["verdict"]
    assert verdicts["diverged"] == "diverging"
    assert result.report.is_file()


def test_short_curves_and_metrics_alone(tmp_path):
    one = sweepdiag.diagnose(
        pd.DataFrame({"run": ["a", "b", "b"], "epoch": [0, 0, 1], "val_loss": [1.0, 2, 1]}),
        output=tmp_path / "out",
    )
    assert set(one.verdicts["verdict"]) == {"inconclusive"}
    better = pd.DataFrame(
        {"epoch": EPOCHS, "train_loss": 1 / (1 + EPOCHS), "val_acc": 1 - 1 / (1 + EPOCHS)}
    )
    result = sweepdiag.diagnose(better, output=tmp_path / "metric")
    assert result.data.monitor == "val_metric"
    assert result.configurations["best_monitor"].item() == pytest.approx(1 - 1 / 40)
    with pytest.raises(ConfigError, match="monitor val_metric needs a metric"):
        sweepdiag.diagnose(
            better.drop(columns="val_acc"), monitor="val_metric", output=tmp_path / "x"
        )


EVIL = ["=1+1", '"><script>alert(1)</script>', "a/../../b", "ünï→🙂", "$\\undefined$ & 'q'"]


def test_names_of_runs_are_harmless_everywhere(tmp_path):
    table = pd.concat([curve(name, rise=0.03, seed=i) for i, name in enumerate(EVIL)])
    path = tmp_path / "evil.csv"
    table.to_csv(path, index=False)
    with path.open("a") as stream:
        stream.write("=cmd|' /C calc'!A0,=2+3,1,1\n")
    result = sweepdiag.diagnose(path, output=tmp_path / "out")
    assert result.verdicts["trial_id"].tolist() == EVIL
    page = result.report.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    with (tmp_path / "out" / "unreadable.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == ["file", "line", "column", "value", "expected"]
    assert rows[1][1:4] == [str(len(table) + 2), "epoch", "'=2+3"]
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in RunFolder(tmp_path / "out")
    }
    assert all(not name.startswith("..") for name in written)


def test_what_is_in_the_folder_stays_unless_it_is_an_earlier_diagnosis(mixed, tmp_path):
    out = tmp_path / "out"
    sweepdiag.diagnose(mixed, output=out)
    sweepdiag.diagnose(mixed, output=out)
    assert json.loads((out / "diagnosis.json").read_text())["n_unreadable"] == 0
    (tmp_path / "run").mkdir()
    for name in ("journal.jsonl", "sweep.yaml"):
        (tmp_path / "run" / name).write_text("")
        with pytest.raises(ConfigError, match="is the run folder of a sweep"):
            sweepdiag.diagnose(mixed, output=tmp_path / "run")
    with pytest.raises(ConfigError, match="diagnose it with sweepdiag report"):
        sweepdiag.diagnose(tmp_path / "run")
    (tmp_path / "mine").mkdir()
    mixed.to_parquet(tmp_path / "mine" / "curves.parquet")
    with pytest.raises(ConfigError, match="holds files that sweepdiag did not write"):
        sweepdiag.diagnose(tmp_path / "mine", output=tmp_path / "mine")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        sweepdiag.diagnose(mixed, output=tmp_path / "file")


def test_a_failure_leaves_no_folder_behind(tmp_path):
    with pytest.raises(ReaderError):
        sweepdiag.diagnose(pd.DataFrame({"a": [1]}), output=tmp_path / "out")
    with pytest.raises(ConfigError, match="group_by or one_sweep"):
        sweepdiag.diagnose(curve("a"), group_by="x", one_sweep=True, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_many_curves_take_a_moment(tmp_path):
    table = pd.concat([curve(f"run{i}", rise=0.001 * (i % 9), seed=i) for i in range(300)])
    result = sweepdiag.diagnose(table, output=tmp_path / "out")
    assert len(result.verdicts) == 300
    assert result.configurations["config_id"].tolist() == list(dict.fromkeys(table["run"]))


@pytest.mark.browser
def test_a_browser_shows_names_and_charts_and_runs_nothing_else(sweep, tmp_path):
    table = pd.concat([curve(name, rise=0.03, seed=i) for i, name in enumerate(EVIL)])
    page = sweepdiag.diagnose(table, output=tmp_path / "evil").report.read_text("utf-8")
    (tmp_path / "a").mkdir()
    dom = dump_dom(chromium_path(), page, tmp_path / "a")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in dom
    assert "ünï→🙂" in dom
    sweep_page = sweepdiag.diagnose(sweep, group_by="task", output=tmp_path / "out").groups
    (tmp_path / "b").mkdir()
    evil = sweep_page["=evil/../<b>"].report.read_text("utf-8")
    dom = dump_dom(chromium_path(), evil, tmp_path / "b")
    assert "=evil/../&lt;b&gt;</h1>" in dom
    assert 'class="vega-embed' in dom

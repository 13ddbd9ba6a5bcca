import dataclasses
import json
import math
import textwrap

import pandas as pd
import pytest
import torch

import sweepdiag
from sweepdiag import ConfigError, TrainLoop, Workload, resume_sweep, run_sweep
from sweepdiag.config import load_config
from sweepdiag.errors import WorkloadError
from sweepdiag.pipeline import resolve_config, resolve_sweep
from sweepdiag.pipeline.diagnosis import _next_sweep
from sweepdiag.records import Recommendation
from sweepdiag.store import RunFolder

DERIVED = {
    "plan.parquet",
    "curves.parquet",
    "trials.parquet",
    "verdicts.parquet",
    "configurations.parquet",
    "features.parquet",
    "findings.json",
    "recommendation.json",
    "next_sweep.yaml",
    "report.html",
}


class Interrupting:
    """An observer that interrupts a sweep after some batches of events, as Ctrl-C would."""

    def __init__(self, after):
        self.left = after

    def started(self, path, lines, progress):
        pass

    def progressed(self, _progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def stage(self, name):
        pass


class Watching(Interrupting):
    """An observer that keeps what it is told."""

    def __init__(self):
        super().__init__(0)
        self.lines, self.seen, self.stages = [], [], []

    def started(self, _path, lines, _progress):
        self.lines = lines

    def progressed(self, progress):
        self.seen.append(progress)

    def stage(self, name):
        self.stages.append(name)


def numbers(result):
    """Return the curves without what may differ between runs: times and attempts."""
    keys = ["trial_id", "epoch"]
    table = result.curves.drop(columns=["seconds", "attempt"])
    return table.sort_values(keys, ignore_index=True)


def read(path, name):
    return pd.read_parquet(path / f"{name}.parquet")


def test_the_whole_path_leaves_every_file(tmp_path, small):
    watching = Watching()
    result = run_sweep(**small, output=tmp_path / "run", observer=watching)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= DERIVED | {"sweep.yaml", "environment.json", "journal.jsonl", "figures"}
    assert len(result.trials) == 16
    assert set(result.trials["state"]) == {"finished"}
    assert len(result.curves) == 16 * 5
    assert len(result.verdicts) == 16
    assert set(result.verdicts["context"]) == {"sweep"}
    assert len(result.configurations) == 8
    assert result.recommendation.answer
    assert "Train with" in str(result) or result.recommendation.region is None
    assert watching.seen[-1].n_done == 16
    assert sum(watching.seen[-1].classes.values()) == 16
    assert watching.seen[-1].fraction == pytest.approx(1.0)
    assert watching.stages == [
        "reading curves",
        "judging curves",
        "drawing figures",
        "writing the report",
    ]


def test_tables_on_disk_are_those_of_the_result(tmp_path, small):
    result = run_sweep(**small, output=tmp_path / "run")
    for name in ("trials", "curves", "configurations"):
        pd.testing.assert_frame_equal(
            read(tmp_path / "run", name), getattr(result, name), check_dtype=False
        )
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["sweepdiag"] == sweepdiag.__version__
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0] or (
        environment["packages"]["torch"] == torch.__version__
    )


def test_the_written_configuration_and_the_next_sweep_load(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    config = load_config(tmp_path / "run" / "sweep.yaml")
    assert config.epochs == 4
    following = load_config(tmp_path / "run" / "next_sweep.yaml")
    assert following.workload == "synthetic"
    assert following.output is None
    resolve_sweep(*resolve_config(path=tmp_path / "run" / "next_sweep.yaml"))


def test_a_sweep_that_is_too_short_to_judge_asks_for_one_that_is_not(tmp_path, small):
    result = run_sweep(**{**small, "epochs": 1}, output=tmp_path / "run")
    path = tmp_path / "run" / "next_sweep.yaml"
    assert load_config(path).epochs == 4
    following = run_sweep(config=path, seeds=1, output=tmp_path / "next")
    for findings, is_short in ((result.findings, True), (following.findings, False)):
        (budget,) = (finding for finding in findings if finding.code == "SD401")
        assert (budget.title == "Too few evaluations to judge") is is_short


def test_a_cause_in_the_data_is_the_answer_and_the_next_sweep_keeps_the_axes(tmp_path, small):
    data = {"n_train": 600, "n_validation": 300, "shuffled_labels": True}
    sweep = {**small, "workload_parameters": data, "seeds": 1, "epochs": 6}
    result = run_sweep(**sweep, output=tmp_path / "run")
    assert result.recommendation.region is None
    answer = result.recommendation.answer
    assert "labels have nothing to do with the inputs (SD305). Show ten" in answer
    following = load_config(tmp_path / "run" / "next_sweep.yaml")
    assert following.parameters == load_config(tmp_path / "run" / "sweep.yaml").parameters


def test_a_shorter_next_sweep_warms_up_for_the_same_share_of_it(small):
    config = load_config(options={**small, "epochs": 100, "schedule": {"warmup_epochs": 5}})
    shorter = Recommendation(
        answer="", region=None, stop_epochs=(), region_stop=None, next_parameters={},
        next_settings={"epochs": 4}, next_reasons=("Fewer epochs.",),
    )  # fmt: skip
    lines = _next_sweep(config, shorter).splitlines()
    assert lines[1] == "# Warm-up takes the same share of 4 epochs as of 100."
    assert "  warmup_epochs: 0.2" in lines


def test_the_same_sweep_gives_the_same_curves_in_other_packs(tmp_path, small):
    whole = run_sweep(**small, output=tmp_path / "a")
    small["execution"] = {"executor": "serial", "pack_size": 3}
    packed = run_sweep(**small, output=tmp_path / "b")
    pd.testing.assert_frame_equal(numbers(whole), numbers(packed), check_exact=True)


@pytest.mark.parametrize("after", [1, 7, 16])
def test_an_interrupted_sweep_resumes_to_the_same_curves(tmp_path, small, after):
    whole = run_sweep(**small, output=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(**small, output=tmp_path / "cut", observer=Interrupting(after))
    history, _ = RunFolder(tmp_path / "cut").read_history()
    done = {i for i, trial in history.trials.items() if trial.state == "finished"}
    resumed = resume_sweep(tmp_path / "cut")
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)
    attempts = resumed.trials.set_index("trial_id")["attempt"]
    assert (attempts[sorted(done)] == 1).all()  # nothing done is trained again
    assert set(resumed.trials["state"]) == {"finished"}


def test_points_of_an_interrupted_trial_are_kept_until_it_is_trained_again(tmp_path, small):
    with pytest.raises(KeyboardInterrupt):
        run_sweep(**small, output=tmp_path / "cut", observer=Interrupting(4))
    history, _ = RunFolder(tmp_path / "cut").read_history()
    assert sum(len(trial.rows) for trial in history.trials.values()) > 0


def test_a_complete_folder_is_left_as_it_is(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    watching = Watching()
    again = run_sweep(**small, output=tmp_path / "run", observer=watching)
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before
    assert watching.seen == []
    assert len(again.trials) == 16


def test_a_different_sweep_is_refused_and_replaced_only_when_asked(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    small["epochs"] = 2
    with pytest.raises(ConfigError, match=r"holds a different sweep \(epochs: 4 there, 2 here\)"):
        run_sweep(**small, output=tmp_path / "run")
    replaced = run_sweep(**small, output=tmp_path / "run", overwrite=True)
    assert replaced.curves["epoch"].max() == 2


def test_how_curves_are_judged_is_no_different_sweep(tmp_path, small):
    first = run_sweep(**small, output=tmp_path / "run")
    journal = (tmp_path / "run" / "journal.jsonl").read_bytes()
    ignoring = {**small, "diagnosis": {"ignore": ["SD501"]}, "monitor": "val_metric"}
    second = run_sweep(**ignoring, output=tmp_path / "run")
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == journal
    assert {f.code for f in first.findings} - {f.code for f in second.findings} == {"SD501"}
    assert second.diagnosis.data.monitor == "val_metric"
    assert resume_sweep(tmp_path / "run").diagnosis.data.monitor == "val_metric"
    stopping = {**small, "stop_early": True}
    run_sweep(**stopping, output=tmp_path / "other")
    limits = {"diagnosis": {"thresholds": {"seed_noise": 3.0}}}
    with pytest.raises(ConfigError, match="holds a different sweep"):
        run_sweep(**stopping, **limits, output=tmp_path / "other")


@pytest.mark.parametrize("damage", ["unknown key", "no configuration"])
def test_a_folder_that_cannot_be_read_is_replaced_when_asked(tmp_path, small, damage):
    run_sweep(**small, output=tmp_path / "run")
    (tmp_path / "run" / "figures" / "notes.txt").write_text("mine")
    configuration = tmp_path / "run" / "sweep.yaml"
    if damage == "unknown key":
        configuration.write_text(configuration.read_text() + "epochz: 3\n")
    else:
        configuration.unlink()
    small["epochs"] = 2
    with pytest.raises(ConfigError):
        run_sweep(**small, output=tmp_path / "run")
    replaced = run_sweep(**small, output=tmp_path / "run", overwrite=True)
    assert replaced.curves["epoch"].max() == 2
    assert (tmp_path / "run" / "figures" / "notes.txt").read_text() == "mine"


RECORDED = ["grad_norm", "update_ratio", "dead_fraction"]


def test_recording_changes_no_curve(tmp_path, small):
    without = numbers(run_sweep(**small, output=tmp_path / "without"))
    recorded = run_sweep(**small, record=["gradients"], output=tmp_path / "with")
    pd.testing.assert_frame_equal(
        numbers(recorded).drop(columns=RECORDED),
        without.drop(columns=RECORDED),
        check_exact=True,
    )
    assert without[RECORDED].isna().all(axis=None)
    stepped = recorded.curves[recorded.curves["epoch"] > 0]
    assert stepped[RECORDED].notna().all(axis=None)
    assert (stepped[["grad_norm", "update_ratio"]] > 0).all(axis=None)
    assert recorded.curves["dead_fraction"].between(0, 1).all()


def test_a_resumed_sweep_goes_on_recording(tmp_path, small):
    small["record"] = ["gradients"]
    whole = run_sweep(**small, output=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(**small, output=tmp_path / "cut", observer=Interrupting(7))
    resumed = resume_sweep(tmp_path / "cut")
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=False, rtol=1e-7)
    assert resumed.curves["dead_fraction"].notna().all()


def test_a_folder_records_all_of_its_trials_or_none(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    small["record"] = ["gradients"]
    with pytest.raises(ConfigError, match=r"record: \[\] there, \['gradients'\] here"):
        run_sweep(**small, output=tmp_path / "run")


def test_where_trials_run_is_no_different_sweep(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    small["execution"] = {"executor": "serial", "pack_size": 1}
    watching = Watching()
    run_sweep(**small, output=tmp_path / "run", observer=watching)
    assert watching.seen == []


def test_a_folder_with_something_else_is_refused(tmp_path, small):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and holds no sweep"):
        run_sweep(**small, output=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_tail_costs_only_what_it_held(tmp_path, small):
    whole = run_sweep(**small, output=tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-700])
    resumed = resume_sweep(tmp_path / "run")
    pd.testing.assert_frame_equal(numbers(whole), numbers(resumed), check_exact=True)


def test_a_journal_without_its_beginning_is_resumed_to_the_same_findings(tmp_path, small):
    whole = run_sweep(**small, output=tmp_path / "run")
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().split(b"\n", 1)[0][:-9])
    resumed = resume_sweep(tmp_path / "run")
    assert resumed.findings == whole.findings
    assert any(finding.code == "SD904" and finding.state == "passed" for finding in whole.findings)


def test_everything_derived_is_rebuilt_from_the_journal(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in DERIVED}
    for name in DERIVED:
        (tmp_path / "run" / name).unlink()
    from sweepdiag.pipeline import diagnose_folder

    diagnose_folder(RunFolder(tmp_path / "run"))
    for name in ("curves.parquet", "verdicts.parquet", "findings.json", "recommendation.json"):
        assert (tmp_path / "run" / name).read_bytes() == before[name], name


def test_a_file_of_the_users_own_is_swept_in_five_lines(tmp_path, my_workload):
    result = run_sweep(
        f"{my_workload}:build", output=tmp_path / "run", execution={"executor": "serial"}
    )
    assert len(result.configurations) == 8 * 2
    assert result.trials["capacity"].unique().tolist() == [4]


def test_changed_code_is_refused_until_accepted(tmp_path, my_workload):
    arguments = {"output": tmp_path / "run", "execution": {"executor": "serial"}}
    with pytest.raises(KeyboardInterrupt):
        run_sweep(f"{my_workload}:build", **arguments, observer=Interrupting(3))
    my_workload.write_text(my_workload.read_text() + "\n# a remark\n")
    with pytest.raises(
        ConfigError, match=r"my_workload\.py changed since .*--accept-changed-code"
    ):
        resume_sweep(tmp_path / "run")
    result = resume_sweep(tmp_path / "run", accept_changed_code=True)
    assert set(result.trials["state"]) == {"finished"}


def test_changed_data_are_another_sweep(tmp_path, my_workload):
    arguments = {"output": tmp_path / "run", "execution": {"executor": "serial"}}
    with pytest.raises(KeyboardInterrupt):
        run_sweep(f"{my_workload}:build", **arguments, observer=Interrupting(3))
    my_workload.write_text(my_workload.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    with pytest.raises(ConfigError, match="was planned with other data"):
        resume_sweep(tmp_path / "run", accept_changed_code=True)


def in_memory():
    x = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
    return Workload(
        name="in-memory",
        task="regression",
        train=(x, x.sum(dim=1)),
        model=lambda: torch.nn.Linear(5, 1),
        axes={"lr": [0.01, 0.1], "batch_size": [16]},
    )


def test_a_workload_made_in_python_is_swept_and_continued(tmp_path):
    arguments = {"output": tmp_path / "run", "epochs": 3, "execution": {"executor": "serial"}}
    result = run_sweep(in_memory(), **arguments)
    assert len(result.trials) == 2 * 3
    assert run_sweep(in_memory(), **arguments).path == result.path
    with pytest.raises(ConfigError, match="was made in Python"):
        resume_sweep(tmp_path / "run")


def test_streaming_changes_neither_trials_nor_curves(tmp_path):
    arrays = in_memory().train
    results = [
        run_sweep(
            dataclasses.replace(in_memory(), train=data),
            output=tmp_path / name,
            epochs=3,
            execution={"executor": "serial", "data_memory_gb": memory_gb},
        )
        for name, data, memory_gb in (
            ("held", torch.utils.data.TensorDataset(*arrays), None),
            ("streamed", torch.utils.data.TensorDataset(*arrays), 0),
            ("arrays", arrays, 0),
        )
    ]
    held, streamed, of_arrays = (
        result.curves.drop(columns=["seconds", "trial_id"]) for result in results
    )
    assert held.equals(streamed)
    assert held.equals(of_arrays)
    assert results[0].curves["trial_id"].equals(results[1].curves["trial_id"])


def test_a_training_loop_of_the_users_own_is_swept(tmp_path):
    path = tmp_path / "my_loop.py"
    path.write_text(
        textwrap.dedent("""
            def train(config, report):
                for epoch in range(config["epochs"] + 1):
                    loss = 1.0 / (1.0 + config["speed"] * epoch)
                    report(epoch=epoch, train_loss=loss, val_loss=loss + 0.01)
        """)
    )
    result = run_sweep(
        f"{path}:train",
        parameters={"speed": [0.5, 2.0]},
        seeds=1,
        epochs=6,
        output=tmp_path / "run",
        execution={"executor": "serial"},
    )
    assert result.curves.groupby("trial_id").size().tolist() == [7, 7]
    assert set(result.trials["state"]) == {"finished"}


def test_a_failed_trial_is_never_recommended(tmp_path):
    def model(flavour):
        if flavour == "bad":
            message = "no <b>such</b> flavour"
            raise ValueError(message)
        return torch.nn.Linear(5, 1)

    workload = dataclasses.replace(
        in_memory(),
        model=model,
        axes={"lr": [0.01], "batch_size": [16], "flavour": ["good", "bad"]},
    )
    result = run_sweep(
        workload, output=tmp_path / "run", epochs=6, execution={"executor": "serial"}
    )
    assert result.n_failed == 3
    assert result.trials["state"].value_counts().to_dict() == {"finished": 3, "failed": 3}
    region = result.recommendation.region
    assert region is not None
    bad = result.configurations.query("flavour == 'bad'")["config_id"].item()
    assert bad not in region.config_ids
    assert "<b>such" not in result.report.read_text()


def test_a_sweep_in_which_every_trial_fails_says_so(tmp_path):
    class Failing(torch.nn.Linear):
        def __init__(self, capacity):
            super().__init__(5, 1)
            self.capacity, self.n_calls = capacity, 0

        def forward(self, x):
            self.n_calls += 1
            if self.n_calls > 3:
                message = f"no capacity {self.capacity}"
                raise ValueError(message)
            return super().forward(x)

    workload = dataclasses.replace(
        in_memory(), model=Failing, axes={"lr": [0.01, 0.1], "batch_size": [16], "capacity": [4]}
    )
    result = run_sweep(
        workload,
        output=tmp_path / "run",
        epochs=2,
        execution={"executor": "serial", "max_failed_fraction": 1.0},
    )
    assert result.n_failed == len(result.trials)
    assert result.verdicts.empty
    (failed,) = [f for f in result.findings if f.code == "SD902"]
    assert failed.title == "Every trial failed"


def test_a_sweep_is_trained_if_one_of_the_models_that_are_tried_takes_a_step(tmp_path):
    def model(capacity):
        if capacity < 8:
            message = f"no capacity {capacity}"
            raise ValueError(message)
        return torch.nn.Linear(5, 1)

    def swept(*capacities):
        workload = dataclasses.replace(
            in_memory(),
            model=model,
            axes={"lr": [0.01], "batch_size": [16], "capacity": list(capacities)},
        )
        path = tmp_path / str(capacities)
        return run_sweep(workload, output=path, epochs=1, execution={"executor": "serial"})

    assert swept(4, 8).n_failed == 3
    with pytest.raises(WorkloadError, match=r"(?s)each of 2 .*capacity=2: .*no capac"):
        swept(4, 6, 2)
    assert not (tmp_path / "(4, 6, 2)").exists()


@pytest.mark.parametrize(
    ("workload", "why"),
    [
        (TrainLoop(name="loop", function=lambda c, r: None, axes={"lr": [1.0]}), "nobody says of"),
        (None, "the workload has no metric"),
    ],
)
def test_a_metric_without_a_direction_cannot_be_monitored(tmp_path, workload, why):
    workload = workload or dataclasses.replace(in_memory(), metric=None)
    with pytest.raises(ConfigError, match=f"monitor must be val_loss for workload .*: {why}"):
        run_sweep(workload, output=tmp_path / "run", monitor="val_metric")
    assert not (tmp_path / "run").exists()


def test_quasi_random_points_are_swept(tmp_path, small):
    small["parameters"] = {
        "lr": {"min": 1e-3, "max": 1.0},
        "batch_size": [16, 32],
        "capacity": {"min": 4, "max": 32},
    }
    result = run_sweep(**small, sampler="qmc", n_configurations=8, output=tmp_path / "run")
    assert len(result.configurations) == 8
    assert result.trials["capacity"].dtype == int
    assert result.trials["lr"].nunique() == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": {"learning_rate": [0.1]}}, "unknown axis 'learning_rate'"),
        ({"parameters": {"batch_size": [4096]}}, r"batch_size must be .* \[1, 96\].*got 4096"),
        ({"diagnosis": {"thresholds": {"no_such": 1.0}}}, "no_such"),
        ({"workload": "digit"}, "unknown workload 'digit'. Did you mean 'digits'"),
        ({"workload_parameters": {"n_trian": 5}}, "n_trian.*n_train"),
    ],
)
def test_mistakes_are_refused_before_anything_is_written(tmp_path, small, change, message):
    with pytest.raises(ConfigError, match=message):
        run_sweep(**{**small, **change}, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_model_argument_is_named(tmp_path):
    workload = dataclasses.replace(in_memory(), model=lambda width: torch.nn.Linear(5, width))
    with pytest.raises(
        ConfigError, match=r"needs 'width', and no axis has that name.*parameters\.width"
    ):
        run_sweep(workload, output=tmp_path / "run")


@pytest.mark.ray
def test_serial_and_ray_give_the_same_bits(tmp_path, small, monkeypatch):
    serial = run_sweep(**small, output=tmp_path / "serial")
    small["execution"] = {"executor": "ray", "workers": 2, "pack_size": 3}
    with_ray = run_sweep(**small, output=tmp_path / "ray")
    pd.testing.assert_frame_equal(numbers(serial), numbers(with_ray), check_exact=True)
    monkeypatch.setenv("SWEEPDIAG_FAKE_GPUS", "2")
    small["execution"] = {"gpus": 2}
    with_gpus = run_sweep(in_memory(), output=tmp_path / "gpus", epochs=3, execution={"gpus": 2})
    alone = run_sweep(in_memory(), output=tmp_path / "alone", epochs=3, execution={"gpus": 0})
    pd.testing.assert_frame_equal(numbers(alone), numbers(with_gpus), check_exact=True)
    assert "fake" in json.loads((tmp_path / "gpus" / "environment.json").read_text())["devices"]


def test_more_gpus_than_there_are_is_an_error_at_once(tmp_path, small):
    small["execution"] = {"gpus": 4096}
    with pytest.raises(sweepdiag.LaunchError, match="--gpus 4096 asks for 4096 GPUs"):
        run_sweep(**small, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_sweep_that_is_being_written_is_not_overwritten(tmp_path, small):
    run_sweep(**small, output=tmp_path / "run")
    before = (tmp_path / "run" / "journal.jsonl").read_bytes()
    small["epochs"] = 2
    with (
        RunFolder(tmp_path / "run").open_journal(),
        pytest.raises(sweepdiag.StoreError, match="is being written by another sweepdiag"),
    ):
        run_sweep(**small, output=tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == before


def test_overwrite_replaces_a_sweep_of_other_data(tmp_path, my_workload):
    arguments = {"output": tmp_path / "run", "execution": {"executor": "serial"}}
    run_sweep(f"{my_workload}:build", **arguments)
    my_workload.write_text(my_workload.read_text().replace("manual_seed(0)", "manual_seed(1)"))
    replaced = run_sweep(f"{my_workload}:build", **arguments, overwrite=True)
    assert set(replaced.trials["attempt"]) == {1}


def test_data_that_change_from_build_to_build_are_refused(tmp_path, small):
    resolved = resolve_sweep(*resolve_config(options=small))
    worker = dataclasses.replace(resolved.worker, prepared=None, fingerprint="another")
    with pytest.raises(sweepdiag.WorkloadError, match="gives other data each time it is built"):
        worker.estimate_seconds([], device="cpu")


def test_settings_that_nobody_reads_do_not_change_a_trial(small):
    def ids(**changes):
        plan = resolve_sweep(*resolve_config(options={**small, **changes})).plan
        return [trial.trial_id for trial in plan.trials]

    base = ids()
    assert ids(loss="cross_entropy") == base
    assert ids(schedule={"step_epochs": 3.0}) == base
    assert ids(record=["gradients"]) == base
    assert ids(optimizer={"beta1": 0.5}) == base
    assert ids(optimizer={"momentum": 0.5}) != base
    assert ids(schedule={"name": "cosine"}) != base
    assert ids(epochs=5) != base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parameters": {"momentum": [0.1, 0.9]}, "optimizer": {"name": "adam"}},
            "axis 'momentum' belongs to the optimizer sgd, and optimizer is adam",
        ),
    ],
)
def test_an_axis_that_changes_nothing_is_refused(tmp_path, small, change, message):
    with pytest.raises(ConfigError, match=message):
        run_sweep(**{**small, **change}, output=tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["optimizer.name=adam", "optimizer.momentum=0.5"],
            "momentum=0.5 is not read: it belongs to sgd, and optimizer.name is adam",
        ),
        (
            ["schedule.step_epochs=3"],
            "step_epochs=3.0 is not read: it belongs to step, and schedule.name is constant",
        ),
        (["optimizer.name=adam", "optimizer.momentum=0.9"], None),  # as --print-config gives it
        (["optimizer.name=adamw", "optimizer.beta1=0.5"], None),
    ],
)
def test_a_setting_that_changes_nothing_is_told(overrides, message, caplog):
    resolve_config("digits", overrides=overrides)
    told = [record.getMessage().partition(".")[2] for record in caplog.records]
    assert told == ([message] if message else [])


def test_resuming_from_another_folder_says_where_to_go(tmp_path, my_workload, monkeypatch):
    monkeypatch.chdir(my_workload.parent)
    arguments = {"output": tmp_path / "run", "execution": {"executor": "serial"}}
    with pytest.raises(KeyboardInterrupt):
        run_sweep("my_workload.py:build", **arguments, observer=Interrupting(3))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with pytest.raises(ConfigError, match=r"is relative to .*, where the sweep was begun: resume"):
        resume_sweep(tmp_path / "run")
    monkeypatch.chdir(my_workload.parent)
    assert set(resume_sweep(tmp_path / "run").trials["state"]) == {"finished"}


def test_hopeless_trainings_end_early_and_the_others_stay_as_they_are(small, tmp_path):
    sweep = {**small, "epochs": 12, "parameters": {"lr": [1e-6, 0.1, 1e6], "batch_size": [32]}}
    whole = run_sweep(**sweep, output=tmp_path / "whole")
    stopped = run_sweep(**sweep, output=tmp_path / "stopped", stop_early=True)
    states = stopped.trials.set_index("trial_id")["state"]
    ended = states.index[states == "stopped"]
    assert set(stopped.trials.set_index("trial_id").loc[ended, "lr"]) == {1e-6, 1e6}
    reasons = stopped.trials.set_index("trial_id").loc[ended, "reason"]
    assert reasons.str.match("(diverging|not_learning): ").all()
    columns = ["trial_id", "step", "train_loss", "val_loss"]
    both = stopped.curves[columns].merge(whole.curves[columns], how="left", indicator=True)
    assert (both["_merge"] == "both").all()
    assert len(both) < len(whole.curves)
    verdicts = [run.verdicts.set_index("trial_id")["verdict"] for run in (whole, stopped)]
    assert (verdicts[0] == verdicts[1]).all()
    assert f"{len(ended)} ended early" in str(stopped)
    again = run_sweep(**sweep, output=tmp_path / "stopped", stop_early=True)
    assert len(again.curves) == len(stopped.curves)


def test_hopeless_trials_of_a_loop_of_ones_own_end_early(tmp_path):
    def loop(config, report):
        for epoch in range(config["epochs"] + 1):
            loss = 1.0 + config["lr"] ** epoch if epoch < 3 or config["lr"] < 1 else math.nan
            report(epoch=epoch, train_loss=loss, val_loss=loss + 0.1)

    sweep = {"parameters": {"lr": [0.8, 5.0]}, "seeds": 1, "epochs": 20}
    loop = TrainLoop(name="mine", function=loop)
    whole = run_sweep(loop, **sweep, output=tmp_path / "whole")
    stopped = run_sweep(loop, **sweep, stop_early=True, output=tmp_path / "stopped")
    trials = stopped.trials.set_index("lr")
    assert trials["state"].to_dict() == {0.8: "finished", 5.0: "stopped"}
    assert trials.loc[5.0, "reason"].startswith("diverging: ")
    columns = ["trial_id", "epoch", "val_loss"]
    both = stopped.curves[columns].merge(whole.curves[columns], how="left", indicator=True)
    assert (both["_merge"] == "both").all()
    assert len(both) < len(whole.curves)
    verdicts = [run.verdicts.set_index("trial_id")["verdict"] for run in (whole, stopped)]
    assert (verdicts[0] == verdicts[1]).all()


def centre_distance(embeddings, classes):
    """Pull each embedding towards the mean of its class."""
    centres = torch.stack([embeddings[classes == c].mean(0) for c in classes])
    return (embeddings - centres).square().mean() + (embeddings.var(0) - 1.0).square().mean()


@pytest.mark.parametrize("width", [2, 5])
def test_embeddings_have_no_accuracy_that_a_finding_could_rest_on(tmp_path, width, caplog):
    generator = torch.Generator().manual_seed(0)
    inputs, classes = torch.randn(90, 4, generator=generator), torch.arange(90) % 3
    workload = Workload(
        name="embedding",
        train=(inputs + classes[:, None], classes),
        model=lambda: torch.nn.Linear(4, width),
        loss=centre_distance,
        axes={"lr": [0.01, 0.1], "batch_size": [24]},
        settings={"epochs": 5, "seeds": 2},
    )
    result = run_sweep(workload, output=tmp_path / "run")
    assert set(result.trials["state"]) == {"finished"}
    assert result.curves["val_metric"].isna().all()
    assert "SD903" not in {f.code for f in result.findings if f.state == "finding"}
    assert f"one output per class, 3 of them, and outputs of a sample have shape ({width},)" in (
        caplog.text
    )
    with pytest.raises(ConfigError, match="monitor must be val_loss, since no metric is measured"):
        run_sweep(workload, monitor="val_metric", output=tmp_path / "by_metric")

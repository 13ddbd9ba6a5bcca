import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sweepdiag.errors import ConfigError, ReaderError
from sweepdiag.readers import MARKER, read_curves
from tests.readers import samples


def frame(**columns):
    return pd.DataFrame(columns)


def test_rows_in_any_order_become_sorted_curves():
    reading = read_curves(
        frame(run=["b", "a", "b", "a"], epoch=[1, 1, 0, 0], train_loss=[1.0, 2, 3, 4])
    )
    assert reading.curves["trial_id"].tolist() == ["b", "b", "a", "a"]
    assert reading.curves["train_loss"].tolist() == [3, 1, 4, 2]
    assert reading.curves["val_loss"].isna().all()


def test_of_rows_that_repeat_each_other_the_last_counts():
    reading = read_curves(
        frame(run=["a"] * 4, epoch=[0, 1, 1, 2], train_loss=[3.0, 2, 1, 0], val_loss=[1.0] * 4)
    )
    assert reading.curves["train_loss"].tolist() == [3, 1, 0]
    (problem,) = reading.problems.listed
    assert (problem.line, problem.value) == (2, "a, epoch 1")
    assert problem.expected == "row left out: a later row is the same point"


@pytest.mark.parametrize("empty", [np.nan, None])
def test_a_column_without_any_value_is_a_loss_that_was_never_measured(empty):
    reading = read_curves(
        frame(epoch=[1, 2, 3, 4], loss=[1.0, 0.5, 0.4, 0.3], val_loss=[empty] * 4)
    )
    assert reading.curves["train_loss"].tolist() == [1.0, 0.5, 0.4, 0.3]
    assert reading.curves["val_loss"].isna().all()


@pytest.mark.parametrize("word", ["none", "null", "NA", "-"])
def test_words_for_nothing_are_missing_among_numbers_and_values_among_texts(tmp_path, word):
    rows = [f"{run},{epoch},1,{settings}"
            for run, settings in (("a", f"{word},{word}"), ("b", "cosine,0.9"))
            for epoch in (1, 2)]  # fmt: skip
    text = "\n".join(["run,epoch,loss,schedule,momentum", *rows])
    (tmp_path / "runs.csv").write_text(text)
    runs = read_curves(tmp_path / "runs.csv", with_attributes=True).runs
    assert runs["schedule"].tolist() == [word, "cosine"]
    assert math.isnan(runs["momentum"][0])
    assert runs["momentum"][1] == 0.9


def test_several_runs_of_one_name_are_refused():
    with pytest.raises(ReaderError, match=r"runs seem to share the name 'a'.*--columns run="):
        read_curves(frame(run=["a"] * 4, epoch=[0, 0, 1, 1], val_loss=[1.0, 2, 3, 4]))


def test_keras_files_name_their_runs(tmp_path):
    (tmp_path / "lr=0.3.csv").write_text(samples.KERAS)
    (tmp_path / "lr=1e4.csv").write_text(samples.KERAS_DIVERGED)
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["lr=0.3", "lr=1e4"]
    columns = reading.columns[0][1]
    assert (columns.train_loss, columns.val_metric) == ("loss", "val_accuracy")
    # Never finite is not the same as never measured.
    assert np.isinf(reading.curves["train_loss"][3:]).all()


def test_lightning_rows_of_one_epoch_become_one_point(tmp_path):
    for version in ("version_0", "version_1"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "metrics.csv").write_bytes(samples.lightning(12))
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["version_0", "version_1"]
    first = reading.curves[reading.curves["trial_id"] == "version_0"]
    assert first["epoch"].tolist() == list(range(12))
    assert first["train_loss"].tolist() == [1 / (epoch + 1) for epoch in range(12)]
    assert first["val_loss"].notna().all()
    assert first["val_metric"].notna().all()
    assert reading.problems.count == 0


def test_training_losses_within_an_epoch_are_averaged():
    rows = [(epoch, 10 * epoch + k, 1.0 + k, math.nan) for epoch in range(6) for k in range(3)]
    rows += [(epoch, 10 * epoch + 2, math.nan, 0.5) for epoch in range(6)]
    table = pd.DataFrame(rows, columns=["epoch", "step", "train_loss", "val_loss"])
    reading = read_curves(table)
    assert reading.axis == "epoch"
    assert reading.curves["train_loss"].tolist() == [2.0] * 6
    assert reading.curves["val_loss"].tolist() == [0.5] * 6
    assert any("mean of what was logged" in note for note in reading.notes)


def test_validation_within_an_epoch_makes_steps_the_axis():
    steps = np.arange(40)
    table = frame(epoch=steps // 4, step=steps * 10, val_loss=1 / (1 + steps))
    reading = read_curves(table)
    assert reading.axis == "step"
    assert reading.curves["epoch"].tolist() == (steps * 10).tolist()


@pytest.mark.parametrize("layout", ["run", "checkpoints", "history"])
def test_hugging_face_states(tmp_path, layout):
    if layout == "history":
        path = tmp_path / "run-a" / "history.json"
        samples.trainer_state(path, 8)
        path.write_text(json.dumps(json.loads(path.read_text())["log_history"]))
    elif layout == "run":
        samples.trainer_state(tmp_path / "run-a" / "trainer_state.json", 8)
    else:
        for done in (900, 1000, 1600):
            path = tmp_path / "run-a" / f"checkpoint-{done}" / "trainer_state.json"
            samples.trainer_state(path, done // 200, is_done=False)
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["run-a"]
    curves = reading.curves
    assert curves["epoch"].tolist() == [float(epoch) for epoch in range(1, 9)]
    assert curves["val_loss"].tolist() == [round(2.1 / epoch, 4) for epoch in range(1, 9)]
    assert curves["train_loss"].notna().all()
    assert curves["train_loss"].max() < 99  # the summary's mean is no loss of an epoch


def test_ray_tune_is_read_from_its_results(tmp_path):
    for i, lr in enumerate((0.01, 0.1)):
        samples.ray_tune(tmp_path / f"f_{i}_lr={lr}", f"ab{i}", lr, 10)
    reading = read_curves(tmp_path, with_attributes=True)
    assert reading.runs["trial_id"].tolist() == ["ab0", "ab1"]
    assert reading.runs["config/lr"].tolist() == [0.01, 0.1]
    assert all(file.endswith("result.json") for file in reading.files)
    csv_only = read_curves(tmp_path / "f_0_lr=0.01" / "progress.csv")
    assert csv_only.curves["val_loss"].tolist() == reading.curves["val_loss"][:10].tolist()


def test_a_chart_of_weights_and_biases_is_melted(tmp_path):
    (tmp_path / "val.csv").write_text(
        '"Step","glad-sun-1 - val_loss","glad-sun-1 - val_loss__MIN","glad-sun-1 - val_loss__MAX",'
        '"dry-oak - 2 - val_loss"\n"0","1.0","0.9","1.1","2.0"\n"1","0.5","0.4","0.6",""\n'
    )
    (tmp_path / "train.csv").write_text(
        '"Step","glad-sun-1 - train_loss","dry-oak - 2 - train_loss"\n'
        '"0","1.5","2.5"\n"1","1","2"\n'
    )
    curves = read_curves(tmp_path).curves.set_index(["trial_id", "epoch"])
    assert curves["val_loss"].dropna().to_dict() == {
        ("glad-sun-1", 0): 1.0, ("glad-sun-1", 1): 0.5, ("dry-oak - 2", 0): 2.0,
    }  # fmt: skip
    assert curves["train_loss"]["dry-oak - 2", 0] == 2.5


def test_intermediate_values_of_a_study_come_as_a_frame():
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for _ in range(3):
        trial = study.ask({"lr": optuna.distributions.FloatDistribution(1e-4, 1, log=True)})
        for step in range(6):
            trial.report(trial.params["lr"] / (step + 1), step)
        study.tell(trial, trial.params["lr"])
    table = pd.DataFrame(
        {"trial": trial.number, "step": step, "val_loss": value, **trial.params}
        for trial in study.trials
        for step, value in trial.intermediate_values.items()
    )
    reading = read_curves(table, with_attributes=True)
    assert reading.runs["trial_id"].tolist() == ["0", "1", "2"]
    assert reading.runs["lr"].tolist() == [trial.params["lr"] for trial in study.trials]


def test_a_history_in_json_and_lines_of_json(tmp_path):
    (tmp_path / "history.json").write_text(json.dumps({"loss": [3, 0, 1], "val_loss": [3, 2, 1]}))
    reading = read_curves(tmp_path / "history.json")
    assert reading.curves["epoch"].tolist() == [1, 2, 3]
    assert reading.curves["train_loss"].tolist() == [3, 0, 1]
    lines = '{"run": "x", "epoch": 0, "loss": NaN}\n{"run": "x", "epoch": 1, "lo\n[1]\n'
    (tmp_path / "log.jsonl").write_text(lines)
    reading = read_curves(tmp_path / "log.jsonl")
    assert [problem.line for problem in reading.problems.listed] == [2, 3]


def test_a_table_of_runs_says_more_about_them(tmp_path):
    curves = frame(run_id=[1, 1, 2, 2], epoch=[0, 1, 0, 1], val_loss=[1.0, 2, 3, 4])
    curves.to_parquet(tmp_path / "curves.parquet")
    (tmp_path / "runs.csv").write_text("run_id,lr,optimizer\n2,0.1,adam\n1,0.01,sgd\n3,1,sgd\n")
    runs = read_curves(tmp_path, with_attributes=True).runs
    assert runs["lr"].tolist() == [0.01, 0.1]
    assert runs["optimizer"].tolist() == ["sgd", "adam"]


def test_runs_of_one_name_in_two_files_are_two_runs_unless_they_fit_together(tmp_path):
    for name, column in (("a", "train_loss"), ("b", "val_loss")):
        frame(run=["x", "x"], epoch=[0, 1], **{column: [1.0, 2.0]}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    assert read_curves(tmp_path).runs["trial_id"].tolist() == ["x"]
    frame(run=["x", "x"], epoch=[0, 1], val_loss=[5.0, 6.0]).to_csv(
        tmp_path / "c.csv", index=False
    )
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["a/x", "b/x", "c/x"]
    assert "several files are several runs" in reading.notes[0]


def test_gaps_stand_for_nan_only_where_rows_are_whole():
    whole = read_curves(
        frame(
            run=["a"] * 4,
            epoch=range(4),
            train_loss=[1, 2, None, None],
            val_loss=[1, 2, None, None],
        )
    )
    assert len(whole.curves) == 4
    apart = read_curves(
        frame(
            run=["a"] * 4,
            epoch=range(4),
            train_loss=[1, None, 3, 4],
            val_loss=[1, None, None, 4],
        )
    )
    assert apart.curves["epoch"].tolist() == [0, 2, 3]


def test_the_row_of_a_test_after_training_is_no_point():
    names = {"epoch": range(5), "train_loss": [4, 3, 2, 1, None]}
    alone = read_curves(frame(**names, test_acc=[None] * 4 + [0.9]))
    assert alone.curves["epoch"].tolist() == [0, 1, 2, 3]
    validated = read_curves(frame(**names, val_loss=[4, 3, 2, 2, None], test_acc=[None] * 4 + [1]))
    assert validated.curves["epoch"].tolist() == [0, 1, 2, 3]
    # Where a test comes with each epoch, the row without losses stands for NaN.
    throughout = read_curves(frame(**names, test_acc=[0.5, 0.6, 0.7, 0.8, 0.1]))
    assert throughout.curves["epoch"].tolist() == [0, 1, 2, 3, 4]


def test_rows_of_other_things_than_the_curve_are_no_points(tmp_path):
    names = {"epoch": range(5), "train_loss": [4, 3, 2, 1, None]}
    by_loss = read_curves(frame(**names, val_loss=[4, 3, 2, 2, None], test_loss=[None] * 4 + [2]))
    assert by_loss.curves["epoch"].tolist() == [0, 1, 2, 3]
    unnamed = read_curves(frame(**names, **{"val/rmse": [None] * 4 + [0.3]}))
    assert unnamed.curves["epoch"].tolist() == [0, 1, 2, 3]
    file = tmp_path / "history.csv"
    file.write_text("epoch,train_loss,lr,runtime\n0,4,0.1,\n1,3,0.1,\n2,2,0.1,\n2,,,17.5\n")
    assert read_curves(file).curves["train_loss"].tolist() == [4, 3, 2]
    file.write_text("epoch,train_loss,lr,runtime\n0,4,0.1,\n1,,0.1,\n2,,0.1,\n2,,,17.5\n")
    assert read_curves(file).curves["train_loss"].isna().tolist() == [False, True, True]


def test_a_row_that_lacks_the_learning_rate_of_all_losses_is_no_point():
    names = {"step": range(4), "train_loss": [4, 3, 2, None], "time": [1, 2, 3, 4]}
    closing = read_curves(frame(**names, learning_rate=[0.1, 0.1, 0.1, None]))
    assert closing.curves["train_loss"].tolist() == [4, 3, 2]
    diverged = read_curves(frame(**names, learning_rate=[0.1, 0.1, 0.1, 0.1]))
    assert diverged.curves["train_loss"].isna().tolist() == [False, False, False, True]


def test_lines_of_json_are_known_whatever_the_file_is_called(tmp_path):
    lines = [f'{{"epoch": {i}, "train_loss": {3 - i}, "test_loss": [{4 - i}]}}' for i in range(3)]
    (tmp_path / "log.txt").write_text("\n".join(lines))
    for source in (tmp_path / "log.txt", tmp_path):
        curves = read_curves(source).curves
        assert curves["train_loss"].tolist() == [3, 2, 1]
        assert curves["val_loss"].tolist() == [4, 3, 2]


def test_metrics_without_losses_stand_for_nan_only_where_they_come_with_losses():
    names = {"epoch": range(4), "train_loss": [4, 3, None, None], "val_loss": [4, 3, None, None]}
    diverged = read_curves(frame(**names, val_accuracy=[0.5, 0.6, 0.1, 0.1])).curves
    assert diverged["train_loss"].isna().tolist() == [False, False, True, True]
    apart = read_curves(frame(**names, val_accuracy=[None, None, None, 0.9])).curves
    assert apart["epoch"].tolist() == [0, 1]


def test_a_curve_ends_where_its_losses_were_measured():
    train = [5.0, 4, 3, 2, 1, None]
    both = read_curves(frame(epoch=range(6), train_loss=train, val_loss=[5, 4, 3, 3, 3, 3]))
    assert both.curves["epoch"].tolist() == [0, 1, 2, 3, 4]
    assert "1 run ended early: the last points have no train_loss" in both.notes
    once = read_curves(
        frame(epoch=range(6), train_loss=[5, *[None] * 5], val_loss=[5, 4, 3, 3, 3, 3])
    )
    assert once.curves["val_loss"].tolist() == [5, 4, 3, 3, 3, 3]
    assert once.curves["train_loss"].isna().all()
    assert "train_loss of 1 run is left out: it ends long before the other loss" in once.notes
    logged_as_nan = read_curves(
        frame(epoch=range(3), train_loss=[5, 4, "nan"], val_loss=[5.0, 4, 3])
    )
    assert len(logged_as_nan.curves) == 3


def test_a_folder_is_read_without_hidden_files_and_earlier_diagnoses(tmp_path):
    (tmp_path / "a.csv").write_text(samples.KERAS)
    (tmp_path / "notes.csv").write_text("who,what\nme,tea\n")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / MARKER).write_text("{}")
    (tmp_path / "old" / "curves.csv").write_text(samples.KERAS)
    (tmp_path / ".hidden.csv").write_text(samples.KERAS)
    reading = read_curves(tmp_path)
    assert reading.files == ("a.csv",)
    assert [p.file for p in reading.problems.listed] == ["notes.csv"]


def test_damaged_and_unknown_files_are_refused(tmp_path):
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ReaderError, match=r"broken\.parquet cannot be read as Parquet"):
        read_curves(broken)
    (tmp_path / "x.json").write_text("[" * 100_000)
    with pytest.raises(ReaderError, match="cannot be read as JSON"):
        read_curves(tmp_path / "x.json")
    (tmp_path / "model.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ReaderError, match=r"expected a file that ends in \.csv"):
        read_curves(tmp_path / "model.pkl")
    with pytest.raises(ReaderError, match="does not exist"):
        read_curves(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="unknown column for --group-by 'task'"):
        read_curves(frame(epoch=[0], val_loss=[1.0]), group_by="task")


def test_settings_that_stand_only_in_some_rows_of_a_run_split_no_run():
    reading = read_curves(
        frame(
            run=["a", "a", "a", "b", "b", "b"],
            epoch=[0, 1, 2] * 2,
            val_loss=[3.0, 2, 1] * 2,
            data=["x", None, None, None, "y", None],
        ),
        group_by="data",
    )
    assert reading.runs["trial_id"].tolist() == ["a", "b"]
    assert reading.runs["data"].tolist() == ["x", "y"]


def test_one_run_name_in_two_groups_stands_for_two_runs_also_with_gaps():
    reading = read_curves(
        frame(
            run=["a"] * 6,
            epoch=[0, 1, 2] * 2,
            val_loss=[3.0, 2, 1] * 2,
            data=["x", None, None, "y", None, None],
        ),
        group_by="data",
    )
    assert reading.runs["trial_id"].tolist() == ["x/a", "y/a"]


def test_a_column_that_numbers_the_rows_names_no_runs():
    table = frame(id=range(20), epoch=range(20), val_loss=np.linspace(2, 1, 20))
    with pytest.raises(ReaderError, match=r"column 'id'.* differs in every row.*--columns run="):
        read_curves(table)
    assert len(read_curves(table, columns={"run": ""}).runs) == 1


def test_a_column_of_lists_is_read_as_text():
    reading = read_curves(
        frame(
            run=["a"] * 3,
            epoch=[0, 1, 2],
            val_loss=[3.0, 2, 1],
            scores=[np.array([1.0, 2.0])] * 3,
        ),
        with_attributes=True,
    )
    assert reading.runs["scores"].tolist() == ["[1. 2.]"]


def test_lines_of_json_are_read_whatever_the_file_is_called(tmp_path):
    lines = '{}\n{"iteration": 19, "total_loss": 2.0}\n{"iteration": 39, "total_loss": 1.5}\n'
    (tmp_path / "metrics.json").write_text(lines)
    reading = read_curves(tmp_path / "metrics.json")
    assert reading.curves["train_loss"].tolist() == [2.0, 1.5]
    assert reading.problems.count == 0


@pytest.mark.parametrize(
    "content",
    [
        {"epochs": [{"epoch": i, "loss": 3 - i, "val_loss": i} for i in (1, 2, 3)], "best": 0.5},
        {"backbone": "B0", "classes": ["a", "b"], "loss": [2, 1, 0], "val_loss": [1, 2, 3],
         "test_loss": 7.5},
        {"args": {"lr": 0.1}, "history": {"loss": [2, 1, 0], "val_loss": [1, 2, 3]}},
        {"result": {"train": {"loss": [2, 1, 0]}, "val": {"loss": [1, 2, 3]}}},
    ],
    ids=["records", "beside", "deeper", "parts"],
)  # fmt: skip
def test_lists_in_json_may_lie_deeper_and_beside_other_things(tmp_path, content):
    (tmp_path / "log.json").write_text(json.dumps(content))
    curves = read_curves(tmp_path / "log.json").curves
    assert curves["epoch"].tolist() == [1, 2, 3]
    assert curves["train_loss"].tolist() == [2, 1, 0]
    assert curves["val_loss"].tolist() == [1, 2, 3]


def test_of_the_text_and_json_of_a_folder_only_logs_are_read(tmp_path):
    (tmp_path / "a.log").write_text(samples.KERAS)
    (tmp_path / "printed").mkdir()
    text = "step 0: train loss 4.4, val loss 4.4\nbye\n"
    (tmp_path / "printed" / "stdout.log").write_text(text)
    (tmp_path / "notes.txt").write_text("loss\n")
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.9}')
    (tmp_path / "det").mkdir()
    lines = '{"epoch": 1, "total_loss": 2}\n{"epoch": 2, "total_loss": 1}\n'
    (tmp_path / "det" / "metrics.json").write_text(lines)
    with pytest.raises(ReaderError, match=r"no \.txt or \.log file with losses"):
        read_curves(tmp_path / "printed")
    reading = read_curves(tmp_path)
    assert reading.files == ("a.log", "det/metrics.json")
    assert reading.problems.count == 0


def printed_log(n=4):
    return "".join(f"Epoch {e}: train loss {4 / e}, val loss {5 / e}\n" for e in range(1, n + 1))


def test_printed_logs_of_a_folder_are_read(tmp_path):
    texts = {
        "a/files/output.log": printed_log(4),
        "b/files/output.log": "x" * 400_000 + "\n" + printed_log(5) + "done\n",
        "c/files/output.log": "Traceback: loss is 9\n",  # crashed
        "requirements.txt": "torch==2.0\n",
        "README.txt": "The loss of an epoch is printed.\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["a/files", "b/files"]
    assert reading.curves.groupby("trial_id")["epoch"].max().tolist() == [4, 5]
    assert reading.problems.count == 0
    assert [note.split(": ")[0] for note in reading.notes] == ["a/files/output.log and 1 like it"]


@pytest.mark.parametrize(
    ("table", "content", "log", "is_read"),
    [
        ("metrics.csv", samples.KERAS, "train.log", False),
        ("metrics.csv", "loss,val_loss\n2,3\n1,2\n", "train.log", False),
        ("metrics.csv", samples.KERAS, "logs/train.log", False),
        ("version_0/metrics.csv", samples.KERAS, "train.log", False),
        ("summary.csv", "run,val_loss\na,3\nb,2\n", "a/train.log", True),
        ("predictions.csv", "target,guess\n1,2\n", "train.log", True),
        ("metrics.json", '{"val_loss": 1}', "train.log", True),
        ("metrics.json", '{"epoch": 1, "loss": 1}\n{"epoch": 2, "loss": 1}\n', "log.txt", False),
    ],
)
def test_a_printed_log_is_left_out_where_another_has_its_losses(
    tmp_path, table, content, log, is_read
):
    for name, text in ((table, content), (log, printed_log())):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert (log in read_curves(tmp_path).files) == is_read


def test_files_of_one_epoch_each_are_one_run(tmp_path):
    for epoch in range(12):
        record = {"epoch": epoch, "training_loss": 20 - epoch, "validation_loss": 30 - epoch}
        record |= {"best_epoch": epoch, "best_validation_loss": 30 - epoch}
        path = tmp_path / "tagger" / f"metrics_epoch_{epoch}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record, indent=2))
    (tmp_path / "tagger" / "metrics.json").write_text(json.dumps(record))
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["tagger"]
    assert reading.files == ("tagger/metrics_epoch_*.json",)
    assert reading.curves["epoch"].tolist() == list(range(12))
    assert reading.curves["train_loss"].tolist() == list(range(20, 8, -1))
    assert reading.problems.count == 0
    path.write_text("{")
    damaged = read_curves(tmp_path)
    assert damaged.curves["epoch"].tolist() == list(range(11))
    assert "metrics_epoch_11.json" in str(damaged.problems.listed[0])


def test_a_test_loss_after_training_leaves_the_curve_as_it_is():
    nan = math.nan
    reading = read_curves(
        frame(
            epoch=[0, 0, 1, 1, 2, 2, 3],
            step=[5, 9, 15, 19, 25, 29, 30],
            train_loss=[4.0, 4, 3, 3, 2, 2, nan],
            test_loss=[nan] * 6 + [2.5],
            test_acc=[nan] * 6 + [0.5],
        )
    )
    assert reading.curves["train_loss"].tolist() == [4, 3, 2]
    assert reading.curves["val_loss"].isna().all()
    assert any("logged once, at the end" in note for note in reading.notes)


def test_a_test_loss_of_every_epoch_is_a_validation_loss():
    reading = read_curves(frame(epoch=[0, 1], train_loss=[4.0, 3], test_loss=[5.0, 4]))
    assert reading.curves["val_loss"].tolist() == [5, 4]


def test_training_losses_that_are_sums_are_told():
    epochs, val = range(4), [2.0, 1.5, 1.2, 1.0]
    summed = read_curves(frame(epoch=epochs, train_loss=[800, 700, 600, 500], val_loss=val))
    assert "training losses of 1 run are about 483 times those of validation" in summed.notes[-1]
    assert not read_curves(frame(epoch=epochs, train_loss=[9, 7, 6, 5], val_loss=val)).notes


def test_a_table_with_the_last_epoch_of_each_run_holds_results(tmp_path):
    rows = "".join(f"r{k % 10},{3.06 + 0.01 * (k > 9)},{k}\n" for k in range(14))
    (tmp_path / "a.csv").write_text("run,epoch,loss\n" + rows)
    with pytest.raises(ReaderError, match="table of results: its 10 runs have 14 epochs"):
        read_curves(tmp_path / "a.csv")
    assert len(read_curves(tmp_path / "a.csv", columns={"run": "run"}).runs) == 10


def test_what_catboost_writes_beside_its_errors_is_no_problem(tmp_path):
    for name, text in (
        ("learn_error.tsv", "iter\tMultiClass\n0\t3\n1\t2\n"),
        ("test_error.tsv", "iter\tMultiClass\n0\t4\n1\t3\n"),
        ("time_left.tsv", "iter\tPassed\tRemaining\n0\t1\t2\n"),
        ("learn/events.out.tfevents", ""),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    reading = read_curves(tmp_path)
    assert reading.problems.count == 0
    assert len(reading.curves) == 2


def test_a_file_that_may_not_be_read_is_listed(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("epoch,train_loss\n0,3\n1,2\n2,1\n")
    read_bytes = Path.read_bytes

    def denied(path):
        if path.name == "a.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", denied)
    reading = read_curves(tmp_path)
    assert list(reading.runs["trial_id"]) == ["b"]
    assert [str(problem) for problem in reading.problems.listed] == [
        "a.csv: file left out: Permission denied"
    ]


def test_training_losses_within_an_epoch_are_averaged_without_steps_too(tmp_path):
    rows = "".join(f"{e},{4 - e + d},\n" for e in range(4) for d in (0.5, -0.5))
    rows += "".join(f"{e},,{5 - e}\n" for e in range(4))
    ordered = sorted(rows.splitlines(keepends=True), key=lambda row: int(row[0]))
    (tmp_path / "metrics.csv").write_text("epoch,train_loss,val_loss\n" + "".join(ordered))
    reading = read_curves(tmp_path)
    assert reading.axis == "epoch"
    assert reading.curves["train_loss"].tolist() == [4, 3, 2, 1]
    assert reading.curves["val_loss"].tolist() == [5, 4, 3, 2]
    assert reading.problems.count == 0


def test_a_run_by_step_among_runs_by_epoch_is_left_out_and_told_why(tmp_path):
    for name in ("epoch", "step"):
        (tmp_path / f"{name}.csv").write_text(f"{name},train_loss\n0,3\n1,2\n2,1\n")
    reading = read_curves(tmp_path)
    assert list(reading.runs["trial_id"]) == ["epoch"]
    (problem,) = reading.problems.listed
    assert (problem.value, "it has no epoch, as other runs have" in str(problem)) == ("step", True)

"""Files whose path says which part of the data their losses are of."""

import json
import os

import pytest

from sweepdiag.errors import ReaderError
from sweepdiag.readers import read_curves


def write(folder, file, header, values):
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{header}\n" + "".join(f"{i}\t{value}\n" for i, value in enumerate(values)))


def losses(reading):
    return [reading.curves[name].tolist() for name in ("train_loss", "val_loss")]


@pytest.mark.parametrize("held_out", ["eval", "val", "test"])
@pytest.mark.parametrize("names", [("loss", "loss"), ("train/loss", "eval/loss")])
def test_folders_of_training_and_validation_are_one_run(tmp_path, held_out, names):
    write(tmp_path, "metrics/train/loss.tsv", f"step\t{names[0]}", [3, 2, 1])
    write(tmp_path, f"metrics/{held_out}/loss.tsv", f"step\t{names[1]}", [4, 3, 2])
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["metrics/loss"]
    assert losses(reading) == [[3, 2, 1], [4, 3, 2]]


def test_a_folder_says_nothing_of_losses_that_say_it_themselves_or_without_another(tmp_path):
    both = "step\tloss\tval_loss"
    write(tmp_path, "a/train/log.tsv", both, ["3\t4", "2\t3"])
    write(tmp_path, "a/val/log.tsv", both, ["7\t8", "6\t7"])
    write(tmp_path, "b/val/log.tsv", "step\tloss", [5, 4])
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["a/train", "a/val", "b/val"]
    assert reading.curves["train_loss"].tolist() == [3, 2, 7, 6, 5, 4]


def test_one_file_of_such_a_folder_is_of_validation(tmp_path):
    write(tmp_path, "train/loss.tsv", "step\tloss", [3, 2, 1])
    write(tmp_path, "eval/loss.tsv", "step\tloss", [4, 3, 2])
    reading = read_curves(tmp_path / "eval" / "loss.tsv")
    assert reading.columns[0][1].val_loss == "loss"
    assert "'eval' says that 'loss' is a loss of validation" in reading.notes[0]


def test_files_of_errors_of_training_and_test_are_one_run(tmp_path):
    write(tmp_path, "model/learn_error.tsv", "iter\tMultiClass", [3, 2, 1])
    write(tmp_path, "model/test_error.tsv", "iter\tMultiClass", [4, 3, 2])
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["model"]
    assert losses(reading) == [[3, 2, 1], [4, 3, 2]]
    alone = read_curves(tmp_path / "model" / "test_error.tsv")
    assert alone.columns[0][1].val_loss == "MultiClass"


def test_a_column_per_run_is_refused_also_in_a_file_of_losses(tmp_path):
    write(tmp_path, "val_loss.tsv", "step\ta\tb", ["3\t4", "2\t3", "1\t2"])
    with pytest.raises(ReaderError, match="melt the table"):
        read_curves(tmp_path / "val_loss.tsv")


def test_values_of_catboost_have_their_names_beside_them(tmp_path):
    metrics = [{"best_value": "Max", "name": "AUC"}, {"best_value": "Min", "name": "Logloss"}]
    meta = {"learn_sets": ["learn"], "test_sets": ["test"]}
    meta |= {"learn_metrics": metrics, "test_metrics": metrics}
    records = [
        {"learn": [0.5, 3 - i], "iteration": i, "passed_time": i, "test": [0.4, 4 - i]}
        for i in range(3)
    ]
    path = tmp_path / "catboost_training.json"
    path.write_text(json.dumps({"meta": meta, "iterations": records}))
    reading = read_curves(path)
    assert losses(reading) == [[3, 2, 1], [4, 3, 2]]
    assert reading.curves["val_metric"].tolist() == [0.4] * 3


@pytest.mark.parametrize(
    ("train", "val"),
    [("loss.csv", "val_loss.csv"), ("loss_history.csv", "test_loss.csv"),
     ("train.csv", "val.csv"), ("train_log.csv", "test_log.csv")],
)  # fmt: skip
def test_files_of_a_loss_and_its_validation_are_one_run(tmp_path, train, val):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / train).write_text("loss\n3\n2\n1\n")
    (tmp_path / "net" / val).write_text("loss\n4\n3\n2\n")
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["net"]
    assert losses(reading) == [[3, 2, 1], [4, 3, 2]]
    assert f"'{val}' says that 'loss' is a loss of validation" in " ".join(reading.notes)


def test_a_log_of_one_part_alone_says_nothing_by_its_name(tmp_path):
    (tmp_path / "test_log.csv").write_text("loss\n3\n2\n1\n")
    (tmp_path / "other.csv").write_text("loss\n3\n2\n1\n")
    reading = read_curves(tmp_path)
    assert reading.runs["trial_id"].tolist() == ["other", "test_log"]
    assert reading.curves["train_loss"].tolist() == [3, 2, 1] * 2


def test_a_file_whose_name_is_no_utf8(tmp_path):
    name = os.fsdecode(b"run\xff.csv")
    try:
        (tmp_path / name).write_text("epoch,train_loss,val_loss\n0,2,2\n1,1,1\n2,0.5,0.6\n")
    except OSError:
        pytest.skip("file names are UTF-8 here")
    (run,) = read_curves(tmp_path).runs["trial_id"]
    assert run == "run\\udcff"

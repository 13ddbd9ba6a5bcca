"""What is read off the cells of a table where names leave something open."""

import json

import pandas as pd
import pytest

from sweepdiag.errors import ReaderError
from sweepdiag.readers import read_curves


def read(tmp_path, text, name="log.csv", **options):
    (tmp_path / name).write_text(text)
    return read_curves(tmp_path / name, **options)


def test_without_epochs_the_order_of_the_rows_counts(tmp_path):
    reading = read(tmp_path, "loss,val_loss\n3,3.5\n2,2.5\n1,2\n")
    assert reading.curves["epoch"].tolist() == [1, 2, 3]
    assert "the order of the rows counts as the epoch" in reading.notes[0]
    frame = pd.DataFrame({"run": ["a", "b", "a", "b"], "loss": [4.0, 3, 2, 1]})
    curves = read_curves(frame).curves
    assert curves["epoch"].tolist() == [1, 2, 1, 2]
    assert curves["train_loss"].tolist() == [4, 2, 3, 1]


def test_rows_are_no_epochs_where_a_run_has_one(tmp_path):
    with pytest.raises(ReaderError, match="no column that is named like an epoch or step"):
        read(tmp_path, "run,loss\na,1\nb,2\nc,3\n")
    with pytest.raises(ReaderError, match="no column that is named like an epoch or step"):
        read(tmp_path, "lr,loss\n0.1,1\n")


@pytest.mark.parametrize(
    ("column", "epochs", "said"),
    [
        ("0 1 2", [0, 1, 2], "numbers the rows: it is taken"),
        ("7 9 8", [1, 2, 3], "the order of the rows counts"),
        ("a b c", [1, 2, 3], "the order of the rows counts"),
    ],
)
def test_an_index_that_pandas_wrote_numbers_the_rows(tmp_path, column, epochs, said):
    rows = "".join(f"{cell},{i},1\n" for i, cell in enumerate(column.split()))
    reading = read(tmp_path, ",Loss,ValLoss\n" + rows)
    assert reading.curves["epoch"].tolist() == epochs
    assert said in reading.notes[0]


def test_a_note_on_some_files_names_the_first(tmp_path):
    for name, header in (("a", "loss"), ("b", "epoch,loss"), ("c", "loss")):
        cells = "\n".join(",".join([str(i)] * len(header.split(","))) for i in range(3))
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{cells}\n")
    reading = read_curves(tmp_path)
    assert reading.notes[0].startswith("a.csv and 1 more: no column")


def test_losses_that_are_logged_in_parts_are_summed(tmp_path):
    header = "epoch,train/box_loss,train/cls_loss,val/box_loss,val/cls_loss\n"
    reading = read(tmp_path, header + "1,1,2,4,8\n2,1,1,2,\n3,0.5,oops,1,nan\n")
    assert reading.curves["train_loss"].tolist()[:2] == [3, 2]
    assert reading.curves["val_loss"][0] == 12
    assert reading.curves["val_loss"][1:].isna().all()
    assert "sums of the parts" in reading.notes[0]
    assert "(val/box_loss + val/cls_loss)" in reading.notes[0]
    assert [p.column for p in reading.problems.listed] == ["train/cls_loss"]


@pytest.mark.parametrize(("gap", "role"), [("", "val_metric"), ("0.5", "train_metric")])
def test_a_metric_of_no_part_is_of_the_rows_that_give_it(tmp_path, gap, role):
    rows = f"0,3,3,0.1\n1,2,,{gap}\n2,1,1,0.3\n"
    reading = read(tmp_path, "epoch,train_loss,val_loss,accuracy\n" + rows)
    ((_, columns),) = reading.columns
    assert getattr(columns, role) == "accuracy"
    assert bool(reading.notes) == (role == "val_metric")
    columns = read_curves(tmp_path / "log.csv", columns={"train_metric": "accuracy"}).columns[0][1]
    assert (columns.train_metric, columns.val_metric) == ("accuracy", None)


@pytest.mark.parametrize(
    ("key", "words"),
    [("phase", ("train", "val", "test")), ("Split", ("training", "Validation", "test")),
     ("mode", ("train", "eval", "dev"))],
)  # fmt: skip
def test_a_column_may_say_of_which_part_a_loss_is(tmp_path, key, words):
    text = f"epoch,{key},loss,acc\n"
    for epoch in range(3):
        for word, loss, acc in zip(words, (1.0, 2.0, 9.0), ("", 0.5, 0.1), strict=True):
            text += f"{epoch},{word},{loss - 0.1 * epoch},{acc}\n"
    reading = read(tmp_path, text)
    assert reading.curves["train_loss"].tolist() == [1.0, 0.9, 0.8]
    assert reading.curves["val_loss"].tolist() == [2.0, 1.9, 1.8]
    assert reading.curves["val_metric"].tolist() == [0.5] * 3
    assert reading.curves["train_metric"].isna().all()
    assert reading.notes[0].startswith(f"'{key}' says which part")
    assert f"not used: {words[2]}" in reading.notes[0]
    assert reading.columns[0][1].val_loss == f"loss where {key}={words[1]}"


def test_a_column_of_other_words_or_with_losses_named_says_nothing_of_parts(tmp_path):
    reading = read(tmp_path, "epoch,dataset,loss\n0,train,1\n1,mnist,2\n")
    assert reading.columns[0][1].train_loss == "loss"
    (tmp_path / "log.csv").write_text("epoch,phase,loss\n0,train,1\n1,val,2\n")
    reading = read_curves(tmp_path / "log.csv", columns={"train_loss": "loss"})
    assert reading.curves["train_loss"].tolist() == [1, 2]


def test_validation_that_counts_its_own_batches_lies_at_the_step_before(tmp_path):
    lines = []
    for epoch in (1, 2, 3):
        train = {"mode": "train", "epoch": epoch, "loss": 1}
        val = {"mode": "val", "epoch": epoch, "iter": 64, "mIoU": epoch / 10}
        lines += [train | {"iter": 20 * epoch}, train | {"iter": 20 * epoch + 10}, val]
    reading = read(tmp_path, "\n".join(map(json.dumps, lines)), name="log.jsonl")
    points = reading.curves.dropna(subset=["val_metric"])
    assert points["epoch"].tolist() == [30, 50, 70]
    assert points["val_metric"].tolist() == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("key", ["Folder", "fold", "model_name", "seed"])
@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_column_that_tells_repeated_epochs_apart_names_the_run(tmp_path, key, is_sorted):
    rows = [(word, epoch) for word in ("7", "8", "9") for epoch in range(4)]
    rows = rows if is_sorted else sorted(rows, key=lambda row: row[1])
    text = "".join(f"{word},{epoch},1\n" for word, epoch in rows)
    reading = read(tmp_path, f"{key},epoch,loss\n{text}")
    assert reading.runs["trial_id"].tolist() == ["7", "8", "9"]
    assert f"epochs repeat, and '{key}' tells their rows apart" in reading.notes[0]
    again = read_curves(tmp_path / "log.csv", columns={"run": key})
    assert again.curves.equals(reading.curves)
    assert again.notes == ()


def test_a_setting_beside_a_single_run_names_no_runs(tmp_path):
    rows = "".join(f"m{epoch % 2},{epoch},1\n" for epoch in range(6))
    assert len(read(tmp_path, "model,epoch,loss\n" + rows).runs) == 1


def test_results_of_several_models_are_no_curve(tmp_path):
    with pytest.raises(ReaderError, match="no column that is named like an epoch or step"):
        read(tmp_path, "model,val_loss\na,1\nb,2\nc,3\n")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("eval_a_loss,eval_b_loss", "if 'eval_a_loss' (or eval_b_loss) is it, say --columns val"),
        ("Test MSE,Valid MSE", "if 'Valid MSE' (or Test MSE) is it, say --columns val_loss=Valid"),
        ("other,speed", None),
    ],
)
def test_columns_that_may_hold_validation_losses_are_named(tmp_path, names, said):
    reading = read(tmp_path, f"epoch,loss,{names}\n0,1,2,3\n1,1,2,3\n")
    assert [said in note for note in reading.notes] == ([True] if said else [])
    first = names.split(",")[0]
    again = read_curves(tmp_path / "log.csv", columns={"val_loss": first})
    assert again.curves["val_loss"].tolist() == [2, 2]
    assert again.notes == ()


def test_the_rows_of_each_part_are_counted(tmp_path):
    reading = read(tmp_path, "phase,loss\ntrain,3\nval,4\ntrain,2\nval,3\n")
    assert reading.curves["epoch"].tolist() == [1, 2]
    assert reading.curves["train_loss"].tolist() == [3, 2]
    assert reading.curves["val_loss"].tolist() == [4, 3]
    assert reading.runs.columns.tolist() == ["trial_id"]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("epoch,macro_f1_train,macro_f1_val", "--columns train_loss=NAME, or val_loss=NAME"),
        ("step,Wall time,Value", "--columns train_loss=NAME, or val_loss=NAME"),
        ("epoch,velocity_loss", "train_loss=velocity_loss, or val_loss=velocity_loss if"),
    ],
)
def test_only_what_may_be_a_loss_is_suggested_as_one(tmp_path, header, said):
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(ReaderError, match=said):
        read(tmp_path, f"{header}\n{row}\n{row}\n")


@pytest.mark.parametrize(
    ("header", "pair"),
    [
        ("epoch,loss_G,loss_D,val_loss_G", ("loss_G", "val_loss_G")),
        ("epoch,train_mae,train_mse,val_mae,val_mse", ("train_mse", "val_mse")),
    ],
)
def test_a_loss_of_another_name_is_known_by_its_twin_of_validation(tmp_path, header, pair):
    rows = "".join(f"{epoch}," + "1," * (header.count(",") - 1) + "1\n" for epoch in range(3))
    columns = read(tmp_path, f"{header}\n{rows}").columns[0][1]
    assert (columns.train_loss, columns.val_loss) == pair


def test_a_few_rows_per_model_are_results_and_no_curve(tmp_path):
    rows = "".join(f"model{k},{k + i}\n" for k in range(6) for i in range(1 + k % 3))
    with pytest.raises(ReaderError, match="no column that is named like an epoch or step"):
        read(tmp_path, "model,loss\n" + rows)
    one = "".join(f"model,{9 - i}\n" for i in range(6))
    assert len(read(tmp_path, "model,loss\n" + one).curves) == 6


def test_a_long_table_has_a_column_per_metric(tmp_path):
    rows = "".join(
        f"train_loss,{4 - i},{i},a\nval_loss,{5 - i},{i},a\nval_acc,0.{i},{i},a\n"
        for i in range(4)
    )
    reading = read(tmp_path, f"key,value,step,run_uuid\n{rows}system/gpu,1.5,9,a\n")
    assert reading.curves["train_loss"].tolist() == [4, 3, 2, 1]
    assert reading.curves["val_loss"].tolist() == [5, 4, 3, 2]
    assert reading.curves["val_metric"].tolist() == [0, 0.1, 0.2, 0.3]
    assert reading.runs["trial_id"].tolist() == ["a"]
    assert "each of 4 metrics is a column" in reading.notes[0]
    with pytest.raises(ReaderError, match="named like a loss"):
        read(tmp_path, "key,value,step\nreward,1,1\nreward,2,2\n")


def test_a_long_table_may_say_the_part_in_another_column(tmp_path):
    rows = "".join(
        f"{mode},{i},loss,{k - i}\n{mode},{i},accuracy,0.{i}{k}\n"
        for i in range(4)
        for k, mode in ((4, "training"), (5, "validation"))
    )
    reading = read(tmp_path, "mode,epoch,metric,result\n" + rows)
    assert reading.curves["train_loss"].tolist() == [4, 3, 2, 1]
    assert reading.curves["val_loss"].tolist() == [5, 4, 3, 2]
    assert reading.curves["val_metric"].tolist() == [0.05, 0.15, 0.25, 0.35]
    assert len(reading.runs) == 1


def test_an_epoch_that_stands_still_is_none(tmp_path):
    """As where fit is called for each epoch, and the log appended to."""
    reading = read(tmp_path, "epoch,loss,val_loss\n0,3,3.5\n0,2,2.5\n0,1,2\n")
    assert reading.curves["epoch"].tolist() == [1, 2, 3]
    assert "'epoch' stands still and is left out" in reading.notes


def test_the_summary_of_a_training_is_no_curve(tmp_path):
    """pd.DataFrame(trainer.state.log_history), as a table."""
    text = "loss,epoch,step,eval_loss,train_runtime,train_loss\n"
    for i in range(1, 6):
        text += f"{4 / i},{i},{10 * i},,,\n,{i},{10 * i},{5 / i},,\n"
    reading = read(tmp_path, text + ",5,50,,99.5,1.826\n")
    assert reading.curves["train_loss"].tolist() == [4 / i for i in range(1, 6)]
    assert reading.curves["val_loss"].tolist() == [5 / i for i in range(1, 6)]


def test_zeros_between_losses_are_epochs_without_validation(tmp_path):
    rows = "".join(f"{i},{4 - i / 10},{(4 - i / 12) if i % 3 == 2 else 0.0}\n" for i in range(12))
    reading = read(tmp_path, "epoch,train_loss,val_loss\n" + rows)
    assert reading.curves["val_loss"].dropna().tolist() == [4 - i / 12 for i in (2, 5, 8, 11)]
    assert any("no validation took place there" in note for note in reading.notes)
    perfect = "".join(f"{i},{max(3 - i, 0)},{max(4 - i, 0)}\n" for i in range(12))
    whole = read(tmp_path, "epoch,train_loss,val_loss\n" + perfect, name="perfect.csv")
    assert whole.curves["val_loss"].tolist()[-1] == 0


def test_cells_that_hold_whole_curves_are_runs(tmp_path):
    text = "feature,train_loss,val_loss,lr,best\n"
    text += 'a,"[3, 2, 1]","[4, 3.5, nan]",0.1,"[1, 2]"\n'
    text += 'b,"[6, 5]","[7, 6]",0.2,"[1, 2]"\n'
    reading = read(tmp_path, text, with_attributes=True)
    curves = reading.curves
    assert curves["trial_id"].tolist() == ["a", "a", "a", "b", "b"]
    assert curves["epoch"].tolist() == [1, 2, 3, 1, 2]
    assert curves["train_loss"].tolist() == [3, 2, 1, 6, 5]
    assert curves["val_loss"].tolist()[:2] == [4, 3.5]
    assert reading.runs["lr"].tolist() == [0.1, 0.2]
    assert "each cell with losses holds those of a whole run" in reading.notes[0]
    text = 'train_loss,val_loss\n"[3, 2, 1]","[4, 3, 2]"\n'
    assert read(tmp_path, text, name="one.csv").runs["trial_id"].tolist() == ["1"]
    with pytest.raises(ReaderError):
        read(tmp_path, 'epoch,train_loss\n1,"[3, oops]"\n', name="bad.csv")

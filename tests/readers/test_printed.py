"""Logs that were printed for people."""

import pytest

from sweepdiag.errors import ReaderError
from sweepdiag.readers import read_curves


def lines(form, n=4):
    return "".join(form.format(e=e, t=f"{4 / e:.4f}", v=f"{5 / e:.4f}") for e in range(1, n + 1))


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (
            (
                "Epoch {e}/4\n1/9 [>...] - ETA: 3s - loss: 9.5 - acc: 0.1\n"
                "9/9 [====] - 3s 1s/step - loss: {t} - acc: 0.5 - val_loss: {v} - val_acc: 0.5\n"
            ),
            ("loss", "val_loss"),
        ),
        ("INFO:Epoch {e}: Train Loss={t}, Val Loss={v}\n", ("Train Loss", "Val Loss")),
        ("Epoch [00{e}/4] - Train Loss: {t}, Valid Loss: {v}, Best val loss: 0.01\n", None),
        ("12:00: \nepoch:  {e} \n12:01: train loss : {t}\n12:02: validation loss: {v}\n", None),
    ],
)
def test_epochs_with_both_losses_are_read(tmp_path, form, names):
    path = tmp_path / "training_log.txt"
    path.write_text("Found 20000 images.\n" + lines(form))
    reading = read_curves(path)
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4]
    assert reading.curves["train_loss"].tolist() == pytest.approx([4, 2, 1.3333, 1])
    assert reading.curves["val_loss"].tolist() == pytest.approx([5, 2.5, 1.6667, 1.25])
    assert "4 of 4 epochs" in reading.notes[0]
    if names:
        columns = reading.columns[0][1]
        assert (columns.train_loss, columns.val_loss) == names


@pytest.mark.parametrize(
    "form",
    [
        # PyTorch's MNIST example
        (
            "Train Epoch: {e} [0/60000 (0%)]\tLoss: {t}\n"
            "Train Epoch: {e} [640/60000 (1%)]\tLoss: {t}\n"
            "\nTest set: Average loss: {v}, Accuracy: 9/10 (90%)\n\n"
        ),
        "Epoch {e} - train: loss {t} acc 0.5 - val: loss {v} acc 0.5\n",
        "[Epoch {e}]\nbatch loss: 9.0\nbatch loss: 8.0\ntrain loss: {t}\n[Val] loss: {v}\n",
        "train loss: {t}, val loss: {v}\nsaved\n",
        "Epoch {e}: train loss {t}, val loss {v}\nsaved the best (val loss {v})\n",
        (
            "Epoch {e}: 10%|# | 1/9 [00:01, loss=9]\rEpoch {e}: 90%|# | 8/9 [00:01, loss=8]\n"
            "Validation: 100%|# | 9/9 [00:01, val_loss=7]\nTrain Loss: {t}\nValid Loss: {v}\n"
        ),
        "[{e}]\ttrain-rmse:{t}\teval-rmse:{v}\n",
        "[{e}]\ttraining's binary_logloss: {t}\tvalid_1's binary_logloss: {v}\n",
        "{e}:\tlearn: {t}\ttest: {v}\tbest: 0.1 (0)\ttotal: 10ms\tremaining: 1s\n",
    ],
)
def test_parts_may_be_named_before_and_epochs_be_counted(tmp_path, form):
    path = tmp_path / "train.log"
    path.write_text(lines(form))
    reading = read_curves(path)
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4]
    assert reading.curves["train_loss"].tolist() == pytest.approx([4, 2, 1.3333, 1])
    assert reading.curves["val_loss"].tolist() == pytest.approx([5, 2.5, 1.6667, 1.25])
    assert reading.notes[0].startswith("printed lines and no table")


def test_training_losses_within_an_epoch_are_averaged(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(
        lines("Epoch {e} step 1 loss: 1.0\nEpoch {e} step 2 loss: 3.0\nval loss: {v}\n")
    )
    assert read_curves(path).curves["train_loss"].tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "form",
    [
        "Epoch {e}: train loss {t}\nval loss {v}\nval loss {t}\n",  # two validation losses
        "Epoch {e} | Batch 1 | Loss {t}\n",
        "Epoch {e}: mask loss {t}, val mask loss {v}\n",
    ],
)
def test_lines_that_leave_the_losses_open_are_refused(tmp_path, form):
    path = tmp_path / "train.log"
    path.write_text(lines(form))
    with pytest.raises(ReaderError):
        read_curves(path)


def test_printed_trainings_that_begin_anew_are_several(tmp_path):
    path = tmp_path / "job.log"
    path.write_text(2 * lines("Epoch {e}: train_loss={t}, val_loss={v}\n"))
    assert read_curves(path).runs["trial_id"].tolist() == ["job#1", "job#2"]


def test_a_long_line_of_words_does_not_keep_the_reader(tmp_path):
    path = tmp_path / "job.log"
    prose = "Epoch 9 of which " + "a tale is told " * 50_000 + "\n"  # hours, if by the square
    path.write_text(lines("Epoch {e}: train loss {t}, val loss {v}\n") + prose)
    assert len(read_curves(path).curves) == 4


def test_dictionaries_of_python_are_rows_until_the_training_is_summed_up(tmp_path):
    text = "Some weights were newly initialized: ['a']\n"
    for e in range(1, 5):
        text += f" 25%|##  | 9/36 [00:01<00:05]\r{{'loss': {4 / e}, 'epoch': {e - 0.5}}}\n"
        text += f"{{'eval_loss': {'nan' if e == 2 else 5 / e}, 'eval_f1': 0.5, 'epoch': {e}.0}}\n"
    text += "{'train_runtime': 9.1, 'train_loss': 2.1, 'epoch': 4.0}\n"
    text += "{'eval_loss': 0.1, 'epoch': 4.0}\n"
    text += "{'open': __import__('os')}\n"
    path = tmp_path / "job.log"
    path.write_text(text)
    reading = read_curves(path)
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4]
    assert reading.curves["train_loss"].tolist() == pytest.approx([4, 2, 4 / 3, 1])
    assert reading.curves["val_loss"].tolist() == pytest.approx(
        [5, float("nan"), 5 / 3, 1.25], nan_ok=True
    )
    assert reading.curves["val_metric"].tolist() == [0.5] * 4


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("step:{s}/40 train_loss:{t} train_time:9ms\n", "step:{s}/40 val_loss:{v} step_avg:9ms\n"),
        ("iter {s}: loss {t}, time 9.1ms, mfu 1%\n", "step {s}: val loss {v}\n"),
        ("Step: {s} / 40, used_time = 1.1s, loss = {t}\n", "  eval_loss = {v}\nsaved\n"),
    ],
)
def test_steps_may_name_training_and_validation_apart(tmp_path, train, val):
    text = "import torch  # step * 0.5\nloss = 0.0\nbest val_loss = 9.0\n"
    for s in range(10, 50, 10):
        text += train.format(s=s, t=40 / s) + val.format(s=s, v=50 / s)
    path = tmp_path / "job.log"
    path.write_text(text)
    reading = read_curves(path)
    assert reading.axis == "step"
    assert reading.curves["epoch"].tolist() == [10, 20, 30, 40]
    assert reading.curves["train_loss"].tolist() == pytest.approx([4, 2, 4 / 3, 1])
    assert reading.curves["val_loss"].tolist() == pytest.approx([5, 2.5, 5 / 3, 1.25])


def test_steps_with_both_losses_come_before_those_of_batches(tmp_path):
    text = ""
    for s in range(0, 40, 10):
        text += f"step {s}: train loss {40 - s}, val loss {50 - s}\n"
        text += "".join(f"iter {s + k}: loss 9.0, time 3ms\n" for k in range(0, 10, 5))
    path = tmp_path / "job.log"
    path.write_text(text)
    curves = read_curves(path).curves
    assert curves["epoch"].tolist() == [0, 10, 20, 30]
    assert curves["train_loss"].tolist() == [40, 30, 20, 10]
    assert curves["val_loss"].tolist() == [50, 40, 30, 20]


def test_steps_within_epochs_are_counted_on(tmp_path):
    text = "".join(
        f"Epoch: {e}, Step: {s} / 30, loss = {9 - e - s / 30}\n  eval_loss = {9 - e}\n"
        for e in (0, 1)
        for s in (10, 20)
    )
    path = tmp_path / "job.log"
    path.write_text(text)
    reading = read_curves(path)
    assert reading.curves["epoch"].tolist() == [10, 20, 40, 50]
    assert "counted on from epoch to epoch" in reading.notes[0]


@pytest.mark.parametrize("n", [4, 20])
def test_steps_of_training_alone_are_a_curve_if_there_are_many(tmp_path, n):
    path = tmp_path / "job.log"
    path.write_text("".join(f"iter {s}: loss {9 / (s + 1):.3f}\n" for s in range(n)))
    if n < 10:
        with pytest.raises(ReaderError):
            read_curves(path)
    else:
        assert len(read_curves(path).curves) == n


@pytest.mark.parametrize("rule", ["------  -----------  -----------  ----\n", ""])
def test_tables_with_blanks_between_their_columns_are_read(tmp_path, rule):
    text = "before the fit\n" + "epoch   train_loss   valid_loss     cp   dur\n" + rule
    for e in range(1, 5):
        t = f"\x1b[36m{4 / e:>10.4f}\x1b[0m"
        cp = "+" if e % 2 else " "
        text += f"{e:>5}   {t}   {5 / e:>10.4f}      {cp}   9.1\n"
    path = tmp_path / "job.log"
    path.write_text(text + "done after 4 epochs\n")
    reading = read_curves(path)
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4]
    assert reading.curves["train_loss"].tolist() == pytest.approx([4, 2, 1.3333, 1])
    assert reading.curves["val_loss"].tolist() == pytest.approx([5, 2.5, 1.6667, 1.25])
    assert "4 rows below a line with the names of 5 columns" in reading.notes[0]


def test_of_epochs_that_are_named_again_the_lines_with_both_losses_count(tmp_path):
    path = tmp_path / "job.log"
    text = lines("Epoch {e}: train_loss={t} val_loss={v}\n")
    path.write_text(2 * (text + "Early stopping at epoch 9 (best: epoch 4, val_loss=1.25)\n"))
    reading = read_curves(path)
    assert reading.runs["trial_id"].tolist() == ["job#1", "job#2"]
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4] * 2
    assert "8 of 8 epochs" in reading.notes[0]


def test_a_training_may_be_cut_off_within_an_epoch(tmp_path):
    path = tmp_path / "job.log"
    path.write_text(lines("Epoch {e}/9\nloss: {t} - val_loss: {v}\n") + "Epoch 5/9\nloss: 0.9\n")
    assert len(read_curves(path).curves) == 4


@pytest.mark.parametrize(
    "form", ["Epoch {e}/4, Train Loss: {t}, Test Acc: 83 %\n", "Epoch {e}/4\n9/9 - loss: {t}\n"]
)
def test_epochs_with_a_training_loss_alone_are_read(tmp_path, form):
    path = tmp_path / "job.log"
    path.write_text(lines(form))
    reading = read_curves(path)
    assert reading.curves["train_loss"].tolist() == pytest.approx([4, 2, 1.3333, 1])
    assert reading.curves["val_loss"].isna().all()
    assert "none names a validation loss" in reading.notes[0]


@pytest.mark.parametrize(
    "form",
    [
        "Epoch [{e}]/[4] \t Training Phase Loss: {t}\n[{e}] \t Validation Phase Loss: {v}\n",
        "Epoch {e} - Average Loss: {t}\nEvaluation Epoch {e} - Average Loss: {v}\n",
        "Epoch {e}, train loss is {t}\nEpoch {e}, val loss is {v}, val mse is 0.5.\n",
    ],
)
def test_losses_are_named_in_other_ways(tmp_path, form):
    path = tmp_path / "train.log"
    path.write_text(lines(form))
    curves = read_curves(path).curves
    assert curves["train_loss"].tolist() == pytest.approx([4, 2, 1.3333, 1])
    assert curves["val_loss"].tolist() == pytest.approx([5, 2.5, 1.6667, 1.25])


def test_a_test_loss_after_the_last_epoch_does_not_hide_that_epoch(tmp_path):
    path = tmp_path / "train.log"
    form = "Epoch {e}/4\n9/9 [====] - 3s - loss: {t} - val_loss: {v}\n"
    path.write_text(lines(form) + "Test loss: 0.25\n")
    assert read_curves(path).curves["val_loss"].tolist()[-1] == 1.25


def test_the_table_of_a_model_card_is_read(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(
        "---\nlicense: mit\n---\n# model\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "| Training Loss | Epoch | Step | Validation Loss |\n|:---:|:---:|:---:|:---:|\n"
        "| No log | 1.0 | 10 | 0.9 |\n| 0.7 | 2.0 | 20 | 0.8 |\n| 0.6 | 3.0 | 30 | 0.85 |\n\nEnd\n"
    )
    curves = read_curves(path).curves
    assert curves["val_loss"].tolist() == [0.9, 0.8, 0.85]
    assert curves["train_loss"].tolist()[1:] == [0.7, 0.6]


def test_null_bytes_before_a_log_are_left_out(tmp_path):
    path = tmp_path / "train.log"
    path.write_bytes(bytes(5000) + lines("Epoch {e}: train loss {t}, val loss {v}\n").encode())
    assert len(read_curves(path).curves) == 4


def test_the_best_loss_named_after_the_last_epoch_is_none_of_it(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(
        lines("Época  {e}/4\nTrain - Loss: {t}\nVal   - Loss: {v}\n")
        + "Best model saved. Val Loss: 0.2193\n"
    )
    curves = read_curves(path).curves
    assert curves["val_loss"].tolist() == pytest.approx([5, 2.5, 1.6667, 1.25])


def test_an_epoch_of_thousands_of_digits_is_none(tmp_path):
    text = lines("Epoch {e}: train loss {t}, val loss {v}\n")
    (tmp_path / "train.log").write_text(f"Epoch {'9' * 5000}: val loss 3\n{text}")
    assert len(read_curves(tmp_path / "train.log").curves) == 4

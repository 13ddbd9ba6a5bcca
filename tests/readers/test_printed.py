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
        "Epoch {e}: train loss {t}, val loss {v}\nval loss {t}\n",  # two validation losses
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

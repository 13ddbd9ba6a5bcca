import json

import pytest

from sweepdiag.readers.reading import read_curves

A = {"train_loss": [3, 2, 1], "val_loss": [3, 2.5, 2]}
B = {"train_loss": [3, 1], "val_loss": [3, 1.5]}
C = {"train_loss": [4, 3, 2], "val_loss": [4, 3.5, 3]}
LOSSES = {"A": A, "B": B, "C": C}


def read(tmp_path, content, **options):
    (tmp_path / "all.json").write_text(json.dumps(content))
    return read_curves(tmp_path / "all.json", **options)


def records(run):
    return [{"epoch": i, "loss": x} for i, x in enumerate(run["train_loss"], start=1)]


def losses_of(reading, name="train_loss"):
    runs = reading.curves.groupby("trial_id", sort=False)[name]
    return {str(run): losses.tolist() for run, losses in runs}


@pytest.mark.parametrize(
    "content",
    [
        LOSSES,
        {"config": {"lr": 0.1}, "results": {name: {"history": run} for name, run in LOSSES.items()}},
        {name: records(run) for name, run in LOSSES.items()},
        {name: {"loss": {"train": r["train_loss"], "val": r["val_loss"]}}
         for name, r in LOSSES.items()},
        {name: {"train": {"loss": r["train_loss"]}, "val": {"loss": r["val_loss"]}}
         for name, r in LOSSES.items()},
        {name: {"history": run, "y_true": [0.5] * 9} for name, run in LOSSES.items()},
        [{"optimizer": name, "seed": 1, **run} for name, run in LOSSES.items()],
        [{"seed": 1, "run_id": name, "epochs": records(run)} for name, run in LOSSES.items()],
        {"labels": list(LOSSES), "histories": list(LOSSES.values())},
    ],
    ids=["lists", "deeper", "records", "parts", "inner parts", "beside", "list", "nested", "labels"],
)  # fmt: skip
def test_objects_with_losses_of_the_same_names_are_runs(tmp_path, content):
    reading = read(tmp_path, content)
    assert losses_of(reading) == {name: run["train_loss"] for name, run in LOSSES.items()}
    assert "3 objects in it have losses of their own: each is a run" in reading.notes


def test_levels_of_objects_name_runs_together(tmp_path):
    content = {"data 1": {"seed 0": A, "seed 1": B}, "data 2": {"seed 0": C, "seed 1": A}}
    assert list(losses_of(read(tmp_path, content))) == [
        "data 1/seed 0", "data 1/seed 1", "data 2/seed 0", "data 2/seed 1",
    ]  # fmt: skip
    content = {"runs": [{"seed": 7, "plain": A, "mixed": B}, {"seed": 8, "plain": C, "mixed": A}]}
    assert list(losses_of(read(tmp_path, content))) == [
        "seed=7/plain", "seed=7/mixed", "seed=8/plain", "seed=8/mixed",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "train", "val"),
    [
        ({"train": {"loss": [2, 1]}, "val": {"loss": [4, 3]}}, [2, 1], [4, 3]),
        ({"train": {"logloss": [2, 1]}, "eval": {"logloss": [4, 3]}}, [2, 1], [4, 3]),
        ({"losses": {"train": [2, 1], "val": [4, 3]}}, [2, 1], [4, 3]),
        ({"train": {"box_loss": [2, 1], "cls_loss": [1, 0]},
          "val": {"box_loss": [4, 3], "cls_loss": [1, 0]}}, [3, 1], [5, 3]),
        ({"history": {"loss": [2, 1], "val_loss": [4, 3]}, "per_class": {"mae": [1, 2, 3, 4]}},
         [2, 1], [4, 3]),
        ([{"epoch": 1, "loss": 2, "val_loss": 4, "batch_losses": [3, 2, 1]},
          {"epoch": 2, "loss": 1, "val_loss": 3, "batch_losses": [1, 1, 1]}], [2, 1], [4, 3]),
    ],
    ids=["parts", "boosting", "inside losses", "detector", "metrics beside", "losses of batches"],
)  # fmt: skip
def test_parts_of_one_run_stay_one_run(tmp_path, content, train, val):
    reading = read(tmp_path, content)
    assert losses_of(reading) == {"all": train}
    assert losses_of(reading, "val_loss") == {"all": val}


def test_losses_of_another_length_are_told(tmp_path):
    reading = read(tmp_path, {"train_loss": [3, 2, 1], "val_loss": [2, 1], "val_acc": [0, 1]})
    assert "losses of other lengths are left out: train_loss (3)" in reading.notes

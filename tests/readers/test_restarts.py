"""Trainings that were begun anew and logged on into the same file."""

import pytest

from sweepdiag.readers import read_curves


def read(tmp_path, epochs, **options):
    path = tmp_path / "job.csv"
    rows = "".join(f"{epoch},{i}\n" for i, epoch in enumerate(epochs))
    path.write_text("epoch,loss\n" + rows)
    return read_curves(path, **options)


def test_a_training_that_begins_anew_is_another_run(tmp_path):
    reading = read(tmp_path, [0, 1, 2, 0, 1, *range(12)])
    assert reading.runs["trial_id"].tolist() == ["job#1", "job#2", "job#3"]
    curves = reading.curves.groupby("trial_id")["train_loss"].apply(list)
    assert curves["job#1"] == [0, 1, 2]
    assert curves["job#2"] == [3, 4]
    assert curves["job#3"] == list(range(5, 17))
    assert "3 trainings, named job#1, job#2" in reading.notes[0]
    assert reading.problems.count == 0


@pytest.mark.parametrize(
    ("epochs", "n_problems"),
    [
        ([0, 1, 2, 0, 3, 4], 1),  # one row was logged again
        ([*range(20), *range(15, 30)], 5),  # resumed
        ([3, 2, 1, 0], 0),
        ([1, 0, 3, 2, 5, 4], 0),
    ],
)
def test_rows_that_are_replaced_or_in_another_order_are_of_one_run(tmp_path, epochs, n_problems):
    reading = read(tmp_path, epochs)
    assert reading.runs["trial_id"].tolist() == ["job"]
    assert reading.problems.count == n_problems


def test_training_and_validation_one_after_the_other_are_one_run(tmp_path):
    path = tmp_path / "job.csv"
    rows = [f"{epoch},{loss}\n" for loss in ("1,", ",2") for epoch in range(5)]
    path.write_text("epoch,loss,val_loss\n" + "".join(rows))
    reading = read_curves(path)
    assert len(reading.curves) == 5
    assert reading.curves["val_loss"].tolist() == [2] * 5


def test_only_the_runs_that_begin_anew_are_split(tmp_path):
    path = tmp_path / "job.csv"
    rows = [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 0), ("b", 2), ("a", 1)]
    path.write_text("run,epoch,loss\n" + "".join(f"{run},{epoch},1\n" for run, epoch in rows))
    assert read_curves(path).runs["trial_id"].tolist() == ["a#1", "b", "a#2"]


def test_steps_that_go_on_are_of_one_run(tmp_path):
    path = tmp_path / "job.csv"
    rows = [f"{epoch},{step},1\n" for step, epoch in enumerate([0, 1, 2, 0, 1, 2])]
    path.write_text("epoch,step,loss\n" + "".join(rows))
    assert read_curves(path).runs["trial_id"].tolist() == ["job"]


def test_of_what_several_processes_log_alike_the_last_counts(tmp_path):
    path = tmp_path / "job.csv"
    rows = [
        f"{step / 10},{step},{1 / step + rank * 1e-5:.5f}\n"
        for step in (1, 2, 3, 4)
        for rank in (0, 1)
    ]
    path.write_text("epoch,step,loss\n" + "".join(rows))
    reading = read_curves(path)
    assert reading.curves["train_loss"].tolist() == [1.00001, 0.50001, 0.33334, 0.25001]
    assert reading.notes[0].startswith("4 rows nearly equal others")
    assert reading.problems.count == 0


def test_steps_that_begin_anew_are_another_run_where_there_are_no_epochs(tmp_path):
    path = tmp_path / "job.csv"
    rows = "".join(f"{step},{loss}\n" for loss in (3, 2) for step in range(19, 200, 20))
    path.write_text("iteration,total_loss\n" + rows)
    reading = read_curves(path)
    assert reading.runs["trial_id"].tolist() == ["job#1", "job#2"]
    assert reading.curves.groupby("trial_id")["train_loss"].first().tolist() == [3, 2]
    assert "the steps of 1 run begin anew" in reading.notes[0]


def test_a_training_continued_in_several_calls_is_one(tmp_path):
    """fit_one_cycle again and again: epochs begin anew in each call, losses go on."""
    path = tmp_path / "history.csv"
    levels = [0.9 ** (5 * call + epoch) for call in range(4) for epoch in range(5)]
    rows = "".join(f"{i % 5},{level:.4f},{level + 0.1:.4f}\n" for i, level in enumerate(levels))
    path.write_text("epoch,train_loss,valid_loss\n" + rows)
    reading = read_curves(path)
    assert len(reading.runs) == 1
    assert reading.curves["epoch"].tolist() == list(range(20))
    assert any("they are counted on" in note for note in reading.notes)


def test_trainings_that_begin_where_the_first_did_are_several(tmp_path):
    path = tmp_path / "job.csv"
    rows = "".join(f"{epoch},{0.8**epoch:.4f}\n" for _ in range(3) for epoch in range(5))
    path.write_text("epoch,loss\n" + rows)
    assert read_curves(path).runs["trial_id"].tolist() == ["job#1", "job#2", "job#3"]

"""Which columns name runs, and along which their losses lie, where no name says so."""

import pytest

from sweepdiag.readers import read_curves


def read(tmp_path, text, **options):
    (tmp_path / "job.csv").write_text(text)
    return read_curves(tmp_path / "job.csv", **options)


def table(names, blocks, axis="epoch", n=4):
    """Return a table with a block of rows per run, with its settings before its epochs."""
    rows = "".join(
        f"{settings},{epoch},{len(blocks) * 5 - k - epoch}\n"
        for k, settings in enumerate(blocks)
        for epoch in range(n)
    )
    return f"{names},{axis},loss\n{rows}"


@pytest.mark.parametrize(
    "axis",
    ["round", "comm_round", "Communication Round", "server_round", "boosting_round", "tree",
     "tokens_seen", "samples_seen", "n_examples"],
)  # fmt: skip
def test_rounds_and_counts_of_data_stand_for_epochs(tmp_path, axis):
    reading = read(tmp_path, table("run", ["a", "b"], axis))
    assert reading.curves["epoch"].tolist() == [0, 1, 2, 3] * 2
    assert reading.columns[0][1].run == ("run",)


@pytest.mark.parametrize(
    ("names", "epoch", "step"),
    [
        ("epoch,round,step,tokens", "epoch", "step"),
        ("tokens,step,round", "round", "step"),
        ("tokens,step", None, "step"),
        ("epoch,n_samples", "epoch", None),
    ],
)
def test_epochs_come_before_rounds_steps_and_data(tmp_path, names, epoch, step):
    rows = "".join(f"{','.join([str(i)] * (names.count(',') + 1))},1\n" for i in range(4))
    columns = read(tmp_path, f"{names},loss\n{rows}").columns[0][1]
    assert (columns.epoch, columns.step) == (epoch, step)


def test_a_count_of_data_that_stands_still_is_a_setting(tmp_path):
    reading = read(tmp_path, "run,n_samples,loss\n" + "".join(f"a,50,{9 - i}\n" for i in range(4)))
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("names", "blocks", "found"),
    [
        ("timestamp", ["17740", "17741", "17742"], ("timestamp",)),
        ("system", ["torch", "jax"], ("system",)),
        ("Hidden Neurons,Parameters", ["1,9", "2,18", "4,36"], ("Hidden Neurons",)),
        ("how,share,seed", [f"{a},{b},{s}" for a in "xy" for b in (0.1, 0.5) for s in (0, 1)],
         ("how", "share", "seed")),
    ],
)  # fmt: skip
def test_what_is_constant_from_start_to_start_names_the_run(tmp_path, names, blocks, found):
    reading = read(tmp_path, table(names, blocks))
    assert reading.columns[0][1].run == found
    assert len(reading.runs) == len(blocks)
    assert reading.problems.count == 0
    assert "apart: " in reading.notes[0]
    assert reading.notes[0].count("--columns run=NAME") == 1


def test_two_runs_that_write_at_once_are_not_mixed(tmp_path):
    rows = [("t1", e) for e in range(9)] + [("t2", 0), ("t2", 1)]
    rows += [(run, e + 2 * (run == "t2")) for e in range(6) for run in ("t3", "t2")]
    text = "".join(f"{run},{e},{run[1]}.{e}\n" for run, e in rows)
    curves = read(tmp_path, "started,epoch,loss\n" + text).curves
    assert {run: len(g) for run, g in curves.groupby("trial_id")} == {"t1": 9, "t2": 8, "t3": 6}
    assert (curves["train_loss"].astype(int) == curves["trial_id"].str[1].astype(int)).all()


def test_of_runs_of_one_name_restarts_are_split(tmp_path):
    reading = read(tmp_path, table("system", ["torch", "torch", "jax"]))
    assert set(reading.runs["trial_id"]) == {"torch#1", "torch#2", "jax"}


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("batch_no", [str(i % 2) for i in range(16)]),  # counts within epochs
        ("phase_no", ["0", "0", "1", "1"] * 4),  # changes within a training
        ("rate", ["0.1", "0.1", "0.01", "0.01", "0.2", "0.2", "0.02", "0.02"] * 2),
        ("host", [""] * 8 + ["a"] * 8),
        ("lr", ["0.1"] * 8 + ["0.09999999"] * 8),  # a mean over steps
    ],
)
def test_what_changes_within_a_training_names_no_run(tmp_path, name, cells):
    rows = "".join(f"{cell},{i % 4},{99 - i}\n" for i, cell in enumerate(cells))
    reading = read(tmp_path, f"{name},epoch,loss\n{rows}")
    assert reading.runs["trial_id"].tolist() == [f"job#{k}" for k in range(1, 5)]


def test_rows_are_not_counted_over_a_column_that_begins_anew(tmp_path):
    reading = read(tmp_path, table("method", ["a", "b", "c"], "tick"))
    assert reading.curves["epoch"].tolist() == [0, 1, 2, 3] * 3
    assert reading.runs["trial_id"].tolist() == ["a", "b", "c"]
    assert "'tick' rises and begins anew 3 times" in reading.notes[0]


def test_rows_are_not_counted_over_blocks_of_a_setting(tmp_path):
    rows = "".join(f"{name},{9 - i}\n" for name in "ab" for i in range(4))
    reading = read(tmp_path, "model,loss\n" + rows)
    assert reading.runs["trial_id"].tolist() == ["a", "b"]
    assert reading.curves["epoch"].tolist() == [1, 2, 3, 4] * 2


def test_a_metric_without_a_number_is_a_setting(tmp_path):
    rows = "".join(f"{p},{e},{5 - e},{e}\n" for p in ("fp16", "int8") for e in range(4))
    reading = read(tmp_path, "precision,epoch,loss,accuracy\n" + rows, with_attributes=True)
    assert reading.problems.count == 0
    assert reading.columns[0][1].train_metric == "accuracy"
    assert reading.runs["precision"].tolist() == ["fp16", "int8"]


@pytest.mark.parametrize("val", ["", ",val_loss"])
def test_epochs_of_clients_are_counted_on_over_rounds(tmp_path, val):
    rows = "".join(
        f"{r},{client},{e},{9 - 2 * r - e}{',1' if val else ''}\n"
        for r in range(3)
        for client in "ab"
        for e in (0, 1)
    )
    reading = read(tmp_path, f"round,client_id,epoch,loss{val}\n{rows}")
    assert reading.runs["trial_id"].tolist() == ["a", "b"]
    assert reading.curves["epoch"].tolist() == list(range(6)) * 2
    assert reading.curves["train_loss"].tolist() == [9, 8, 7, 6, 5, 4] * 2
    assert "'epoch' begins anew in each 'round'" in reading.notes[0]


def test_rounds_stand_for_epochs_that_stand_still(tmp_path):
    reading = read(tmp_path, "round,epoch,loss\n" + "".join(f"{r},1,{9 - r}\n" for r in range(5)))
    assert reading.curves["epoch"].tolist() == [0, 1, 2, 3, 4]
    both = "".join(f"{r},{r},{9 - r}\n" for r in range(5))
    assert read(tmp_path, "round,epoch,loss\n" + both).notes == ()

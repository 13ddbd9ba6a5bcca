import json

import pytest

from sweepdiag.errors import ReaderError
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
        {"args": {"lr": 0.1}, "runs": {name: {"history": run} for name, run in LOSSES.items()}},
        {name: records(run) for name, run in LOSSES.items()},
        {name: {"loss": {"train": r["train_loss"], "val": r["val_loss"]}}
         for name, r in LOSSES.items()},
        {name: {"train": {"loss": r["train_loss"]}, "val": {"loss": r["val_loss"]}}
         for name, r in LOSSES.items()},
        {name: {"history": run, "y_true": [0.5] * 9} for name, run in LOSSES.items()},
        [{"optimizer": name, "seed": 1, **run} for name, run in LOSSES.items()],
        [{"seed": 1, "run_id": name, "epochs": records(run)} for name, run in LOSSES.items()],
        [{"candidate": {"name": name}, "trace": run} for name, run in LOSSES.items()],
        [{"name": name, "log": {f"epoch_{e}": {"loss": x} for e, x in enumerate(r["train_loss"])}}
         for name, r in LOSSES.items()],
        {f"round_{i}": {"name": "x", **run} for i, run in enumerate(LOSSES.values())},
        {"labels": list(LOSSES), "histories": list(LOSSES.values()), "best_losses": [1, 1, 2]},
    ],
    ids=["lists", "deeper", "records", "parts", "inner", "beside", "list", "nested", "inside",
         "epochs", "rounds", "labels"],
)  # fmt: skip
def test_objects_with_losses_of_the_same_names_are_runs(tmp_path, content):
    reading = read(tmp_path, content)
    names = [f"round_{i}" for i in range(3)] if "round_0" in content else list(LOSSES)
    losses = [run["train_loss"] for run in LOSSES.values()]
    assert losses_of(reading) == dict(zip(names, losses, strict=True))
    assert "3 objects in it have losses of their own: each is a run" in reading.notes


def test_lines_of_json_may_be_of_a_run_each(tmp_path):
    lines = [json.dumps({"name": name, **run}) for name, run in LOSSES.items()]
    write(tmp_path / "runs.jsonl", "\n".join(lines))
    assert losses_of(read_curves(tmp_path)) == {n: r["train_loss"] for n, r in LOSSES.items()}


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
        ({"epoch_1": {"loss": 2, "val_loss": 4}, "epoch_2": {"loss": 1, "val_loss": 3}},
         [2, 1], [4, 3]),
        ({"epochs": {"1": {"train": {"loss": 2}, "val": {"loss": 4}},
                     "2": {"train": {"loss": 1}, "val": {"loss": 3}}}}, [2, 1], [4, 3]),
        ({"metrics": {"train": [{"epoch": 1, "loss": 2}, {"epoch": 2, "loss": 1}],
                      "val": [{"epoch": 1, "loss": 4}, {"epoch": 2, "loss": 3}]},
          "raw_history": [{"step": i, "loss": i} for i in range(9)]}, [2, 1], [4, 3]),
    ],
    ids=["parts", "boosting", "inside losses", "detector", "metrics beside", "losses of batches",
         "keys of epochs", "numbers of epochs", "records of parts"],
)  # fmt: skip
def test_parts_of_one_run_stay_one_run(tmp_path, content, train, val):
    reading = read(tmp_path, content)
    assert losses_of(reading) == {"all": train}
    assert losses_of(reading, "val_loss") == {"all": val}


def test_losses_of_another_length_are_told(tmp_path):
    reading = read(tmp_path, {"train_loss": [3, 2, 1], "val_loss": [2, 1], "val_acc": [0, 1]})
    assert "losses of other lengths are left out: train_loss (3)" in reading.notes


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_json_of_any_name_in_a_folder_is_a_log_if_it_holds_curves(tmp_path):
    write(tmp_path / "a/results.json", {"config": {"lr": 0.1}, "history": records(A)})
    write(tmp_path / "b/results.json", {"config": {"lr": 0.2}, "history": records(B)})
    write(tmp_path / "c/run_0.json", C)
    write(tmp_path / "c/run_1.json", "\n".join(map(json.dumps, records(A))))
    write(tmp_path / "a/config.json", {"lr": 0.1, "loss": "mse", "loss_weights": [1, 2]})
    write(tmp_path / "a/summary.json", {"train_loss": 0.5, "val_loss": [0.6]})
    write(tmp_path / "b/trials.json", [{"lr": 0.1, "val_loss": 0.3}, {"lr": 0.2, "val_loss": 0.2}])
    write(tmp_path / "b/last.json", json.dumps({"epoch": 3, "loss": 0.5}) + "\n")
    write(tmp_path / "b/damaged.json", '{"loss": [1, 2')
    reading = read_curves(tmp_path)
    assert losses_of(reading) == {
        "a": [3, 2, 1], "b": [3, 1], "c/run_0": [4, 3, 2], "c/run_1": [3, 2, 1],
    }  # fmt: skip
    assert reading.problems.count == 0


@pytest.mark.parametrize("log", ["history.json", "log.csv"])
def test_json_beside_a_log_only_sums_it_up(tmp_path, log):
    table = "epoch,train_loss,val_loss\n1,3,3\n2,2,2.5\n3,1,2\n"
    write(tmp_path / "run" / log, A if log == "history.json" else table)
    write(tmp_path / "run/results.json", {"best": 2, **A})
    assert read_curves(tmp_path).files == (f"run/{log}",)


def test_json_beside_a_table_of_results_is_the_log(tmp_path):
    write(tmp_path / "histories.json", {"a": A, "b": B})
    write(
        tmp_path / "runs.csv", "run_id,lr,final_train_loss,final_val_loss\na,0.1,1,2\nb,0.2,1,1\n"
    )
    reading = read_curves(tmp_path, with_attributes=True)
    assert losses_of(reading) == {"a": [3, 2, 1], "b": [3, 1]}
    assert reading.runs["lr"].tolist() == [0.1, 0.2]


def test_of_equal_json_in_a_folder_one_is_read(tmp_path):
    for name in ("20260102_030405.json", "scalars.json"):
        write(tmp_path / "vis_data" / name, "\n".join(map(json.dumps, records(A))))
    assert read_curves(tmp_path).files == ("vis_data/20260102_030405.json",)


def test_settings_in_a_log_are_columns_of_its_run(tmp_path):
    config = {"lr": 0.1, "model": {"width": 8}, "layers": [1, 2], "notes": "x" * 300}
    lists = {"config": config, "seed": 3, "history": A, "best_loss": 1, "time": 9.5, "epochs": 3}
    reading = read(tmp_path, lists, with_attributes=True)
    assert reading.runs.to_dict("records") == [
        {"trial_id": "all", "config/lr": 0.1, "config/model/width": 8, "config/layers": "[1, 2]",
         "config/seed": 3},
    ]  # fmt: skip
    assert reading.curves["val_loss"].tolist() == A["val_loss"]
    runs = {"args": {"epochs": 9}, "a": {"lr": 0.1, **A}, "b": {"lr": 0.2, **B}}
    runs = read(tmp_path, runs, with_attributes=True).runs
    assert runs["config/lr"].tolist() == [0.1, 0.2]
    assert runs["config/epochs"].tolist() == [9, 9]
    runs = [{"opt": name, "lr": 0.1, "final_acc": 0.123, "mean": 0.1234567, **A} for name in "ab"]
    runs = read(tmp_path, runs, with_attributes=True).runs
    assert runs.columns.tolist() == ["trial_id", "run_id", "config/opt", "config/lr"]


def test_the_first_line_of_json_may_be_of_settings(tmp_path):
    lines = [{"_meta": {"lr": 0.1, "seed": 1}}, *records(A), {"_summary": {"lr": 0.1, "steps": 9}}]
    write(tmp_path / "run.jsonl", "\n".join(map(json.dumps, lines)))
    reading = read_curves(tmp_path / "run.jsonl", with_attributes=True)
    assert reading.runs.to_dict("list") == {
        "trial_id": ["run"], "config/lr": [0.1], "config/seed": [1],
    }  # fmt: skip
    assert losses_of(reading) == {"run": [3, 2, 1]}
    assert reading.problems.count == 0


def test_metrics_of_sacred_are_joined_by_step(tmp_path):
    def metric(steps, values, offset):
        times = [f"2026-01-02T03:04:{10 * step + offset:02}.5" for step in steps]
        return {"steps": steps, "timestamps": times, "values": values}

    content = {
        "loss": metric([0, 1, 2], [3, 2, 1], 0),
        "val_loss": metric([0, 1, 2], [4, 3.5, 3], 1),
        "table": metric([0], [{"py/object": "pandas.DataFrame"}], 2),
    }
    write(tmp_path / "my_runs/7/metrics.json", content)
    write(tmp_path / "my_runs/7/config.json", {"lr": 0.1, "seed": 5})
    write(tmp_path / "my_runs/7/run.json", {"command": "train", "result": None, "meta": {}})
    write(tmp_path / "other/curves.json", content)
    assert losses_of(read_curves(tmp_path)) == {"my_runs/7": [3, 2, 1], "other": [3, 2, 1]}
    reading = read_curves(tmp_path / "my_runs", with_attributes=True)
    assert losses_of(reading) == {"7": [3, 2, 1]}
    assert losses_of(reading, "val_loss") == {"7": [4, 3.5, 3]}
    assert (reading.axis, reading.problems.count) == ("step", 0)
    assert reading.runs["config/lr"].tolist() == [0.1]


@pytest.mark.parametrize(
    "content",
    [
        [None, "x", 3], {"loss": []}, {"log_history": [None]}, {"iterations": [None], "meta": 1},
        {"a": {"loss": [[1], [2]]}, "b": {"loss": [{}, 1]}}, [{"epoch_1": {}, "epoch_2": {}}],
        {"a": {"loss": {"steps": [1], "values": ["x"]}}}, {"loss": {"steps": [1], "values": 2}},
    ],
)  # fmt: skip
def test_json_without_curves_is_refused(tmp_path, content):
    with pytest.raises(ReaderError, match=r"all\.json"):
        read(tmp_path, content)
    with pytest.raises(ReaderError, match=r"holds no file"):
        read_curves(tmp_path)


@pytest.mark.parametrize("depth", [600, 900, 5000])
def test_what_lies_too_deep_is_an_error_and_no_crash(tmp_path, depth):
    text = '{"loss": [1, 2, 3], "val_loss": [1, 2, 3], "x": ' * depth + "1" + "}" * depth
    (tmp_path / "deep.json").write_text(text)
    with pytest.raises(ReaderError, match=r"deep\.json cannot be read"):
        read_curves(tmp_path / "deep.json")
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "loss": 1}\n{"epoch": 2, "loss": 2}\n')
    (tmp_path / "deep.log").write_text(text)
    assert len(read_curves(tmp_path).runs) == 1


def test_numbers_beyond_those_of_floats_are_infinite(tmp_path):
    huge = 10**400
    reading = read(tmp_path, {"loss": [huge, 2, 1], "val_loss": [3, 2, 1], "n": [huge] * 3})
    assert reading.curves["train_loss"].tolist() == [float("inf"), 2, 1]
    sacred = {
        name: {"steps": [1, 2, huge], "values": [3, 2, huge]} for name in ("loss", "val_loss")
    }
    assert read(tmp_path, sacred).curves["val_loss"].tolist() == [3, 2]


def test_halves_of_characters_can_be_stored(tmp_path):
    assert list(losses_of(read(tmp_path, {"\ud800": A, "b": C}))) == ["\\ud800", "b"]


def test_keys_in_any_script_are_runs(tmp_path):
    assert list(losses_of(read(tmp_path, {"模型一": A, "模型二": C}))) == ["模型一", "模型二"]


@pytest.mark.parametrize("text", ["[{}, {}]", "\n\n"])
def test_a_file_without_a_record_says_so(tmp_path, text):
    (tmp_path / "all.jsonl").write_text(text)
    with pytest.raises(ReaderError, match="holds no record with a value"):
        read_curves(tmp_path / "all.jsonl")


def test_an_object_with_losses_of_its_own_is_not_mixed_with_others(tmp_path):
    content = {
        "training_history": {"epoch": [1, 2, 3], "train_loss": [3, 2, 1], "val_loss": [4, 3, 2]},
        "metrics_history": {
            "epoch": [1, 2, 3],
            "train_metrics": [None] * 3,
            "val_metrics": [{"recall": 0.1}, {"recall": 0.2}, {"recall": 0.3}],
        },
        "last_loss": [1.0],
    }
    (tmp_path / "results.json").write_text(json.dumps(content))
    curves = read_curves(tmp_path / "results.json").curves
    assert curves["train_loss"].tolist() == [3, 2, 1]
    assert curves["val_loss"].tolist() == [4, 3, 2]


def test_last_values_do_not_hide_a_curve(tmp_path):
    content = {"train_loss": [3, 2, 1], "val_loss": [2.0], "test_acc": [0.5], "test_f1": [0.5]}
    (tmp_path / "history.json").write_text(json.dumps(content))
    assert read_curves(tmp_path / "history.json").curves["train_loss"].tolist() == [3, 2, 1]

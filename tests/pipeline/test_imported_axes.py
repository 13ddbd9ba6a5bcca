"""What the runs of a sweep of other programs differ in, and which of them are seeds."""

import itertools

import numpy as np
import pandas as pd
import pytest

import sweepdiag
from sweepdiag.pipeline.axis_choice import without_settings
from sweepdiag.pipeline.imported_axes import find_axes
from sweepdiag.pipeline.runs import seeds_of, trials_of
from sweepdiag.records import FindingState
from tests.pipeline.test_imported import curve


def grid(**columns):
    """One run per combination of the values of some columns."""
    rows = itertools.product(*columns.values())
    table = pd.DataFrame(rows, columns=list(columns))
    return table.assign(trial_id=[f"run_{i}" for i in range(len(table))])


def axes_of(runs, *, asked=None):
    seeds = seeds_of(runs, "seed")
    found = find_axes(runs, asked=asked, not_axes=["seed"], seeds=seeds)
    return found, trials_of(runs, found, seed_column="seed")["config_id"].nunique()


def test_runs_of_equal_settings_with_one_seed_are_no_seeds():
    runs = grid(lr=[0.1, 0.2], hidden_by_the_log=[0, 1]).assign(seed=42)
    found, n = axes_of(runs.drop(columns="hidden_by_the_log"))
    assert not found.axes
    assert n == 4
    (note,) = found.notes
    assert note.endswith("have the same seed (run_0 and run_1), so they differ in something else")
    assert axes_of(runs.drop(columns=["hidden_by_the_log", "seed"]))[1] == 2
    found, n = axes_of(runs.drop(columns="hidden_by_the_log"), asked=["lr"])
    assert ([axis.name for axis in found.axes], n) == (["lr"], 2)


def test_one_training_that_was_begun_anew_changes_no_axes():
    runs = grid(lr=[0.1, 0.2, 0.3], seed=[0, 1])
    again = pd.concat([runs, runs.iloc[:1].assign(trial_id="rerun_9")], ignore_index=True)
    found, n = axes_of(again)
    assert n == 3
    assert found.notes == (
        "runs with equal lr have the same seed (run_0 and rerun_9): they count as repeats",
    )


@pytest.mark.parametrize(
    ("names", "n_configurations"),
    [
        (["base_0", "base_1", "aug_0", "aug_1"], 4),
        (["a_0", "a_1", "a_2", "a_3"], 2),
        (["silver-sun-1", "golden-sea-2", "calm-moon-3", "vital-tree-4"], 2),
    ],
)
def test_words_in_names_tell_configurations_apart(names, n_configurations):
    runs = pd.DataFrame({"trial_id": names, "lr": [0.1, 0.2, 0.1, 0.2]})
    found, n = axes_of(runs)
    assert n == n_configurations
    if n == 4:
        assert found.values["variant"] == ["base", "base", "aug", "aug"]


def test_a_text_that_alone_tells_few_runs_apart_is_an_axis():
    runs = grid(system=["one", "two", "three"]).assign(schedule=["a", "b", "b"])
    found, n = axes_of(runs)
    assert ([axis.name for axis in found.axes], n) == (["system", "schedule"], 3)


def test_texts_that_many_runs_share_with_none_are_told():
    runs = grid(lr=[0.1, 0.2, 0.3, 0.4], seed=[0, 1]).assign(remark=list("abcdefgh"))
    assert axes_of(runs)[0].notes == (
        "runs that count as seeds of one configuration differ in remark",
    )


def test_columns_that_say_the_same_are_one_axis():
    runs = grid(layers=[1, 2, 3], decay=[0, 1]).assign(
        n_parameters=lambda t: 100 * t["layers"] ** 2, width=lambda t: 8 * t["layers"]
    )
    found, n = axes_of(runs)
    assert ([axis.name for axis in found.axes], n) == (["decay", "capacity"], 6)
    assert ("n_parameters", "it goes with width") in found.left_out
    drawn = pd.DataFrame({"trial_id": list("abcd"), "lr": [1.0, 2, 3, 4], "wd": [2.0, 1, 4, 3]})
    assert len(axes_of(drawn)[0].axes) == 2


def test_a_number_that_differs_in_every_run_is_a_result_where_others_tell_runs_apart():
    runs = grid(width=[1, 2], kind=["x", "y"], seed=[0, 1])
    runs["coherence"] = [0.31, 0.12, 0.44, 0.57, 0.93, 0.68, 0.26, 0.75]
    runs["params"] = 100 * runs["width"]
    runs["n_bytes"] = [310, 120, 440, 570, 930, 260, 680, 750]
    found, n = axes_of(runs)
    assert ([axis.name for axis in found.axes], n) == (["capacity", "kind"], 4)
    assert [axis.name for axis in axes_of(runs.drop(columns="kind"))[0].axes] == [
        "capacity",
        "coherence",
        "n_bytes",
    ]
    drawn = runs[["trial_id", "kind", "coherence"]].assign(seed=range(8))
    assert [axis.name for axis in axes_of(drawn)[0].axes] == ["kind", "coherence"]
    rng = np.random.default_rng(0)
    drawn = pd.DataFrame({name: rng.integers(0, 4, 30) for name in "abcde"})
    drawn = drawn.assign(trial_id=[f"run_{i}" for i in range(30)], decay=rng.random(30))
    assert not drawn[list("abcde")].duplicated().any()
    assert "decay" in axes_of(drawn)[0].columns


def test_how_long_a_run_was_trained_is_an_axis_only_if_nothing_else_tells_it_apart():
    runs = grid(lr=[0.1, 0.2, 0.3], decay=[0, 1])
    told = runs.assign(**{"config/epochs": [10, 10, 10, 20, 20, 30]})
    assert [axis.name for axis in axes_of(told)[0].axes] == ["lr", "decay"]
    found, n = axes_of(grid(lr=[0.1, 0.2, 0.3], epochs=[10, 20, 30]))
    assert ([axis.name for axis in found.axes], n) == (["lr", "epochs"], 9)


def test_few_runs_without_settings_are_left_out():
    runs = grid(lr=[0.1, 0.2, 0.3], decay=[0, 1]).assign(act=list("ababab"))
    runs.loc[5, ["lr", "decay"]] = None
    is_lacking, columns = without_settings(runs, ["lr", "decay", "act"])
    assert is_lacking.tolist() == [False] * 5 + [True]
    assert columns == ["lr", "decay"]
    runs.loc[4, ["lr", "decay"]] = None
    assert not without_settings(runs, ["lr", "decay", "act"])[0].any()


def test_a_sweep_says_which_runs_have_no_settings(tmp_path):
    parts = [curve(f"r{i}", seed=i, lr=0.1 * (1 + i // 2), seed_number=i % 2) for i in range(6)]
    parts[5] = parts[5].drop(columns="lr")
    result = sweepdiag.diagnose(pd.concat(parts), one_sweep=True, output=tmp_path / "out")
    assert len(result.verdicts) == 5
    lines = result.data.origin.lines
    assert "1 run is left out, whose settings are unknown: r5 (no value of lr)" in lines
    parts[4] = parts[4].drop(columns="lr")
    lines = sweepdiag.diagnose(
        pd.concat(parts), one_sweep=True, output=tmp_path / "out"
    ).data.origin.lines
    assert any("lr (2 runs have no value)" in line for line in lines)


def test_runs_without_settings_are_left_out_of_the_page_of_several_sweeps_too(tmp_path):
    parts = [
        curve(f"{task}{i}", seed=i, task=task, lr=0.1 * (1 + i // 2))
        for task in "ab"
        for i in range(6)
    ]
    parts[5] = parts[5].drop(columns="lr")
    result = sweepdiag.diagnose(pd.concat(parts), group_by="task", output=tmp_path / "out")
    assert len(result.trials) == len(result.verdicts) == 11
    left_out = "1 run is left out, whose settings are unknown: a5"
    assert left_out in result.data.origin.lines


def test_a_column_of_seeds_without_any_is_none(tmp_path):
    names = [f"w{width}_s{seed}" for width in (8, 32) for seed in (0, 1)]
    for i, name in enumerate(names):
        (tmp_path / name).mkdir()
        table = curve("x", seed=i).drop(columns="run").assign(**{"meta/seed": None})
        table.to_csv(tmp_path / name / "history.csv", index=False)
    result = sweepdiag.diagnose(tmp_path, one_sweep=True, output=tmp_path / "out")
    assert [axis.name for axis in result.data.axes] == ["w"]
    assert result.trials["seed"].tolist() == [0, 1, 0, 1]


def test_names_of_results_beside_words_of_settings_are_settings():
    runs = grid(loss=["mse", "huber"], train_batch_size=[8, 16], aux_loss_weight=[0.1, 0.2])
    runs["train_loss"] = runs["loss_at_end"] = [0.1, 0.2, 0.3, 0.4] * 2
    found, n = axes_of(runs)
    assert [axis.name for axis in found.axes] == ["loss", "batch_size", "aux_loss_weight"]
    assert n == 8


def test_columns_named_like_results_are_no_axes_of_folds():
    runs = grid(seed=[0, 1, 2]).assign(labels_evaluated=[28, 30, 32])
    found, n = axes_of(runs)
    assert (found.axes, n) == ((), 1)


@pytest.mark.parametrize("column", ["seed", "fold"])
def test_runs_that_differ_in_their_seeds_alone_are_one_configuration(column, tmp_path):
    names = [42, 43, 44] if column == "seed" else ["fold_0", "fold_1", "fold_2"]
    parts = [curve(f"r{i}", seed=i).assign(**{column: name}) for i, name in enumerate(names)]
    table = pd.concat(parts)
    result = sweepdiag.diagnose(table, one_sweep=True, output=tmp_path / "out")
    assert result.configurations["n_judged"].tolist() == [3]
    assert result.recommendation.answer.startswith("One configuration with 3 seeds: ")
    assert "stop" in result.recommendation.answer
    assert "axes: none; the runs are seeds of one configuration" in result.data.origin.lines
    without = sweepdiag.diagnose(
        table, one_sweep=True, columns={"seed": ""}, output=tmp_path / "out"
    )
    assert len(without.configurations) == 3


def test_seeds_that_differ_by_factors_are_doubted(tmp_path):
    parts = []
    for i, (lr, scale) in enumerate(itertools.product((0.1, 0.2, 0.3), (1, 30))):
        table = curve(f"run{i}", seed=i, noise=0.001, lr=lr)
        table[["train_loss", "val_loss"]] *= scale
        parts.append(table)
    result = sweepdiag.diagnose(pd.concat(parts), one_sweep=True, output=tmp_path / "out")
    assert "Seeds differ more than threefold" in result.recommendation.answer
    (finding,) = (f for f in result.findings if f.code == "SD502")
    assert finding.title == "Runs of equal settings differ widely"
    assert "seeds differ by a factor of 30 in val_loss" in finding.evidence


def test_losses_are_not_compared_along_what_changes_them_without_a_word(tmp_path):
    parts = [
        curve(f"run{i}", seed=i, lr=lr, label_smoothing=smooth)
        for i, (lr, smooth) in enumerate(itertools.product((0.1, 0.2), (0.0, 0.1)))
    ]
    result = sweepdiag.diagnose(pd.concat(parts), one_sweep=True, output=tmp_path / "out")
    assert (
        "Losses at different label smoothing are not comparable: choose label smoothing by a "
        "metric" in result.recommendation.answer
    )
    without = pd.concat(parts).drop(columns="label_smoothing")
    answer = sweepdiag.diagnose(without, one_sweep=True, output=tmp_path / "out").recommendation
    assert "not comparable" not in answer.answer


def test_overfitting_from_the_first_evaluation_is_called_just_that(tmp_path):
    epochs = np.arange(100, 4001, 100)
    parts = [
        pd.DataFrame(
            {
                "run": f"run{i}",
                "epoch": epochs,
                "train_loss": 0.3 * np.exp(-epochs / 1500),
                "val_loss": 0.5 + 0.01 * i + 0.1 * (1 - np.exp(-(epochs - 100) / 900)),
                "width": width,
            }
        )
        for i, width in enumerate((64, 32, 16))
    ]
    result = sweepdiag.diagnose(pd.concat(parts), one_sweep=True, output=tmp_path / "out")
    found = {finding.code: finding for finding in result.findings}
    assert found["SD307"].state is FindingState.PASSED
    assert found["SD307"].evidence.endswith("most configurations that learn overfit")
    assert found["SD402"].action == (
        "Train for 500 epochs, and evaluate more often: the best value is the first, at epoch 100."
    )


def test_the_next_sweep_and_sd501_extend_no_length_of_training(tmp_path):
    parts = [
        curve(f"run{i}", seed=i, fall=8 / n).assign(width=width, epochs=10 * n)
        for i, (width, n) in enumerate(itertools.product((8, 16, 32), (1, 2, 3)))
    ]
    result = sweepdiag.diagnose(pd.concat(parts), one_sweep=True, output=tmp_path / "out")
    assert [axis.name for axis in result.data.axes] == ["capacity", "epochs"]
    assert list(result.recommendation.next_parameters) == ["capacity"]
    (finding,) = (f for f in result.findings if f.code == "SD501")
    assert "epochs" not in finding.numbers["edges"]


def test_numbers_too_large_to_count_are_axes(tmp_path):
    rows = [curve(f"{n}_{k}").assign(scale=n, k=k) for n in (1.0, 1e300) for k in (1, 2)]
    result = sweepdiag.diagnose(pd.concat(rows), one_sweep=True, output=tmp_path)
    assert set(result.trials["scale"]) == {1.0, 1e300}


def test_a_column_trial_id_beside_the_names_of_runs(tmp_path):
    rows = [curve(f"{n}_{k}").assign(trial_id=f"t{n}", lr=k) for n in (1, 2) for k in (1, 2)]
    frame = pd.concat(rows)
    result = sweepdiag.diagnose(frame, one_sweep=True, axes=["lr", "lr"], output=tmp_path / "a")
    assert result.trials["trial_id"].tolist() == ["1_1", "1_2", "2_1", "2_2"]
    assert [axis.name for axis in result.data.axes] == ["lr"]
    result = sweepdiag.diagnose(frame, group_by="trial_id", output=tmp_path / "b")
    assert list(result.groups) == ["t1", "t2"]


def test_settings_beside_logs_and_in_names_tell_sweeps_apart(tmp_path):
    for i, kind in enumerate(("a", "b")):
        folder = tmp_path / "runs" / f"lr{i + 1}_w{i}"
        folder.mkdir(parents=True)
        curve("x").drop(columns="run").to_csv(folder / "log.csv", index=False)
        (folder / "config.yaml").write_text(f"kind: {kind}\n")
    for column, groups in (("config/kind", ["a", "b"]), ("lr", ["1", "2"])):
        output = tmp_path / "out" / groups[0]
        result = sweepdiag.diagnose(tmp_path / "runs", group_by=column, output=output)
        assert list(result.groups) == groups

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from sweepdiag.plotting import class_heatmap_info
from sweepdiag.records import Scale
from sweepdiag.report import charts
from sweepdiag.report.charts import make_explorer
from tests.sample_report import foreign_curves, sample_report, sampled_lrs, without_axes


@pytest.fixture(scope="module")
def spec(sweep):
    return make_explorer(sweep).spec


def test_cells_and_configurations_share_their_cell(spec):
    datasets = spec["datasets"]
    assert len(datasets["cells"]) == len(datasets["configurations"]) == 54
    by_cell = {row["cell"]: row for row in datasets["cells"]}
    for row in datasets["configurations"]:
        cell = by_cell[row["cell"]]
        assert cell["class"] == row["class"]
        assert f"lr {cell['column']}," in row["where"]
        assert cell["curves"] == "yes"


def test_a_curve_is_the_median_of_its_seeds(sweep, spec):
    row = spec["datasets"]["configurations"][10]
    ids = sweep.verdicts.loc[sweep.verdicts["config_id"] == row["config"], "trial_id"]
    own = sweep.curves[sweep.curves["trial_id"].isin(ids)]
    expected = own.groupby("epoch")["val_loss"].median()
    assert row["epoch"] == expected.index.tolist()
    assert row["validation"] == pytest.approx(expected.tolist(), rel=1e-3)


def test_losses_that_are_not_finite_end_the_curve(spec):
    rows = spec["datasets"]["configurations"]
    diverging = next(row for row in rows if row["class"] == "diverging")
    assert diverging["validation"][0] is not None
    assert diverging["validation"][2:] == [None] * 29


def test_the_specification_is_strict_json(spec):
    text = json.dumps(spec, allow_nan=False)
    assert "NaN" not in text


def test_the_best_configuration_is_picked_first(sweep, spec):
    (pick,) = [param for param in spec["params"] if param["name"] == "pick"]
    best = class_heatmap_info(sweep).best
    assert pick["value"] == [{"cell": int(np.ravel_multi_index(best, (3, 3, 6)))}]


def test_the_outline_of_the_region_is_on_its_bounding_cells(spec):
    cells = spec["datasets"]["cells"]
    inside = [cell for cell in cells if cell["region"] == "yes"]
    assert any("left" in cell for cell in inside)
    bounds = {"left", "right", "upper", "lower"}
    assert not any(bounds & set(cell) for cell in cells if cell["region"] == "no")


def test_many_configurations_are_drawn_at_random_with_the_best_among_them(sweep, monkeypatch):
    monkeypatch.setattr(charts, "MAX_CONFIGURATIONS", 6)
    explorer = make_explorer(sweep)
    rows = explorer.spec["datasets"]["configurations"]
    assert len(rows) == 6
    chosen = {row["config"] for row in rows}
    assert sweep.best_config_id in chosen
    assert len(chosen & sweep.region_ids) >= 3
    assert explorer.notes[0].startswith("Curves of 6 of the 54 judged configurations")
    assert {cell["curves"] for cell in explorer.spec["datasets"]["cells"]} == {"yes", "no"}


def test_long_curves_are_thinned_and_keep_their_ends(sweep, monkeypatch):
    monkeypatch.setattr(charts, "MAX_POINTS", 7)
    explorer = make_explorer(sweep)
    epochs = explorer.spec["datasets"]["configurations"][0]["epoch"]
    assert len(epochs) == 7
    assert (epochs[0], epochs[-1]) == (0.0, 30.0)
    assert explorer.notes == ("Curves are thinned to at most 7 points.",)


def test_failed_and_pending_cells_have_no_curves():
    spec = make_explorer(sample_report(failed=(0, 1), pending=(2, 3))).spec
    kinds = {cell["class"]: cell for cell in spec["datasets"]["cells"]}
    assert kinds["failed to run"]["letter"] == "\N{MULTIPLICATION SIGN}"
    assert kinds["failed to run"]["curves"] == "no"
    assert "not judged yet" in kinds


@pytest.mark.parametrize("missing", [["lr"], ["lr", "batch_size"]])
def test_missing_axes_are_no_obstacle(sweep, missing):
    assert make_explorer(without_axes(sweep, *missing)).spec["datasets"]["cells"]


def test_cells_of_sampled_values_hold_several_configurations():
    data = sampled_lrs(
        sample_report(
            lrs=tuple(np.geomspace(1e-4, 9.9, 30)),
            batch_sizes=(16,),
            capacities=(4, 16),
            n_seeds=1,
        )
    )
    datasets = make_explorer(data).spec["datasets"]
    assert len(datasets["configurations"]) == 30
    assert len(datasets["cells"]) <= 20


def test_there_is_nothing_to_explore_without_axes_or_verdicts(sweep):
    assert make_explorer(foreign_curves(sample_report(n_seeds=1))) is None
    empty = sweep.configurations.assign(verdict=None)
    assert make_explorer(dataclasses.replace(sweep, configurations=empty)) is None


def test_models_whose_names_look_alike_have_a_row_each(sweep):
    start = "convnext_tiny_in22k_adamw_cosine_"
    names = {4.0: f"{start}a", 16.0: f"{start}b", 64.0: "模型"}
    axis = dataclasses.replace(
        next(axis for axis in sweep.axes if axis.name == "capacity"),
        scale=Scale.CATEGORICAL,
        values=tuple(names.values()),
    )
    one = without_axes(sweep, "lr", "batch_size")
    table = one.configurations.assign(capacity=[names[c] for c in one.configurations["capacity"]])
    data = dataclasses.replace(one, axes=(axis,), configurations=table)
    spec = make_explorer(data).spec
    labels = [cell["column"] for cell in spec["datasets"]["cells"]]
    assert len(set(labels)) == 3
    assert "模型" in labels
    assert {row["across"] for row in spec["datasets"]["configurations"]} <= set(labels)

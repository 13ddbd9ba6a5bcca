from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from sweepdiag.plotting import CLASSES, class_heatmap_draw, class_heatmap_info
from sweepdiag.plotting.class_heatmap import _edge_of_row
from sweepdiag.records import Axis, Recommendation, Scale, VerdictClass
from tests.sample_report import sample_report, sampled_lrs, without_axes

D = CLASSES.index(VerdictClass.DIVERGING)
U = CLASSES.index(VerdictClass.UNDERFIT)
H = CLASSES.index(VerdictClass.HEALTHY)
N = CLASSES.index(VerdictClass.NOT_LEARNING)
_ = -1


def class_at(info, panel, row, column):
    return CLASSES[info.codes[panel, row, column]]


def replace_configurations(data, **columns):
    return dataclasses.replace(data, configurations=data.configurations.assign(**columns))


def without_region(data):
    advice = Recommendation(
        answer="",
        region=None,
        stop_epochs=(),
        region_stop=None,
        next_parameters={},
        next_settings={},
        next_reasons=(),
    )
    return dataclasses.replace(data, recommendation=advice)


def test_axes_go_from_low_to_high(sweep):
    info = class_heatmap_info(sweep)
    assert info.grid.columns.labels == ("1e-4", "1e-3", "0.01", "0.1", "1", "10")
    assert info.grid.rows.labels == ("16", "64", "256")
    assert [info.grid.panel_title(i) for i in range(3)] == [
        "capacity = 4",
        "capacity = 16",
        "capacity = 64",
    ]
    assert info.codes.shape == (3, 3, 6)


def test_each_cell_shows_its_configuration(sweep):
    info = class_heatmap_info(sweep)
    places = (info.grid.panels.values, info.grid.rows.values, info.grid.columns.values)
    for row in sweep.configurations.to_dict("records"):
        panel, y, x = (
            values.index(row[name])
            for values, name in zip(places, ("capacity", "batch_size", "lr"), strict=True)
        )
        assert class_at(info, panel, y, x) == row["verdict"]
        assert info.n_judged[panel, y, x] == 2


def test_the_region_is_where_its_configurations_are(sweep):
    info = class_heatmap_info(sweep)
    assert info.is_region.sum() == len(sweep.region_ids)
    assert (info.codes[info.is_region] == H).all()


def test_the_best_configuration_is_marked(sweep):
    info = class_heatmap_info(sweep)
    table = sweep.configurations.set_index("config_id")
    best = table.loc[sweep.best_config_id]
    assert best["best_monitor"] == table["best_monitor"].min()
    panel, row, column = info.best
    assert info.grid.panels.values[panel] == best["capacity"]
    assert info.grid.rows.values[row] == best["batch_size"]
    assert info.grid.columns.values[column] == best["lr"]


def test_a_larger_metric_is_better_when_it_is_monitored(sweep):
    data = dataclasses.replace(sweep, monitor="val_metric", metric_mode="max")
    best = data.configurations.set_index("config_id").loc[data.best_config_id]
    useless = ["diverging", "not_learning"]
    steady = data.configurations[~data.configurations["verdict"].isin(useless)]
    assert best["best_monitor"] == steady["best_monitor"].max()
    assert class_heatmap_info(data).best_text == "best validation accuracy"


def test_nothing_is_best_where_all_diverge():
    data = sample_report(lrs=(10.0, 100.0), n_seeds=1)
    info = class_heatmap_info(data)
    assert info.classes == (VerdictClass.DIVERGING,)
    assert info.best is None
    assert not info.is_region.any()
    assert np.isnan(info.edges).all()


def test_the_stability_edge_rises_with_the_batch_size(sweep):
    edges = class_heatmap_info(sweep).edges
    assert edges[0].tolist() == [4.0, 4.0, 5.0]


@pytest.mark.parametrize(
    ("codes", "edge"),
    [
        ([H, H, D, D], 2.0),
        ([H, _, _, D], 2.0),
        ([H, H, H], np.nan),
        ([D, D], np.nan),
        ([_, _], np.nan),
        ([H, D, H, D, D], 1.0),
        ([H, H, H, D, H, D], 3.0),
        ([D, H], 1.0),
        ([N, N, H, N, D], 3.0),
        ([N, N], np.nan),
    ],
)
def test_the_edge_of_a_row(codes, edge):
    assert _edge_of_row(np.array(codes, dtype=np.int8)) == pytest.approx(edge, nan_ok=True)


def test_there_is_no_edge_without_a_learning_rate_across(sweep):
    assert np.isnan(class_heatmap_info(without_axes(sweep, "lr")).edges).all()


def test_disagreeing_seeds_are_counted(sweep):
    data = replace_configurations(sweep, share=0.5)
    info = class_heatmap_info(data)
    assert (info.n_agree == 1).all()
    assert (info.n_judged == 2).all()


def test_failed_and_pending_cells_are_told_apart():
    data = sample_report(failed=(0, 1), pending=(2, 3), n_seeds=2)
    info = class_heatmap_info(data)
    assert info.is_failed.sum() == 1
    assert info.is_pending.sum() == 1
    assert (info.codes < 0).sum() == 2
    assert "interrupted: 106 of 108 trials done" in info.notes[0]


def test_a_failed_seed_does_not_cross_out_a_judged_configuration():
    info = class_heatmap_info(sample_report(failed=(0,), n_seeds=2))
    assert not info.is_failed.any()


@pytest.mark.parametrize(
    ("missing", "columns", "rows", "panels"),
    [
        (["batch_size"], "lr", "capacity", ""),
        (["capacity"], "lr", "batch_size", ""),
        (["lr"], "batch_size", "capacity", ""),
        (["batch_size", "capacity"], "lr", "", ""),
        (["lr", "batch_size"], "capacity", "", ""),
    ],
)
def test_other_axes_take_the_place_of_missing_ones(sweep, missing, columns, rows, panels):
    info = class_heatmap_info(without_axes(sweep, *missing))
    assert (info.grid.columns.name, info.grid.rows.name, info.grid.panels.name) == (
        columns,
        rows,
        panels,
    )
    assert (info.codes >= 0).all()
    class_heatmap_draw(info)


def test_an_axis_with_one_value_gives_way_to_one_that_varies():
    data = sample_report(batch_sizes=(16,), n_seeds=1)
    grid = class_heatmap_info(data).grid
    assert (grid.columns.name, grid.rows.name, grid.panels.name) == (
        "lr",
        "capacity",
        "batch_size",
    )


def test_further_axes_are_held_at_the_best_value(sweep):
    momenta = np.where(np.arange(len(sweep.configurations)) % 2 == 0, 0.0, 0.9)
    axis = Axis(name="momentum", values=(0.0, 0.9), scale=Scale.LINEAR, is_structural=False)
    data = replace_configurations(sweep, momentum=momenta)
    data = dataclasses.replace(data, axes=(*sweep.axes, axis))
    table = data.configurations.set_index("config_id")
    held = table.loc[data.best_config_id, "momentum"]
    info = class_heatmap_info(data)
    assert (info.codes >= 0).sum() == (momenta == held).sum()
    assert f"momentum = {held:g} (the best configuration's, of 2 values)" in info.notes[0]


def test_sampled_learning_rates_are_binned_and_ties_go_to_the_worse():
    data = sampled_lrs(sample_report(lrs=tuple(np.geomspace(1e-4, 9.9, 40)), n_seeds=1))
    info = class_heatmap_info(data)
    assert info.grid.columns.is_binned
    assert len(info.grid.columns) <= 10
    assert info.n_judged.sum() == 40
    verdicts = np.array([CLASSES.index(VerdictClass(v)) for v in data.configurations["verdict"]])
    for cell in np.unique(info.grid.cell_of):
        inside = np.bincount(verdicts[info.grid.cell_of == cell], minlength=len(CLASSES))
        assert info.codes.flat[cell] == inside.argmax()
        assert info.n_agree.flat[cell] in {inside.max(), 1}
    class_heatmap_draw(info)


def test_twelve_panels_are_chosen_from_many_the_best_among_them():
    data = sample_report(
        lrs=(0.01, 10.0), batch_sizes=(16, 64), capacities=tuple(range(4, 64, 4)), n_seeds=1
    )
    info = class_heatmap_info(data)
    assert len(info.grid.panels) == 12
    assert info.grid.panels.values == tuple(sorted(info.grid.panels.values))
    assert info.notes == ("12 of the 15 values of capacity, evenly spread",)
    best = data.configurations.set_index("config_id").loc[data.best_config_id]
    assert info.grid.panels.values[info.best[0]] == best["capacity"]


def test_only_classes_that_occur_are_in_the_legend(sweep):
    info = class_heatmap_info(sweep)
    texts = {text.get_text() for text in class_heatmap_draw(info).findobj(is_text)}
    assert {"diverging", "u-shaped", "healthy", "stability edge"} <= texts
    assert "overfit" not in texts
    assert "failed to run" not in texts


def test_letters_are_drawn_only_where_they_fit(sweep):
    letters = [text for text in texts_of(class_heatmap_info(sweep)) if text in set("DNUOV?H")]
    assert len(letters) == 54 + len(class_heatmap_info(sweep).classes)


def test_a_large_grid_keeps_its_size():
    data = sample_report(
        lrs=tuple(np.geomspace(1e-4, 10, 60)),
        batch_sizes=tuple(range(8, 40, 8)),
        capacities=(16,),
        n_seeds=1,
        epochs=6,
    )
    figure = class_heatmap_draw(class_heatmap_info(without_region(data)))
    width, height = figure.get_size_inches()
    assert max(width, height) < 16


def test_no_tick_labels_overlap(sweep):
    figure = class_heatmap_draw(class_heatmap_info(sweep))
    figure.canvas.draw()
    for axes in figure.axes[1:]:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
        for left, right in itertools.pairwise(boxes):
            assert left.x1 < right.x0


@pytest.mark.parametrize("n_panels", [2, 4])
def test_no_titles_of_panels_overlap(n_panels):
    data = sample_report(lrs=(0.01, 0.1), n_seeds=1)
    names = tuple(f"C:/data/of/many/beans/{i}/data.yaml" for i in range(n_panels))
    kinds = Axis(name="kind", values=names, scale=Scale.CATEGORICAL, is_structural=True)
    table = data.configurations
    table = table.assign(kind=[names[i % n_panels] for i in range(len(table))])
    axes = (*(axis for axis in data.axes if axis.name != "capacity"), kinds)
    data = dataclasses.replace(data, axes=axes, configurations=table)
    figure = class_heatmap_draw(class_heatmap_info(data))
    figure.canvas.draw()
    titles = [text for text in figure.findobj(is_text) if text.get_text().startswith("kind =")]
    boxes = [title.get_window_extent() for title in titles]
    assert len(boxes) == n_panels
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def is_text(artist):
    from matplotlib.text import Text

    return isinstance(artist, Text)


def texts_of(info):
    return [text.get_text() for text in class_heatmap_draw(info).findobj(is_text)]

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweepdiag.plotting import loss_heatmap_draw, loss_heatmap_info
from sweepdiag.plotting.loss_heatmap import _limits
from tests.sample_report import sample_report, sampled_lrs


def texts_of(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(lambda a: isinstance(a, Text))]


def test_each_cell_shows_the_best_loss_of_its_configuration(sweep):
    info = loss_heatmap_info(sweep)
    table = sweep.configurations
    row = table[(table["lr"] == 0.1) & (table["batch_size"] == 64) & (table["capacity"] == 16)]
    assert info.values[1, 1, 3] == row["best_val_loss"].iloc[0]


def test_diverging_cells_are_apart_and_do_not_set_the_scale(sweep):
    info = loss_heatmap_info(sweep)
    assert info.is_diverging[:, :, -1].all()
    assert not info.is_diverging[:, :, :4].any()
    usable = info.values[~info.is_diverging]
    assert info.limits == (usable.min(), usable.max())


@pytest.mark.parametrize(("shift", "is_log"), [(0.0, True), (5.0, False), (-5.0, False)])
def test_colours_are_logarithmic_only_for_positive_losses_that_span_much(sweep, shift, is_log):
    table = sweep.configurations.assign(best_monitor=lambda t: t["best_monitor"] + shift)
    info = loss_heatmap_info(dataclasses.replace(sweep, configurations=table))
    assert info.is_log is is_log
    loss_heatmap_draw(info)


def test_numbers_are_in_the_cells(sweep):
    texts = texts_of(loss_heatmap_draw(loss_heatmap_info(sweep)))
    assert {"2.22", "0.285", "smaller is better", "recommended region"} <= set(texts)


def test_numbers_are_left_out_of_all_cells_if_one_is_too_narrow():
    data = sample_report(
        lrs=tuple(np.geomspace(1e-4, 0.1, 40)), batch_sizes=(16,), capacities=(16,), n_seeds=1
    )
    texts = texts_of(loss_heatmap_draw(loss_heatmap_info(data)))
    assert not any(text.startswith("0.28") for text in texts)


def test_a_metric_that_is_monitored_is_shown_with_its_direction(sweep):
    data = dataclasses.replace(sweep, monitor="val_metric")
    info = loss_heatmap_info(data)
    assert info.is_larger_better
    assert "larger is better" in texts_of(loss_heatmap_draw(info))


def test_a_bin_shows_the_median_of_what_did_not_diverge():
    data = sampled_lrs(sample_report(lrs=tuple(np.geomspace(1e-4, 9.9, 40)), n_seeds=1))
    info = loss_heatmap_info(data)
    table = data.configurations.assign(cell=info.grid.cell_of)
    steady = table[table["verdict"] != "diverging"]
    for cell, median in steady.groupby("cell")["best_monitor"].median().items():
        assert info.values.flat[cell] == pytest.approx(median)
        assert not info.is_diverging.flat[cell]


@pytest.mark.parametrize(
    "options",
    [
        {"lrs": (0.01,), "batch_sizes": (16,), "capacities": (16,), "n_seeds": 1},
        {"lrs": (10.0, 100.0)},
        {"failed": tuple(range(20)), "pending": tuple(range(40, 60))},
        {"pending": tuple(range(108))},
    ],
)
def test_unusual_sweeps_are_drawn(options):
    info = loss_heatmap_info(sample_report(**options))
    assert loss_heatmap_draw(info).axes


def test_failed_and_pending_cells_are_told_apart():
    info = loss_heatmap_info(sample_report(failed=(0, 1), pending=(2, 3)))
    assert (info.is_failed.sum(), info.is_pending.sum()) == (1, 1)
    assert np.isnan(info.values[info.is_failed | info.is_pending]).all()


def test_differences_that_mean_nothing_do_not_fill_the_colours():
    low, high = _limits(np.array([1.384, 1.391]))
    assert high - low == pytest.approx(0.05 * 1.391)
    assert low < 1.384 < 1.391 < high
    assert _limits(np.array([0.1, 2.0])) == (0.1, 2.0)
    assert _limits(np.array([0.3])) == (0.3, 0.3)
    assert np.isnan(_limits(np.array([]))).all()


@pytest.mark.parametrize("shift", [0.0, 5.0])
@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_losses_of_any_size_are_drawn_alike(sweep, size, shift):
    table = sweep.configurations
    drawn = []
    for factor in (1.0, size):
        values = factor * (table["best_monitor"].clip(upper=1e3) + shift)
        scaled = dataclasses.replace(sweep, configurations=table.assign(best_monitor=values))
        figure = loss_heatmap_draw(loss_heatmap_info(scaled))
        figure.canvas.draw()
        drawn.append(figure)
    (ordinary, extreme) = ([c for a in f.axes for c in a.collections] for f in drawn)
    for first, second in zip(ordinary, extreme, strict=True):
        if first.get_array() is not None:
            np.testing.assert_allclose(first.get_array(), second.get_array(), atol=1e-6)
    labels = [label.get_text() for label in drawn[1].axes[-1].get_yticklabels()]
    assert [float(label) / size for label in labels] == pytest.approx(
        [float(label.get_text()) for label in drawn[0].axes[-1].get_yticklabels()]
    )


def test_no_number_touches_the_outline_of_the_region():
    info = loss_heatmap_info(sample_report(lrs=tuple(np.geomspace(1e-4, 1.0, 11))))
    assert info.is_region.any()
    figure = loss_heatmap_draw(info)
    figure.canvas.draw()
    n_checked = 0
    for panel, axes in enumerate(figure.axes[: len(info.values)]):
        for text in axes.texts:
            column, row = (int(place) for place in text.get_position())
            if not info.is_region[panel, row, column]:
                continue
            box = text.get_window_extent()
            left, right = (
                axes.transData.transform((place, row))[0] for place in (column, column + 1)
            )
            frame = 0.06 * figure.dpi
            assert left + frame <= box.x0 + 1.0
            assert box.x1 - 1.0 <= right - frame
            n_checked += 1
    assert n_checked > 0

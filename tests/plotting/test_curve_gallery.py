from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sweepdiag.plotting import ReportData, curve_gallery_draw, curve_gallery_info
from sweepdiag.plotting._curve_summary import common_epochs, have_ended, quantiles
from sweepdiag.records import VerdictClass
from tests.sample_report import foreign_curves, sample_report


def panel_of(data: ReportData, verdict: VerdictClass):
    panels = {panel.verdict: panel for panel in curve_gallery_info(data).panels}
    return panels[verdict]


def texts_of(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(lambda a: isinstance(a, Text))]


def test_one_panel_per_class_from_worst_to_best(sweep):
    info = curve_gallery_info(sweep)
    order = [panel.verdict for panel in info.panels]
    assert order == [verdict for verdict in VerdictClass if verdict in order]
    assert sum(panel.n_curves for panel in info.panels) == len(sweep.verdicts)


def test_the_median_is_that_of_the_curves_of_the_class(sweep):
    panel = panel_of(sweep, VerdictClass.HEALTHY)
    ids = sweep.verdicts.loc[sweep.verdicts["verdict"] == "healthy", "trial_id"]
    own = sweep.curves[sweep.curves["trial_id"].isin(ids)]
    at_ten = own[own["epoch"] == 10]
    assert panel.epochs[10] == 10.0
    assert panel.median[10] == pytest.approx(at_ten["val_loss"].median())
    assert panel.low[10] == pytest.approx(at_ten["val_loss"].quantile(0.1))
    assert panel.high[10] == pytest.approx(at_ten["val_loss"].quantile(0.9))
    assert panel.train_median[10] == pytest.approx(at_ten["train_loss"].median())


def test_the_turning_epoch_is_shown_where_most_curves_turn(sweep):
    turning = panel_of(sweep, VerdictClass.U_SHAPED).turning_epoch
    own = sweep.verdicts.loc[sweep.verdicts["verdict"] == "u_shaped", "turning_epoch"]
    assert turning == own.median()
    assert np.isnan(panel_of(sweep, VerdictClass.HEALTHY).turning_epoch)
    assert f"turns at {turning:g}" in texts_of(curve_gallery_draw(curve_gallery_info(sweep)))


def test_a_median_ends_where_half_of_the_curves_are_not_finite(sweep):
    panel = panel_of(sweep, VerdictClass.DIVERGING)
    assert np.isfinite(panel.median[:2]).all()
    assert np.isnan(panel.median[2:]).all()
    texts = texts_of(curve_gallery_draw(curve_gallery_info(sweep)))
    assert "most are not finite\nfrom epoch 2 on" in texts


def test_one_broken_curve_of_three_does_not_end_the_median():
    matrix = np.array([[1.0, 2.0], [1.0, 4.0], [1.0, np.inf]])
    (median,) = quantiles(matrix, (0.5,))
    assert median.tolist() == [1.0, 4.0]
    (high,) = quantiles(matrix, (0.9,))
    assert np.isnan(high[1])


def test_examples_are_typical_curves_and_the_worst(sweep):
    panel = panel_of(sweep, VerdictClass.UNDERFIT)
    kinds = [example.kind for example in panel.examples]
    assert kinds == ["typical", "typical", "worst"]
    assert len({example.trial_id for example in panel.examples}) == 3
    worst = panel.examples[-1]
    assert np.nanmean(worst.losses - panel.median) > 0


def test_a_single_curve_needs_no_examples():
    data = sample_report(lrs=(0.01,), batch_sizes=(16,), capacities=(16,), n_seeds=1)
    (panel,) = curve_gallery_info(data).panels
    assert (panel.n_curves, panel.examples) == (1, ())
    assert "H  healthy: 1 curve" in texts_of(curve_gallery_draw(curve_gallery_info(data)))


def test_many_epochs_are_put_into_bins():
    epochs, index = common_epochs(np.linspace(0.0, 50.0, 5001))
    assert epochs.size == 200
    assert epochs[0] == 0.0
    assert epochs[-1] == 50.0
    assert np.abs(epochs[index] - np.linspace(0.0, 50.0, 5001)).max() <= epochs[1] / 2 + 1e-9


def test_curves_of_different_lengths_and_steps_are_drawn(sweep):
    curves = sweep.curves
    codes = curves["trial_id"].astype("category").cat.codes
    shorter = curves[(codes % 2 == 0) | (curves["epoch"] < 9)].assign(
        epoch=lambda table: table["epoch"] * np.where(codes[table.index] % 3 == 0, 0.37, 1.0)
    )
    info = curve_gallery_info(dataclasses.replace(sweep, curves=shorter))
    assert info.panels
    curve_gallery_draw(info)


def test_infinite_negative_and_constant_losses_are_drawn(sweep):
    for change in (lambda loss: loss * 0 + 1.5, lambda loss: loss - 5, lambda loss: loss * np.inf):
        curves = sweep.curves.assign(
            val_loss=change(sweep.curves["val_loss"]),
            train_loss=change(sweep.curves["train_loss"]),
        )
        curve_gallery_draw(curve_gallery_info(dataclasses.replace(sweep, curves=curves)))


def test_losses_that_span_decades_get_a_log_axis(sweep):
    assert panel_of(sweep, VerdictClass.U_SHAPED).is_log
    assert not panel_of(sweep, VerdictClass.NOT_LEARNING).is_log


def test_curves_from_elsewhere_have_a_gallery():
    data = foreign_curves(sample_report(n_seeds=1))
    assert sum(panel.n_curves for panel in curve_gallery_info(data).panels) == 54


def test_without_a_verdict_the_gallery_says_so():
    data = sample_report(pending=tuple(range(108)))
    info = curve_gallery_info(data)
    assert info.panels == ()
    assert "no curve has been judged yet" in texts_of(curve_gallery_draw(info))


def test_ten_thousand_curves_are_summarised_in_seconds(sweep):
    import pandas as pd

    n_curves, n_points = 10_000, 31
    ids = np.array([f"{index:016x}" for index in range(n_curves)])
    epochs = np.tile(np.arange(n_points, dtype=float), n_curves)
    losses = np.exp(-epochs / 10) + np.random.default_rng(0).random(epochs.size) / 100
    curves = pd.DataFrame(
        {
            "trial_id": ids.repeat(n_points),
            "epoch": epochs,
            "val_loss": losses,
            "train_loss": losses,
        }
    )
    verdicts = pd.DataFrame({"trial_id": ids, "verdict": "healthy", "turning_epoch": np.nan})
    data = dataclasses.replace(sweep, curves=curves, verdicts=verdicts, trials=verdicts)
    (panel,) = curve_gallery_info(data).panels
    assert panel.n_curves == n_curves
    assert len(panel.examples) == 3


def test_a_median_ends_where_half_of_the_curves_have_ended():
    matrix = np.full((4, 6), np.nan)
    for row, n_points in enumerate((2, 2, 4, 6)):
        matrix[row, :n_points] = row
    (median,) = quantiles(matrix, (0.5,))
    np.testing.assert_array_equal(median, [1.5, 1.5, 2.5, 2.5, np.nan, np.nan])
    np.testing.assert_array_equal(have_ended(matrix), [False] * 4 + [True] * 2)


def test_a_curve_that_is_evaluated_less_often_has_not_ended():
    matrix = np.array([[1.0, np.nan, 1.0], [1.0, np.nan, 1.0], [1.0, 1.0, 1.0]])
    (median,) = quantiles(matrix, (0.5,))
    np.testing.assert_array_equal(median, [1.0, 1.0, 1.0])


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_losses_of_any_size_are_drawn_alike(sweep, size):
    curves = sweep.curves.assign(
        **{name: sweep.curves[name].clip(upper=1e3) for name in ("val_loss", "train_loss")}
    )
    heights = []
    for factor in (1.0, size):
        scaled = {name: factor * curves[name] for name in ("val_loss", "train_loss")}
        info = curve_gallery_info(dataclasses.replace(sweep, curves=curves.assign(**scaled)))
        figure = curve_gallery_draw(dataclasses.replace(info, baseline=None))
        figure.canvas.draw()
        lines = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) > 2]
        heights.append([line.axes.transData.transform(line.get_xydata()) for line in lines])
    for first, second in zip(*heights, strict=True):
        np.testing.assert_allclose(first, second, atol=0.05)


def test_steps_are_written_in_full(sweep):
    curves = sweep.curves.assign(epoch=sweep.curves["epoch"] * 123457)
    figure = curve_gallery_draw(curve_gallery_info(dataclasses.replace(sweep, curves=curves)))
    figure.canvas.draw()
    assert not figure.axes[0].xaxis.get_offset_text().get_text()
    assert "2,000,000" in [label.get_text() for label in figure.axes[0].get_xticklabels()]

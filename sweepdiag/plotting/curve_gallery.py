"""The gallery of curves: per class, what its learning curves look like."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._curve_summary import (
    ExampleCurve,
    choose_examples,
    common_epochs,
    have_ended,
    loss_matrix,
    quantiles,
)
from sweepdiag.plotting._losses import LossScale, loss_unit
from sweepdiag.plotting._style import GREY, INK, LABEL_PT, NOTE_PT, TITLE_PT, sheet_style
from sweepdiag.plotting._text import drawn_text, safe_text
from sweepdiag.plotting.palette import CLASS_COLOURS, CLASS_LETTERS, CLASS_NAMES
from sweepdiag.records import VerdictClass
from sweepdiag.wording import epoch_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from sweepdiag.plotting.view import ReportData

__all__ = [
    "ClassCurves",
    "CurveGalleryInfo",
    "ExampleCurve",
    "curve_gallery_draw",
    "curve_gallery_info",
]

_LOG_SPAN = 10.0
_TURNING_SHARE = 0.5
_PER_ROW = 3
_PANEL_IN = (3.9, 2.5)


@dataclass(frozen=True, kw_only=True)
class ClassCurves:
    """The curves of one class, summarised.

    Arrays have the shape ``(n_points,)``. NaN where most of the curves are not finite or have
    ended.

    Attributes:
        verdict: The class.
        n_curves: How many curves there are.
        epochs: Where the curves were evaluated; evenly spaced bins where these are too many.
        median: Median validation loss.
        low: 10 % quantile of the validation loss.
        high: 90 % quantile of the validation loss.
        train_median: Median training loss.
        have_ended: Whether more than half of the curves have ended before.
        turning_epoch: Median turning epoch; NaN where fewer than half of the curves have one.
        examples: A few curves as they are.
        is_log: Whether the losses span so much that a logarithmic axis shows more.
    """

    verdict: VerdictClass
    n_curves: int
    epochs: NDArray[np.float64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    train_median: NDArray[np.float64]
    have_ended: NDArray[np.bool_]
    turning_epoch: float
    examples: tuple[ExampleCurve, ...]
    is_log: bool


@dataclass(frozen=True, kw_only=True)
class CurveGalleryInfo:
    """What the gallery shows: one panel per class that occurs, from worst to best.

    Attributes:
        title: Name of the sweep.
        panels: The classes.
        baseline: Validation loss of the best constant prediction, if it is known.
        notes: What the reader must know beside the title.
    """

    title: str
    panels: tuple[ClassCurves, ...]
    baseline: float | None
    notes: tuple[str, ...]


def curve_gallery_info(data: ReportData) -> CurveGalleryInfo:
    """Return what the gallery shows: the curves of the trials that have a verdict."""
    verdicts = data.verdicts
    names = verdicts["verdict"].astype(str)
    curves = data.curves[data.curves["trial_id"].isin(verdicts["trial_id"])]
    epochs, bins = common_epochs(curves["epoch"].to_numpy(dtype=float))
    table = curves[["trial_id", "epoch", "val_loss", "train_loss"]].assign(bin=bins)
    panels = []
    for verdict in VerdictClass:
        members = verdicts[names == verdict.value]
        own = table[table["trial_id"].isin(members["trial_id"])]
        if len(own):
            turning = members["turning_epoch"].to_numpy(dtype=float, na_value=np.nan)
            panels.append(_summarise(verdict, own, epochs, turning))
    unjudged = len(data.trials) - len(verdicts)
    return CurveGalleryInfo(
        title=safe_text(data.title),
        panels=tuple(panels),
        baseline=data.facts.baseline_val_loss,
        notes=(f"{unjudged} trials without a verdict are not shown",) if unjudged > 0 else (),
    )


def curve_gallery_draw(info: CurveGalleryInfo) -> Figure:
    """Return the gallery, one panel per class."""
    from matplotlib.figure import Figure

    with sheet_style("curve_gallery"):
        n_across = min(max(len(info.panels), 1), _PER_ROW)
        n_down = -(-max(len(info.panels), 1) // n_across)
        width = max(n_across * _PANEL_IN[0], 7.2)
        height = n_down * _PANEL_IN[1] + 0.9
        figure = Figure(figsize=(width, height))
        figure.subplots_adjust(
            left=0.7 / width, right=1 - 0.15 / width, bottom=0.8 / height, top=1 - 0.75 / height,
            wspace=0.22, hspace=0.42,
        )  # fmt: skip
        _write_title(figure, info)
        for index, curves in enumerate(info.panels):
            axes = figure.add_subplot(n_down, n_across, index + 1)
            _draw_class(axes, curves, info.baseline)
        if info.panels:
            _draw_legend(figure, info)
    return figure


def _summarise(
    verdict: VerdictClass,
    own: pd.DataFrame,
    epochs: NDArray[np.float64],
    turning: NDArray[np.float64],
) -> ClassCurves:
    trial_ids, val = loss_matrix(own, "val_loss", epochs.size)
    _, train = loss_matrix(own, "train_loss", epochs.size)
    is_used = ~np.isnan(val).all(axis=0)
    low, median, high = quantiles(val[:, is_used], (0.1, 0.5, 0.9))
    (train_median,) = quantiles(train[:, is_used], (0.5,))
    has_turn = np.isfinite(turning)
    turns = has_turn.any() and has_turn.mean() >= _TURNING_SHARE
    shown = np.concatenate([low, high, train_median])
    return ClassCurves(
        verdict=verdict,
        n_curves=len(trial_ids),
        epochs=epochs[is_used],
        median=median,
        low=low,
        high=high,
        train_median=train_median,
        have_ended=have_ended(val[:, is_used]),
        turning_epoch=float(np.median(turning[has_turn])) if turns else float("nan"),
        examples=choose_examples(trial_ids, val[:, is_used], median, own),
        is_log=_spans_decades(shown),
    )


def _spans_decades(values: NDArray[np.float64]) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > _LOG_SPAN * finite.min())


def _write_title(figure: Figure, info: CurveGalleryInfo) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        0.15 / width, 1 - 0.12 / height, drawn_text(f"{info.title}: curves by class"),
        size=TITLE_PT, weight="bold", va="top", color=INK,
    )  # fmt: skip
    note = "; ".join(info.notes) if info.panels else "no curve has been judged yet"
    figure.text(0.15 / width, 1 - 0.36 / height, note, size=NOTE_PT, va="top", color=GREY)


def _draw_class(axes: Axes, curves: ClassCurves, baseline: float | None) -> None:
    # The darker outline keeps light class colours readable as lines.
    colour = CLASS_COLOURS[curves.verdict]
    noun = "curve" if curves.n_curves == 1 else "curves"
    axes.set_title(
        f"{CLASS_LETTERS[curves.verdict]}  {CLASS_NAMES[curves.verdict]}: "
        f"{curves.n_curves} {noun}",
        size=LABEL_PT, loc="left", weight="bold", color=INK,
    )  # fmt: skip
    scale = LossScale(is_log=curves.is_log, unit=loss_unit(_shown(curves)))
    low, high = scale.place(curves.low), scale.place(curves.high)
    axes.fill_between(curves.epochs, low, high, color=colour, alpha=0.3, linewidth=0, zorder=1)
    for example in curves.examples:
        is_worst = example.kind == "worst"
        axes.plot(
            example.epochs, scale.place(example.losses),
            color="#D00000" if is_worst else "#777777", linewidth=0.8,
            linestyle=":" if is_worst else "-", zorder=2,
        )  # fmt: skip
    training = scale.place(curves.train_median)
    axes.plot(curves.epochs, training, color=INK, linewidth=1.3, linestyle="--")
    median = scale.place(curves.median)
    for width, shade in ((3.2, INK), (2.0, colour)):
        axes.plot(curves.epochs, median, color=shade, linewidth=width, zorder=4)
    _set_limits(axes, curves, scale, baseline)
    _mark_turn(axes, curves)
    _mark_end(axes, curves)
    axes.set_xlim(*_padded(float(curves.epochs[0]), float(curves.epochs[-1])))
    _label_epochs(axes)


def _label_epochs(axes: Axes) -> None:
    """Write epochs in full; as many as have room, and none with an offset at the axis's end."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    low, high = axes.get_xlim()
    longest = len(epoch_text(round(high)))
    # Steps may be parts of an epoch where there are few.
    locator = MaxNLocator(4 if longest > 5 else 8, integer=high - low >= 2)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: epoch_text(epoch)))
    axes.set_xlabel("epoch", size=LABEL_PT, labelpad=1)


def _shown(curves: ClassCurves) -> NDArray[np.float64]:
    return np.concatenate([curves.low, curves.high, curves.median, curves.train_median])


def _set_limits(axes: Axes, curves: ClassCurves, scale: LossScale, baseline: float | None) -> None:
    """Set limits that show the band, and the baseline where it is near."""
    places = scale.place(_shown(curves))
    finite = places[np.isfinite(places)]
    if not finite.size:
        axes.set_yticks([])
        return
    low, high = float(finite.min()), float(finite.max())
    room = (0.06 if curves.is_log else 0.07) * (high - low) or 0.1 * abs(high) or 1.0
    bottom, top = low - room, high + room
    axes.set_ylim(bottom, top)
    ticks, labels = scale.ticks(bottom, top)
    axes.set_yticks(ticks, labels=labels)
    level = math.nan if baseline is None else float(scale.place(baseline))
    if bottom < level < top:
        axes.axhline(level, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.03 * (high - low) or 0.5
    return low - room, high + room


def _mark_turn(axes: Axes, curves: ClassCurves) -> None:
    if not np.isfinite(curves.turning_epoch):
        return
    axes.axvline(curves.turning_epoch, color="#0050B0", linewidth=1.0, zorder=3)
    is_late = curves.turning_epoch > 0.7 * curves.epochs[-1]
    axes.annotate(
        f"turns at {epoch_text(curves.turning_epoch)}",
        (curves.turning_epoch, 1.0), xycoords=("data", "axes fraction"),
        xytext=(-4 if is_late else 4, -3), textcoords="offset points", size=NOTE_PT,
        ha="right" if is_late else "left", va="top", color="#0050B0", zorder=7,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
    )  # fmt: skip


def _mark_end(axes: Axes, curves: ClassCurves) -> None:
    """Say from where on most curves are not finite, or have ended."""
    missing = np.flatnonzero(~np.isfinite(curves.median))
    if not missing.size:
        return
    first = epoch_text(float(curves.epochs[missing[0]]))
    note = f"most are not finite\nfrom epoch {first} on"
    if curves.have_ended[missing[0]]:
        note = f"most have ended\nbefore epoch {first}"
    axes.text(
        0.98, 0.5, note, transform=axes.transAxes,
        size=NOTE_PT, ha="right", va="center", color=GREY,
    )  # fmt: skip


def _draw_legend(figure: Figure, info: CurveGalleryInfo) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Line2D([], [], color=INK, linewidth=3.0, label="median validation loss"),
        Patch(facecolor="#999999", alpha=0.4, label="10 to 90 % of curves"),
        Line2D([], [], color=INK, linewidth=1.3, linestyle="--", label="median training loss"),
    ]
    if any(curves.examples for curves in info.panels):
        handles += [
            Line2D([], [], color="#777777", linewidth=0.8, label="typical curve"),
            Line2D([], [], color="#D00000", linewidth=0.8, linestyle=":", label="worst curve"),
        ]
    if info.baseline is not None:
        dots = (0, (1, 2))
        handles.append(
            Line2D([], [], color=GREY, linewidth=0.8, linestyle=dots, label="constant prediction")
        )
    width, height = figure.get_size_inches()
    n_columns = len(handles) if width > 10.5 else 3
    figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0.1 / width, 0.02 / height),
        ncols=n_columns, frameon=False, fontsize=NOTE_PT, handlelength=1.8, columnspacing=1.4,
    )  # fmt: skip

"""Figures of a sweep: what they show (``*_info``) apart from how it is drawn (``*_draw``)."""

from __future__ import annotations

from sweepdiag.plotting._slots import Slots, find_slots
from sweepdiag.plotting.class_heatmap import (
    CLASSES,
    ClassHeatmapInfo,
    class_heatmap_draw,
    class_heatmap_info,
)
from sweepdiag.plotting.curve_gallery import (
    CurveGalleryInfo,
    curve_gallery_draw,
    curve_gallery_info,
)
from sweepdiag.plotting.figures import draw_figures, figure_svg, sweep_figures
from sweepdiag.plotting.loss_heatmap import (
    LossHeatmapInfo,
    loss_heatmap_draw,
    loss_heatmap_info,
)
from sweepdiag.plotting.palette import (
    CLASS_COLOURS,
    CLASS_LETTERS,
    CLASS_MEANINGS,
    CLASS_NAMES,
    line_colour,
    text_colour,
)
from sweepdiag.plotting.view import Origin, ReportData

__all__ = [
    "CLASSES",
    "CLASS_COLOURS",
    "CLASS_LETTERS",
    "CLASS_MEANINGS",
    "CLASS_NAMES",
    "ClassHeatmapInfo",
    "CurveGalleryInfo",
    "LossHeatmapInfo",
    "Origin",
    "ReportData",
    "Slots",
    "class_heatmap_draw",
    "class_heatmap_info",
    "curve_gallery_draw",
    "curve_gallery_info",
    "draw_figures",
    "figure_svg",
    "find_slots",
    "line_colour",
    "loss_heatmap_draw",
    "loss_heatmap_info",
    "sweep_figures",
    "text_colour",
]

"""All figures of a sweep, on disk or as SVG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from sweepdiag.errors import StoreError
from sweepdiag.plotting._style import sheet_style
from sweepdiag.plotting.class_heatmap import class_heatmap_draw, class_heatmap_info
from sweepdiag.plotting.curve_gallery import curve_gallery_draw, curve_gallery_info
from sweepdiag.plotting.loss_heatmap import loss_heatmap_draw, loss_heatmap_info

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.figure import Figure

    from sweepdiag.plotting.view import ReportData

__all__ = ["draw_figures", "figure_svg", "sweep_figures"]

_DPI = 144


def sweep_figures(data: ReportData) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of every plot that the sweep has data for.

    Curves that came from elsewhere have no axes, so that only their gallery is drawn.
    """
    if data.axes and len(data.configurations):
        yield "class_heatmap", class_heatmap_draw(class_heatmap_info(data))
        yield "loss_heatmap", loss_heatmap_draw(loss_heatmap_info(data))
    yield "curve_gallery", curve_gallery_draw(curve_gallery_info(data))


def draw_figures(data: ReportData, directory: Path) -> list[Path]:
    """Write every figure as PNG and SVG, and return the paths.

    No window is opened and no state of ``pyplot`` changes; figures are freed when written.

    Args:
        data: The sweep.
        directory: Where to write; made if it is missing.

    Returns:
        The files, in the order of `sweep_figures`.

    Raises:
        StoreError: If a file cannot be written.
    """
    paths: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, figure in sweep_figures(data):
            for kind in ("png", "svg"):
                paths.append(directory / f"{name}.{kind}")
                paths[-1].unlink(missing_ok=True)  # a link may lead anywhere
                paths[-1].write_bytes(_render(name, figure, kind))
    except OSError as error:
        message = f"cannot write figures into {directory}: {error}"
        raise StoreError(message) from error
    return paths


def figure_svg(name: str, figure: Figure) -> bytes:
    """Return a figure as an SVG document; the same figure gives the same bytes."""
    return _render(name, figure, "svg")


def _render(name: str, figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # Without a date in it, the same data give the same file.
    metadata = {"Date": None, "Title": name} if kind == "svg" else {"Title": name}
    with sheet_style(name):
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=metadata)
    return buffer.getvalue()

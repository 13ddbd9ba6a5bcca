from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET

import pytest

from sweepdiag.errors import StoreError
from sweepdiag.plotting import draw_figures, figure_svg, sweep_figures
from sweepdiag.records import Scale
from tests.sample_report import NASTY_NAME, foreign_curves, sample_report

NAMES = ["class_heatmap", "loss_heatmap", "curve_gallery"]


@pytest.fixture(scope="module")
def small():
    return sample_report(lrs=(0.01, 0.1, 10.0), batch_sizes=(16,), capacities=(16,), n_seeds=1)


def test_every_figure_is_written_as_png_and_svg(small, tmp_path):
    paths = draw_figures(small, tmp_path / "figures")
    assert [path.name for path in paths] == [
        f"{n}.{kind}" for n in NAMES for kind in ("png", "svg")
    ]
    for path in paths:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG" if path.suffix == ".png" else b"<?xml")


def test_the_same_sweep_gives_the_same_files(small, tmp_path):
    first = draw_figures(small, tmp_path / "1")
    second = draw_figures(small, tmp_path / "2")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_users_settings_are_left_alone(small, tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 33.0, "text.parse_math": True, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        draw_figures(small, tmp_path)
        assert dict(mpl.rcParams) == before


def test_no_figure_stays_open_in_pyplot(small, tmp_path):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    draw_figures(small, tmp_path)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    "title", [NASTY_NAME, "$\\undefined$", "名前 \x00 \x1b[31m", "a\nb--c", ""]
)
def test_any_title_gives_well_formed_svg_without_scripts(small, title):
    data = dataclasses.replace(small, title=title)
    for name, figure in sweep_figures(data):
        content = figure_svg(name, figure)
        root = ET.fromstring(content)
        assert root.tag.endswith("svg")
        assert not any(element.tag.endswith("script") for element in root.iter())
        assert b"<script" not in content


def test_names_in_cells_and_on_axes_may_be_anything(small):
    names = {0.01: NASTY_NAME, 0.1: "$x$", 10.0: "a\"b'<c>"}
    axis = dataclasses.replace(
        small.axes[0], values=tuple(names.values()), scale=Scale.CATEGORICAL
    )
    table = small.configurations.assign(lr=small.configurations["lr"].map(names))
    data = dataclasses.replace(small, axes=(axis, *small.axes[1:]), configurations=table)
    for name, figure in sweep_figures(data):
        ET.fromstring(figure_svg(name, figure))


def test_curves_from_elsewhere_get_their_gallery_alone(tmp_path):
    data = foreign_curves(sample_report(lrs=(0.01, 10.0), capacities=(16,), n_seeds=1))
    assert {path.stem for path in draw_figures(data, tmp_path)} == {"curve_gallery"}


def test_a_directory_that_cannot_be_made_is_a_store_error(small, tmp_path):
    (tmp_path / "figures").write_text("a file is in the way")
    with pytest.raises(StoreError, match=r"cannot write figures into .*figures"):
        draw_figures(small, tmp_path / "figures")

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest

from sweepdiag.report import render_html
from sweepdiag.report.html import _embed_json, _safe_script
from tests.sample_report import NASTY_NAME, foreign_curves, sample_report, without_axes

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Collects what a browser would see, and checks that elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.words: list[str] = []
        self._script_type: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "script":
            self._script_type = dict(attrs).get("type")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append((self._script_type, data))
        elif self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="module")
def text(sweep) -> str:
    return render_html(sweep)


@pytest.fixture
def no_figures(monkeypatch):
    """Leave figures out, which have tests of their own and take most of the time."""
    monkeypatch.setattr("sweepdiag.report.html.sweep_figures", lambda data: iter(()))


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def nasty(sweep):
    findings = tuple(
        dataclasses.replace(f, title=NASTY_NAME, evidence=NASTY_NAME, action=NASTY_NAME)
        for f in sweep.findings
    )
    advice = dataclasses.replace(
        sweep.recommendation,
        answer=NASTY_NAME,
        next_reasons=(NASTY_NAME,),
        next_settings={NASTY_NAME: NASTY_NAME},
    )
    return dataclasses.replace(
        sweep,
        title=NASTY_NAME,
        findings=findings,
        recommendation=advice,
        facts=dataclasses.replace(sweep.facts, workload=NASTY_NAME, loss=NASTY_NAME),
        environment={NASTY_NAME: NASTY_NAME, "versions": {NASTY_NAME: [NASTY_NAME]}},
        configurations=sweep.configurations.assign(evidence=NASTY_NAME),
    )


def test_elements_nest(page):
    assert page.open == []


def test_the_page_says_what_matters(page, sweep):
    words = " ".join(" ".join(page.words).split())
    for expected in (
        sweep.recommendation.answer,
        "Stop at epoch 12 of 30",
        "Best validation loss 0.103",
        "The highest learning rates diverge",
        "Keep lr at or below 0.1",
        "1 check passed",
        "below it underfits",
        "How to read the classes",
        "2.13.0",
    ):
        assert expected in words


def test_nothing_is_loaded_from_elsewhere(page, text):
    for tag, name, value in page.attributes:
        if name in {"src", "href", "srcset", "action", "data", "poster"}:
            assert value.startswith(("data:image/svg+xml;base64,", "#")), (tag, name, value[:80])
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "<link" not in text
    assert "cdn" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", text).lower()


def test_the_policy_allows_these_scripts_and_no_others(page):
    policy = {name: value for _, name, value in page.attributes if "default-src" in value}
    directives = dict(part.strip().split(" ", 1) for part in policy["content"].split(";"))
    assert directives["default-src"] == "'none'"
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
        for kind, code in page.scripts
        if kind is None
    }
    assert set(directives["script-src"].split()) == hashes
    assert len(hashes) == 2


def test_there_are_no_handlers_in_attributes(page):
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_figures_are_images_with_a_description(page):
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    texts = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert len(sources) == len(texts) == 3
    assert all(texts)
    for source in sources:
        assert b"<svg" in base64.b64decode(source.split(",", 1)[1])


def test_whatever_the_user_named_is_text(sweep):
    text = render_html(nasty(sweep))
    page = Page(text)
    assert page.open == []
    assert [kind for kind, _ in page.scripts] == ["application/json", None, None]
    assert "<script>alert" not in text
    assert '<script>alert("1")</script>' in "".join(page.words)


def test_the_charts_data_are_json_in_the_page(page):
    (spec,) = [json.loads(code) for kind, code in page.scripts if kind == "application/json"]
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/v6")
    assert set(spec["datasets"]) == {"cells", "configurations"}


def test_embedded_json_cannot_end_its_element():
    value = {"a": "</script><!--<script>&\u2028"}
    text = _embed_json(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_scripts_cannot_end_their_element_either():
    assert _safe_script("a</script>b\r\n<!--c") == "a<\\/script>b\n\\x3C!--c"


def test_the_table_shows_the_best_first_and_diverging_last(text):
    rows = re.findall(r"<tr><td[^>]*data-value=\"(\d)\">", text)
    assert len(rows) == 54
    assert rows[0] == "4"
    n_diverging = rows.count("0")
    assert rows[-n_diverging:] == ["0"] * n_diverging


def test_a_long_table_is_cut_and_says_so(sweep, monkeypatch, no_figures):
    monkeypatch.setattr("sweepdiag.report.table.MAX_ROWS", 5)
    text = render_html(sweep)
    assert "5 of 54 are shown, configurations.parquet has all" in text
    assert len(re.findall(r"<tr><td[^>]*data-value=\"\d\">", text)) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"lrs": (0.01,), "batch_sizes": (16,), "capacities": (16,), "n_seeds": 1},
        {"lrs": (10.0, 100.0), "batch_sizes": (16,), "n_seeds": 1},
        {"pending": tuple(range(108))},
        {"failed": tuple(range(108))},
        {"failed": (0, 1, 2), "pending": (5, 6, 7), "monitor": "val_metric"},
    ],
)
def test_unusual_sweeps_have_a_page(options, no_figures):
    page = Page(render_html(sample_report(**options)))
    assert page.open == []
    assert "How to read the classes" in "".join(page.words)


@pytest.mark.parametrize("missing", [["lr"], ["batch_size", "capacity"]])
def test_missing_axes_are_no_obstacle(sweep, missing, no_figures):
    assert Page(render_html(without_axes(sweep, *missing))).open == []


def test_curves_from_elsewhere_have_a_page_without_a_map():
    data = foreign_curves(sample_report(lrs=(0.01, 10.0), n_seeds=1))
    page = Page(render_html(data))
    assert "Explore" not in "".join(page.words)
    assert sum((tag, name) == ("img", "src") for tag, name, _ in page.attributes) == 1


def test_the_page_is_the_same_again_and_from_tables_of_parquet(sweep, text):
    tags = [np.array(tags, dtype=object) for tags in sweep.configurations["tags"]]
    table = sweep.configurations.assign(tags=tags)
    assert render_html(dataclasses.replace(sweep, configurations=table)) == text

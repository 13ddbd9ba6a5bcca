"""The page that a browser shows: one file, complete without a network.

The content security policy allows the page's own scripts, by their hashes, and nothing else. Text
from the user is escaped by the template; the data of the charts are JSON in a script element of a
type that no browser runs.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import LaunchError
from sweepdiag.freeing import give_back_memory
from sweepdiag.messages import clean_message
from sweepdiag.plotting import (
    CLASS_COLOURS,
    CLASS_LETTERS,
    CLASS_MEANINGS,
    CLASS_NAMES,
    figure_svg,
    sweep_figures,
    text_colour,
)
from sweepdiag.records import FindingState, VerdictClass
from sweepdiag.report.charts import make_explorer
from sweepdiag.report.summary import (
    compare_stopping,
    count_classes,
    count_trials,
    describe_best,
    describe_causes,
    describe_curves,
    describe_memory,
    describe_parameter,
    describe_problems,
    describe_stop,
    describe_task,
    level_of,
    open_findings,
    other_findings,
)
from sweepdiag.report.table import configuration_table
from sweepdiag.wording import clean, format_value, percent, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweepdiag.plotting import ReportData
    from sweepdiag.records import AxisRange

__all__ = ["render_html"]

_FIGURE_TEXTS = {
    "class_heatmap": "Heatmap of the classes over the axes",
    "loss_heatmap": "Heatmap of the best monitored value over the axes",
    "curve_gallery": "Learning curves of each class: median, range and examples",
}


def render_html(data: ReportData) -> str:
    """Return the report of a sweep as one self-contained page.

    Figures are in the page as images, so that they show without JavaScript; the linked charts
    bring their libraries along.

    Args:
        data: The sweep.

    Returns:
        An HTML document that loads nothing from elsewhere.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.PackageLoader("sweepdiag.report", "templates"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    explorer = make_explorer(data)
    figures = _figures(data)
    give_back_memory()
    scripts = [_own_script("page.js")] + ([_explorer_script()] if explorer else [])
    charts = explorer and {"notes": explorer.notes, "spec": Markup(_embed_json(explorer.spec))}
    page = {
        **_overview(data),
        **_checks(data),
        "css": Markup(_template_text("report.css")),
        "environment": [*_flatten(data.environment), *_memory(data)],
        "explorer": charts,
        "figures": figures,
        "meanings": [_class_row(verdict) for verdict in VerdictClass],
        "next": _next_sweep(data),
        "origin": _origin(data),
        "policy": _policy(scripts),
        "scripts": [Markup(script) for script in scripts],
        "stopping": [(row.name, *row.cells) for row in compare_stopping(data)],
        "table": configuration_table(data),
    }
    page["sections"] = _sections(page)
    return environment.get_template("report.html.j2").render(page)


def _overview(data: ReportData) -> dict[str, Any]:
    """Return what the top of the page says."""
    counts = count_classes(data)
    stop = data.recommendation.region_stop
    largest = max((count.n for count in counts), default=1)
    return {
        "title": clean(data.title),
        "counts": count_trials(data),
        "task": describe_task(data),
        "interrupted": data.interrupted,
        "answer": clean(data.recommendation.answer),
        "best": describe_best(data),
        "stop": describe_stop(stop, data.monitor_name) if stop else "",
        "few": describe_curves(data),
        "region": _region(data),
        "noun": "configurations" if data.axes else "curves",
        "classes": [
            _class_row(count.verdict)
            | {
                "n": count.n,
                "share": percent(count.share, digits=1),
                "width": round(100 * count.n / largest, 1),
            }
            for count in counts
        ],
    }


def _class_row(verdict: VerdictClass) -> dict[str, str]:
    return {
        "name": CLASS_NAMES[verdict],
        "letter": CLASS_LETTERS[verdict],
        "colour": CLASS_COLOURS[verdict],
        "ink": text_colour(CLASS_COLOURS[verdict]),
        "meaning": CLASS_MEANINGS[verdict],
    }


def _region(data: ReportData) -> dict[str, Any] | None:
    region = data.recommendation.region
    if region is None:
        return None
    return {
        "sides": [_side(side) for side in region.axes],
        "reasons": [clean(reason) for reason in region.reasons],
    }


def _side(side: AxisRange) -> dict[str, str]:
    has_ends = side.low is not None and side.high is not None
    return {
        "name": side.name,
        "low": format_value(side.low) if has_ends else "",
        "high": format_value(side.high) if has_ends else "",
        "chosen": ", ".join(format_value(value) for value in side.values),
        "centre": format_value(side.centre),
        "low_reason": clean(side.low_reason),
        "high_reason": clean(side.high_reason),
    }


def _checks(data: ReportData) -> dict[str, Any]:
    """Return findings and tips in full, the other checks in groups."""
    groups = []
    for state, words in (
        (FindingState.PASSED, "passed"),
        (FindingState.NOT_APPLICABLE, "not applicable"),
    ):
        checks = other_findings(data.findings, state)
        if checks:
            summary = f"{plural(len(checks), 'check')} {words}"
            reasons = {clean(check.evidence) for check in checks}
            shared = reasons.pop() if len(checks) > 1 and len(reasons) == 1 else ""
            groups.append({"summary": summary, "checks": checks, "reason": shared})
    found = [
        {
            "level": level_of(finding),
            "code": finding.code,
            "name": finding.name,
            "title": clean(finding.title),
            "evidence": clean(finding.evidence),
            "action": clean(finding.action),
            "causes": describe_causes(finding),
        }
        for finding in open_findings(data.findings)
    ]
    return {"findings": found, "other_checks": groups}


def _origin(data: ReportData) -> dict[str, Any] | None:
    """Return where curves came from that sweepdiag did not train."""
    if data.origin is None:
        return None
    return {
        "lines": [clean(line) for line in data.origin.lines],
        "head": describe_problems(data.origin) if data.origin.n_problems else "",
        "problems": [clean(problem) for problem in data.origin.problems],
    }


def _next_sweep(data: ReportData) -> dict[str, Any] | None:
    advice = data.recommendation
    lines = [(name, describe_parameter(block)) for name, block in advice.next_parameters.items()]
    lines += [(name, clean(value)) for name, value in advice.next_settings.items()]
    return {"lines": lines, "reasons": advice.next_reasons} if lines else None


def _figures(data: ReportData) -> list[dict[str, str]]:
    """Return the figures as base64: as images, they cannot run scripts or clash with the page."""
    return [
        {
            "content": base64.b64encode(figure_svg(name, figure)).decode("ascii"),
            "text": _FIGURE_TEXTS[name],
        }
        for name, figure in sweep_figures(data)
    ]


def _sections(page: Mapping[str, Any]) -> list[tuple[str, str]]:
    sections = (
        ("region", "Region", page["region"]),
        ("classes", "Classes", True),
        ("explore", "Explore", page["explorer"]),
        ("findings", "Findings", True),
        ("stopping", "Stopping early", page["stopping"]),
        ("next", "Next sweep", page["next"]),
        ("configurations", page["table"] and page["table"]["title"], page["table"]),
        ("reading", "How to read", True),
    )
    return [(anchor, name) for anchor, name, is_there in sections if is_there]


def _memory(data: ReportData) -> list[tuple[str, str]]:
    told = describe_memory(data)
    return [("peak memory", told)] if told else []


def _flatten(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return names and values as text; what is nested becomes ``name value`` pairs."""
    lines = []
    for name, value in environment.items():
        if isinstance(value, dict):
            text = ", ".join(f"{key} {clean(inner)}" for key, inner in value.items())
        elif isinstance(value, list | tuple):
            text = ", ".join(clean(inner) for inner in value)
        else:
            text = clean(value)
        lines.append((clean(name), text))
    return lines


def _embed_json(spec: Mapping[str, Any]) -> str:
    """Return JSON that cannot end the script element that holds it."""
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


@functools.cache
def _explorer_script() -> str:
    """Return Vega, Vega-Lite, Vega-Embed and the call that draws the charts, as one script.

    They are put together by a JavaScript engine of some 80 MB, which a process of its own takes
    with it when it ends.

    Raises:
        LaunchError: If that process fails.
    """
    import altair as alt

    # The charts are written for Altair's version of Vega-Lite: v6.4 of v6.4.1.
    version = ".".join(alt.SCHEMA_VERSION.split(".")[:2])
    done = subprocess.run(
        [sys.executable, "-P", "-c", _BUNDLE, version],
        input=_template_text("explorer.js"),
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    if done.returncode:
        reason = clean_message(done.stderr.strip().rpartition("\n")[2] or str(done.returncode))
        message = f"the script of the report's charts cannot be put together: {reason}"
        raise LaunchError(message)
    return _safe_script(done.stdout)


_BUNDLE = """
import sys
sys.stdin.reconfigure(encoding="utf-8")
sys.stdout.reconfigure(encoding="utf-8", newline="")
import vl_convert
sys.stdout.write(vl_convert.javascript_bundle(sys.stdin.read(), vl_version=sys.argv[1]))
"""


def _own_script(name: str) -> str:
    return _safe_script(_template_text(name))


def _safe_script(text: str) -> str:
    """Return a script that can stand in an HTML page: nothing in it closes or hides its element.

    Line ends are those that a browser computes the hash with.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.replace("</script", r"<\/script").replace("<!--", r"\x3C!--")


def _template_text(name: str) -> str:
    return (resources.files("sweepdiag.report") / "templates" / name).read_text("utf-8")

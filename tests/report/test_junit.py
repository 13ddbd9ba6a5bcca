from __future__ import annotations

from xml.etree import ElementTree as ET

from sweepdiag.records import Finding, FindingState, Severity
from sweepdiag.report.junit import render_junit


def made(state: FindingState, title: str = "title", **others: str) -> Finding:
    severity = Severity.WARNING if state is FindingState.FINDING else Severity.INFO
    return Finding(
        code="SD101",
        name="learning-rate-too-high",
        state=state,
        severity=severity,
        title=title,
        evidence=others.get("evidence", "evidence"),
        action=others.get("action", ""),
        explains=("SD901",) if state is FindingState.FINDING else (),
    )


def parse(findings: list[Finding], title: str = "sweep") -> ET.Element:
    return ET.fromstring(render_junit(findings, title=title))


def test_findings_fail_and_what_does_not_apply_is_skipped() -> None:
    root = parse([made(state) for state in FindingState])
    suite = root[0]
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "4", "failures": "1", "errors": "0", "skipped": "1"}
    outcomes = [case[0].tag for case in suite]
    assert outcomes == ["failure", "system-out", "system-out", "skipped"]
    failure = suite[0][0]
    assert failure.get("type") == "warning"
    assert failure.text == "evidence\nExplains SD901."
    assert suite[0].get("name") == "SD101 learning-rate-too-high"


def test_markup_and_control_characters_cannot_break_the_file() -> None:
    hostile = "a <b> & \"c\" ]]> \x00\x1b[31m \ufffe \u2028 'd'"
    root = parse([made(FindingState.FINDING, hostile, evidence=hostile, action=hostile)], hostile)
    message = root[0][0][0].get("message") or ""
    assert '<b> & "c" ]]>' in message
    assert not set("\x00\x1b\ufffe") & set(message + (root[0].get("name") or ""))


def test_a_sweep_without_checks_is_an_empty_suite() -> None:
    assert parse([])[0].get("tests") == "0"

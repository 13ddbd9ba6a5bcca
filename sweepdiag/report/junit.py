"""Findings as a JUnit file, which CI systems show as the results of tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from sweepdiag.records import FindingState
from sweepdiag.report.summary import describe_causes
from sweepdiag.wording import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.records import Finding

__all__ = ["render_junit"]

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""


def render_junit(findings: Sequence[Finding], *, title: str) -> str:
    """Return one test case per check of a sweep.

    A finding is a failure, whose type is its severity; a check that does not apply is skipped;
    tips and passed checks pass, with their evidence as output.

    Args:
        findings: What every check has to say.
        title: Name of the sweep.

    Returns:
        An XML document in the form that Jenkins, GitLab, GitHub actions and pytest use.
    """
    counts = {
        "tests": len(findings),
        "failures": sum(f.state is FindingState.FINDING for f in findings),
        "errors": 0,
        "skipped": sum(f.state is FindingState.NOT_APPLICABLE for f in findings),
    }
    attributes = {"name": _text(title), **{name: str(n) for name, n in counts.items()}}
    root = ET.Element("testsuites", {**attributes, "name": "sweepdiag", "time": "0"})
    suite = ET.SubElement(root, "testsuite", {**attributes, "time": "0"})
    for finding in findings:
        name = _text(f"{finding.code} {finding.name}")
        test = ET.SubElement(
            suite,
            "testcase",
            {"classname": f"sweepdiag.{_text(title)}", "name": name, "time": "0"},
        )
        _add_outcome(test, finding)
    ET.indent(root)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
    )


def _add_outcome(test: ET.Element, finding: Finding) -> None:
    title, evidence = _text(finding.title), _text(finding.evidence)
    lines = [title, evidence, _text(finding.action), describe_causes(finding)]
    match finding.state:
        case FindingState.FINDING:
            outcome = ET.SubElement(
                test, "failure", {"message": title, "type": finding.severity.value}
            )
            outcome.text = "\n".join(line for line in lines[1:] if line)
        case FindingState.NOT_APPLICABLE:
            ET.SubElement(test, "skipped", {"message": evidence})
        case _:
            output = ET.SubElement(test, "system-out")
            output.text = "\n".join(line for line in lines if line)


def _text(text: str) -> str:
    return _NOT_XML.sub("", clean(text))

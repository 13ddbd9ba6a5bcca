from __future__ import annotations

from pathlib import Path

from sweepdiag.rules import FINDINGS
from sweepdiag.rules.findings.page import findings_page


def test_the_page_is_the_one_in_the_docs() -> None:
    page = Path(__file__).parents[3] / "docs" / "findings.md"
    assert page.read_text(encoding="utf-8") == findings_page(), "run scripts/findings-page"


def test_every_check_has_a_row() -> None:
    page = findings_page()
    assert all(f"| {check.code} | {check.name} |" in page for check in FINDINGS)

from __future__ import annotations

import itertools

import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.records import Finding, FindingState, Severity
from sweepdiag.rules import FINDINGS, cause_outside_settings, rank_findings
from sweepdiag.rules.findings.gate import check_codes, failing_findings
from sweepdiag.rules.findings.ranking import EXPLAINS, link_findings


def made(
    code: str,
    state: FindingState = FindingState.FINDING,
    severity: Severity = Severity.WARNING,
) -> Finding:
    return Finding(
        code=code, name=code.lower(), state=state, severity=severity, title="t", evidence="e"
    )


def ranked(*findings: Finding) -> list[str]:
    return [finding.code for finding in rank_findings(link_findings(findings))]


def test_every_code_that_explains_or_is_explained_exists() -> None:
    codes = {check.code for check in FINDINGS}
    assert set(EXPLAINS) | set(itertools.chain(*EXPLAINS.values())) <= codes


def test_no_finding_explains_itself() -> None:
    assert all(code not in explained for code, explained in EXPLAINS.items())


def test_a_cause_comes_before_what_it_explains_even_if_that_is_more_severe() -> None:
    unscaled, diverging = made("SD303"), made("SD101", severity=Severity.ERROR)
    assert ranked(diverging, unscaled) == ["SD303", "SD101"]
    linked = {f.code: f.explains for f in link_findings((diverging, unscaled))}
    assert linked == {"SD303": ("SD101",), "SD101": ()}


def test_of_two_that_explain_each_other_the_earlier_wins() -> None:
    assert "SD102" in EXPLAINS["SD401"]
    assert "SD401" in EXPLAINS["SD102"]
    assert ranked(made("SD401"), made("SD102")) == ["SD102", "SD401"]
    linked = {f.code: f.explains for f in link_findings((made("SD401"), made("SD102")))}
    assert linked["SD401"] == ()


def test_tips_come_last_and_explain_nothing() -> None:
    tip = made("SD303", FindingState.TIP, Severity.INFO)
    assert ranked(tip, made("SD901", severity=Severity.ERROR)) == ["SD901", "SD303"]
    assert all(not f.explains for f in link_findings((tip, made("SD901"))))


@pytest.mark.parametrize(
    ("codes", "cause"),
    [
        (("SD303", "SD101", "SD901"), "SD303"),
        (("SD203", "SD901", "SD305"), "SD305"),
        (("SD101", "SD901"), None),  # the sweep that follows lowers the rates
        (("SD102", "SD401", "SD901"), None),
        (("SD901",), None),
        (("SD303",), "SD303"),  # something was learned, though perhaps not by validation
        (("SD304", "SD308"), None),  # with these something trains
    ],
)
def test_the_cause_of_nothing_is_what_no_settings_can_mend(
    codes: tuple[str, ...], cause: str | None
) -> None:
    found = cause_outside_settings(link_findings([made(code) for code in codes]))
    assert (None if found is None else found.code) == cause
    tips = [made(code, FindingState.TIP, Severity.INFO) for code in codes]
    assert cause_outside_settings(link_findings(tips)) is None


def test_severity_decides_between_what_nothing_explains() -> None:
    assert ranked(made("SD304"), made("SD308", severity=Severity.ERROR)) == ["SD308", "SD304"]


def test_passed_checks_are_not_ranked() -> None:
    assert ranked(made("SD101", FindingState.PASSED)) == []


# the gate


def test_severities_gate_by_level_and_codes_by_name() -> None:
    tip = made("SD502", FindingState.TIP, Severity.INFO)
    warning, error = made("SD501"), made("SD901", severity=Severity.ERROR)
    all_of_them = (tip, warning, error)
    assert failing_findings(all_of_them, ["error"]) == [error]
    assert failing_findings(all_of_them, ["warning"]) == [warning, error]
    assert failing_findings(all_of_them, ["info"]) == [tip, warning, error]
    assert failing_findings(all_of_them, ["SD501"]) == [warning]
    assert failing_findings(all_of_them, ["SD502"]) == [], "a tip is no finding"
    assert failing_findings(all_of_them, ["error", "SD501"]) == [warning, error]
    assert failing_findings(all_of_them, []) == []


@pytest.mark.parametrize("word", ["sd501", "SD999", "errors"])
def test_a_word_that_is_no_severity_and_no_code_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown code for --fail-on '{word}'"):
        failing_findings((), [word])


def test_codes_and_names_may_be_ignored() -> None:
    check_codes(["SD101", "trials-failed"], option="--ignore")
    with pytest.raises(ConfigError, match="Did you mean 'SD103'"):
        check_codes(["SD13"], option="--ignore")

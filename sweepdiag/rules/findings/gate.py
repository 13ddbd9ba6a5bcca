"""Which findings make a command fail, and which codes may be named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.records import FindingState, Severity
from sweepdiag.rules.findings.registry import active_checks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweepdiag.records import Finding

__all__ = ["check_codes", "failing_findings"]

_SEVERITIES = tuple(severity.value for severity in Severity)


def check_codes(codes: Iterable[str], *, option: str, others: Sequence[str] = ()) -> None:
    """Refuse codes that no check has.

    Args:
        codes: Codes or names of checks.
        option: Where they were given, for the message.
        others: Further words that are valid there.

    Raises:
        ConfigError: If one does not exist; the message offers the nearest.
    """
    valid = [*others, *(name for check in active_checks() for name in (check.code, check.name))]
    for code in codes:
        if code not in valid:
            raise ConfigError(unknown_name(f"code for {option}", code, valid))


def failing_findings(findings: Iterable[Finding], fail_on: Sequence[str]) -> list[Finding]:
    """Return the findings that are asked to make a command fail.

    Args:
        findings: What every check has to say.
        fail_on: Severities (findings of at least this one count; at ``info`` tips do too), and
            codes or names of checks, whose findings count whatever their severity.

    Returns:
        The findings, in the given order.
    """
    check_codes(fail_on, option="--fail-on", others=_SEVERITIES)
    levels = [_SEVERITIES.index(word) for word in fail_on if word in _SEVERITIES]
    lowest = min(levels, default=len(_SEVERITIES))

    def fails(finding: Finding) -> bool:
        if finding.state is FindingState.TIP:
            return lowest == 0
        is_named = finding.code in fail_on or finding.name in fail_on
        is_severe = _SEVERITIES.index(finding.severity.value) >= lowest
        return finding.state is FindingState.FINDING and (is_named or is_severe)

    return [finding for finding in findings if fails(finding)]

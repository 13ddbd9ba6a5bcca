"""Which finding comes first where several explain the same curves.

A cause is more telling than what it leads to: shuffled labels explain overfitting everywhere, and
unscaled inputs a low stability edge. Each finding names the ones it explains, and those come after
it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sweepdiag.records import FindingState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sweepdiag.records import Finding

__all__ = ["EXPLAINS", "cause_outside_settings", "link_findings", "rank_findings"]

_SEARCH = ("SD501", "SD502")
_CAPACITY = ("SD201", "SD202")
_BUDGET = ("SD401", "SD402")
_RATES = ("SD101", "SD102", "SD103")
_OF_VALIDATION = ("SD301", "SD302")

EXPLAINS: dict[str, tuple[str, ...]] = {
    # What makes every curve meaningless.
    "SD904": (
        *("SD901", *_RATES, *_CAPACITY, "SD203", *_OF_VALIDATION, "SD303", "SD309", "SD903"),
        *(*_BUDGET, *_SEARCH),
    ),
    "SD903": (
        *("SD901", *_RATES, *_CAPACITY, "SD203", *_OF_VALIDATION, "SD303", "SD304", "SD305"),
        *("SD306", "SD307", "SD309", *_BUDGET, *_SEARCH),
    ),
    "SD305": ("SD901", *_CAPACITY, *_OF_VALIDATION, "SD304", "SD102", *_BUDGET, *_SEARCH),
    # What is wrong with the data or the network, whatever the settings.
    "SD310": ("SD901", *_RATES, *_CAPACITY, "SD203", "SD301", *_BUDGET, *_SEARCH),
    "SD303": ("SD901", "SD905", *_RATES, *_CAPACITY, "SD203", "SD301", *_BUDGET, *_SEARCH),
    "SD203": ("SD901", "SD905", *_RATES, *_CAPACITY, "SD309", *_OF_VALIDATION, *_BUDGET, *_SEARCH),
    "SD905": ("SD901", "SD102", *_CAPACITY, "SD309", *_BUDGET, *_SEARCH),
    "SD308": (*_CAPACITY, *_OF_VALIDATION, *_BUDGET, *_SEARCH),
    "SD309": ("SD901", "SD102", *_CAPACITY, *_OF_VALIDATION, *_BUDGET, *_SEARCH),
    "SD306": (*_CAPACITY, *_OF_VALIDATION, "SD304", "SD901", *_BUDGET, *_SEARCH),
    "SD307": ("SD901", *_CAPACITY, *_OF_VALIDATION, *_BUDGET, *_SEARCH),
    "SD304": (*_CAPACITY, *_OF_VALIDATION, *_BUDGET, *_SEARCH),
    "SD302": (*_CAPACITY, *_BUDGET, *_SEARCH),
    "SD301": ("SD302", *_CAPACITY, *_BUDGET, *_SEARCH),
    # What is wrong with the settings.
    "SD103": ("SD101", *_CAPACITY, "SD301", *_BUDGET, *_SEARCH),
    "SD101": ("SD901", *_CAPACITY, "SD301", *_BUDGET, *_SEARCH),
    "SD102": ("SD901", *_CAPACITY, "SD401", *_SEARCH),
    "SD201": ("SD401", *_SEARCH),
    "SD401": ("SD901", "SD102", *_CAPACITY, *_SEARCH),
    "SD202": ("SD402", *_SEARCH),
    "SD402": _SEARCH,
}
"""Code to the codes of what it leads to. Where two explain each other, the earlier line wins."""

_NOTHING_LEARNED = "SD901"

_OF_SETTINGS = frozenset((*_RATES, *_CAPACITY, *_BUDGET))
"""Causes that another sweep can mend."""

_ORDER = tuple(EXPLAINS)
_SEVERITIES = (Severity.ERROR, Severity.WARNING, Severity.INFO)


def link_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings with the codes of the other open ones that each explains.

    Args:
        findings: What every check has to say.

    Returns:
        The same in the same order. Tips and passed checks explain nothing, and only findings are
        explained.
    """
    found = {f.code for f in findings if f.state is FindingState.FINDING}
    return tuple(
        dataclasses.replace(
            finding,
            explains=tuple(
                code
                for code in EXPLAINS.get(finding.code, ())
                if code in found and not _comes_before(code, finding.code)
            ),
        )
        if finding.code in found
        else finding
        for finding in findings
    )


def rank_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings and tips, causes first.

    Findings that another one explains come after all that nothing explains; then the more severe
    ones come first, then the more specific.

    Args:
        findings: What every check has to say, linked.

    Returns:
        Those that are findings or tips.
    """
    found = [f for f in findings if f.state in {FindingState.FINDING, FindingState.TIP}]
    explained = {code for finding in found for code in finding.explains}
    return sorted(
        found,
        key=lambda f: (
            f.state is FindingState.TIP,
            f.code in explained,
            _SEVERITIES.index(f.severity),
            _place(f.code),
            f.code,
        ),
    )


def cause_outside_settings(findings: Iterable[Finding]) -> Finding | None:
    """Return the first finding that can explain why nothing trains, and that no settings mend.

    Such a cause lies in data, loss or network: another range of learning rates is no remedy.

    Args:
        findings: What every check has to say, linked.

    Returns:
        The finding; ``None`` if there is none.
    """
    return next(
        (
            finding
            for finding in rank_findings(findings)
            if finding.state is FindingState.FINDING
            and _NOTHING_LEARNED in EXPLAINS.get(finding.code, ())
            and finding.code not in _OF_SETTINGS
        ),
        None,
    )


def _comes_before(code: str, other: str) -> bool:
    """Return whether ``code`` explains ``other`` as well, and has the earlier line."""
    return other in EXPLAINS.get(code, ()) and _place(code) < _place(other)


def _place(code: str) -> int:
    return _ORDER.index(code) if code in _ORDER else len(_ORDER)

"""The page of a finding."""

from __future__ import annotations

import inspect

from sweepdiag.errors import ConfigError, unknown_name
from sweepdiag.rules.findings.registry import active_checks

__all__ = ["explain_finding"]


def explain_finding(code: str) -> str:
    """Return what a check looks for, why it matters, how it is detected and what to do.

    Args:
        code: Code or name of the check, in any case.

    Returns:
        Plain text.

    Raises:
        ConfigError: If there is no such check.
    """
    checks = {check.code: check for check in active_checks()}
    names = {check.name: check.code for check in checks.values()}
    found = checks.get(names.get(code.lower(), code.upper()))
    if found is None:
        raise ConfigError(unknown_name("finding", code.upper(), [*checks, *names]))
    page = inspect.getdoc(type(found)) or "This check has no page."
    return f"{found.code} {found.name}\n\n{page}"

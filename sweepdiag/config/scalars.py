"""How unquoted text in YAML, overrides and options is read: YAML 1.2's core, and no guesses.

Numbers are decimal, ``1e-4`` included; ``true``, ``false`` and ``null`` are what they say;
anything else is text, so ``no``, ``on`` and ``2024-01-01`` stay what they look like. What YAML 1.1
and 1.2 read as different things (``010`` is 8 or 10, ``1:30`` is 90 or text, also ``0x10``,
``0o10``, ``0b1``, ``1_000``) is refused: a reader should not have to know the version.
"""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["Scalar", "read_scalar"]

Scalar: TypeAlias = bool | int | float | str | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_AMBIGUOUS = (
    (re.compile(r"[-+]?0[0-9]+"), "has a leading zero, which some read as octal"),
    (re.compile(r"[-+]?0[xob][0-9a-fA-F_]+"), "is a number that not every reader takes for one"),
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "is base 60 to some readers"),
    (re.compile(r"[-+]?\.?[0-9][0-9.]*_[0-9_.eE+-]*"), "has underscores, which some readers drop"),
)
_MAX_DIGITS = 40


def read_scalar(text: str) -> Scalar:
    """Return what unquoted text stands for.

    Args:
        text: The text, without surrounding spaces.

    Returns:
        None, a boolean, a number (NaN and infinities too), or the text itself.

    Raises:
        ValueError: If it looks like a number that readers disagree on; the message says how to
            write it instead.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        # Longer ones are out of every setting's range, and slow to convert.
        return int(text) if len(text) <= _MAX_DIGITS else float("inf")
    for pattern, trouble in _AMBIGUOUS:
        if pattern.fullmatch(text):
            message = f"{text[:80]} {trouble}: write a plain decimal number, or quote it as text"
            raise ValueError(message)
    return float(text) if _FLOAT.fullmatch(text) else text

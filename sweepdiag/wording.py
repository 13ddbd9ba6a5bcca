"""Numbers and texts as people read them: one form for terminals, reports and figures."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "clean",
    "epoch_text",
    "format_value",
    "is_number",
    "join",
    "percent",
    "plural",
    "scientific",
]

_GROUPED_FROM = 10_000


def format_value(value: object, *, digits: int = 3) -> str:
    """Return an axis value or a measured number as people write it: ``1e-4``, ``0.03``, ``256``.

    Args:
        value: A number, a truth value or a name.
        digits: Significant digits of a float; integers are written in full.

    Returns:
        The text; of names see `clean`.
    """
    if not is_number(value):
        return clean(value)
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        return str(number)
    if number == 0.0:
        return "0"
    if isinstance(value, numbers.Integral) or (number.is_integer() and abs(number) < 10**6):
        text = str(int(value))  # type: ignore[call-overload]
        is_round = len(text) >= 5 and not text[2 if number < 0 else 1 :].strip("0")
        return f"{text.rstrip('0')}e{len(text) - len(text.rstrip('0'))}" if is_round else text
    power = int(f"{number:.{digits - 1}e}".partition("e")[2])
    if -2 <= power < max(digits, 4):
        text = f"{number:.{max(digits - 1 - power, 0)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return scientific(number, digits=digits)


def scientific(number: float, *, digits: int = 3) -> str:
    """Return a number as ``3.16e-3``, with at most so many significant digits; 0 as ``0``."""
    if number == 0:
        return "0"
    mantissa, _, exponent = f"{number:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(exponent)}"


def percent(share: float, *, digits: int = 2) -> str:
    """Return a share in percent: ``18 %``, ``1.5 %``, ``0 %``.

    Args:
        share: The share; 1 is all.
        digits: How many digits say enough; those before the point are all told.
    """
    value = 100.0 * share
    if abs(value) >= 10.0 ** (digits - 1) - 0.05 or not math.isfinite(value):
        return f"{value:.0f} %"
    is_tiny = 0 < abs(value) < 1e-3
    return f"{scientific(value, digits=digits) if is_tiny else f'{value:.{digits}g}'} %"


def epoch_text(epoch: float) -> str:
    """Return an epoch or a number of steps: integers in full, ``3,703,710``; fractions shortly."""
    if not math.isfinite(epoch):
        return str(epoch)
    digits = 0 if epoch == round(epoch) else max(2 - math.floor(math.log10(abs(epoch))), 0)
    rounded = round(epoch, digits)
    separator = "," if abs(rounded) >= _GROUPED_FROM else ""
    text = f"{rounded:{separator}.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def clean(text: object) -> str:
    """Return a text on one line, without control characters that could steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def is_number(value: object) -> bool:
    """Return whether a value is a number; truth values are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def plural(count: float, noun: str) -> str:
    """Return a count with its noun: ``1 evaluation``, ``4 evaluations``."""
    return f"{epoch_text(count)} {noun}" if count == 1 else f"{epoch_text(count)} {noun}s"


def join(parts: Iterable[str], last: str = "and") -> str:
    """Return ``a, b and c``."""
    listed = list(parts)
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} {last} {listed[-1]}"

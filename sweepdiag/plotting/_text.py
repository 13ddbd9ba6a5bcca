"""Numbers and names as short, harmless text."""

from __future__ import annotations

import functools
import math
import numbers

__all__ = ["distinct_labels", "format_value", "safe_text", "shorten", "text_width_in", "wrap_text"]

_ELLIPSIS = "…"
_FONT = "DejaVu Sans"


def format_value(value: object, *, digits: int = 3) -> str:
    """Return an axis value or a measured number as people write it: ``1e-4``, ``0.03``, ``256``.

    Args:
        value: A number, a truth value or a name.
        digits: Significant digits of a float.

    Returns:
        The text; names are made harmless, see `safe_text`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return safe_text(str(value), limit=24)
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    if number == 0.0:
        return "0"
    if number.is_integer() and abs(number) < 10**6:
        text = str(int(number))
        is_round = len(text) >= 5 and not text[2 if number < 0 else 1 :].strip("0")
        return f"{text.rstrip('0')}e{len(text) - len(text.rstrip('0'))}" if is_round else text
    mantissa, exponent = f"{number:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -2 <= power < max(digits, 4):
        text = f"{number:.{max(digits - 1 - power, 0)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{power}"


def distinct_labels(values: tuple[object, ...]) -> tuple[str, ...]:
    """Return a label for each value, with as many digits as it takes to tell them apart."""
    labels: tuple[str, ...] = ()
    for digits in (2, 3, 4, 6, 9, 12):
        labels = tuple(format_value(value, digits=digits) for value in values)
        if len(set(labels)) == len(labels):
            break
    return labels


def shorten(text: str, limit: int) -> str:
    """Return the text, cut at ``limit`` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + _ELLIPSIS


def safe_text(text: str, *, limit: int = 80) -> str:
    """Return a name from elsewhere as it may be drawn.

    Line breaks and control characters become blanks, characters that the font of the figures
    lacks become question marks, and long names are cut.
    """
    known = _font_characters()
    blank = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    drawable = "".join(c if ord(c) in known else "?" for c in blank)
    return shorten(" ".join(drawable.split()), limit)


@functools.lru_cache(maxsize=4096)
def text_width_in(text: str, size_pt: float) -> float:
    """Return how wide a line of text is in the figures' font, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    properties = FontProperties(family=_FONT, size=size_pt)
    width, _, _ = TextToPath().get_text_width_height_descent(text, properties, ismath=False)
    return float(width) / 72.0


def wrap_text(text: str, width_in: float, size_pt: float) -> list[str]:
    """Break a text between words into lines that are no wider than asked."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if line and text_width_in(longer, size_pt) > width_in:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line] if line else lines


@functools.lru_cache(maxsize=1)
def _font_characters() -> frozenset[int]:
    from matplotlib import font_manager

    path = font_manager.findfont(_FONT)
    return frozenset(font_manager.get_font(path).get_charmap())

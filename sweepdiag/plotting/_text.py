"""Numbers and names as short, harmless text."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING

from sweepdiag.wording import clean, format_value, is_number, scientific

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "distinct_labels",
    "drawn_labels",
    "drawn_text",
    "safe_text",
    "shorten",
    "text_width_in",
    "tick_labels",
    "wrap_text",
]

_ELLIPSIS = "…"
_FONT = "DejaVu Sans"
_NAME_LIMIT = 24
_LONGEST_PLAIN = 6


def distinct_labels(values: tuple[object, ...], *, digits: int = 2) -> tuple[str, ...]:
    """Return a label for each value, no two of them the same.

    Numbers have as many digits as it takes to tell them apart. Long names lose their middle, or
    other parts where they differ only there; what still looks the same is numbered.

    Args:
        values: Numbers, names or both.
        digits: Fewest significant digits of a number.
    """
    names = dict.fromkeys(clean(value) for value in values if not is_number(value))
    short = dict(zip(names, _shorten_apart(list(names)), strict=True))
    labels: list[str] = []
    for n_digits in (digits, *(n for n in (3, 4, 6, 9, 12) if n > digits)):
        labels = [
            format_value(value, digits=n_digits) if is_number(value) else short[clean(value)]
            for value in values
        ]
        if len(set(labels)) == len(labels):
            break
    return _number_repeated(labels)


def tick_labels(values: tuple[float, ...]) -> tuple[str, ...]:
    """Return distinct labels of the ticks of one axis, all of them with a power of ten or none."""
    labels = distinct_labels(values, digits=3)
    forms = {"e" in label for value, label in zip(values, labels, strict=True) if value != 0}
    if len(forms) < 2:
        return labels
    plain = [f"{value:.9f}".rstrip("0").rstrip(".") for value in values]
    is_short = max(map(len, plain)) <= _LONGEST_PLAIN and len(set(plain)) == len(plain)
    return tuple(plain if is_short else (scientific(value, digits=6) for value in values))


def drawn_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return distinct labels as they may be drawn: still distinct, see `drawn_text`."""
    return _number_repeated([drawn_text(label) for label in labels])


def drawn_text(text: str) -> str:
    """Return a text with question marks for characters that the font of the figures lacks."""
    known = _font_characters()
    return "".join(c if ord(c) in known else "?" for c in text)


def shorten(text: str, limit: int) -> str:
    """Return the text, cut at ``limit`` characters with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + _ELLIPSIS


def safe_text(text: str, *, limit: int = 80) -> str:
    """Return a name from elsewhere as it may be shown.

    Line breaks and control characters become blanks, and long names are cut. What is drawn in a
    figure needs `drawn_text` as well.
    """
    return shorten(clean(text[: 4 * limit]), limit)


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


def _shorten_middle(name: str) -> str:
    """Return a name that has lost its middle if it is long: names often differ at their ends."""
    if len(name) <= _NAME_LIMIT:
        return name
    head = (_NAME_LIMIT - 1) // 2
    return name[:head] + _ELLIPSIS + name[head + 1 - _NAME_LIMIT :]


def _shorten_apart(names: Sequence[str]) -> list[str]:
    """Return the names, shortened so that what tells them apart stays."""
    short = [_shorten_middle(name) for name in names]
    counts = Counter(short)
    alike = sorted((s, name) for s, name in zip(short, names, strict=True) if counts[s] > 1)
    # Sorted, a name stands beside the one with which it shares the longest beginning.
    shared: Counter[str] = Counter()
    for (s, name), (t, following) in itertools.pairwise(alike):
        length = _n_shared(name, following) if s == t else 0
        shared[name] = max(shared[name], length)
        shared[following] = length
    return [
        _show_from(name, shared[name]) if name in shared else s
        for s, name in zip(short, names, strict=True)
    ]


def _n_shared(name: str, other: str) -> int:
    """Return how many characters two names have in common at their beginning."""
    differ = (index for index, (a, b) in enumerate(zip(name, other, strict=False)) if a != b)
    return next(differ, min(len(name), len(other)))


def _show_from(name: str, place: int) -> str:
    """Return the beginning of a name, and what it has near a place further on."""
    head, before = 6, 4
    start = max(place - before, head)
    return name[:head] + _ELLIPSIS + shorten(name[start:], _NAME_LIMIT - head - 1)


def _number_repeated(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels; those that occur more than once are numbered: ``??? (1)``."""
    counts, taken, next_number = Counter(labels), set(labels), Counter[str]()
    distinct = []
    for label in labels:
        text = label
        while counts[label] > 1 and text in taken:
            next_number[label] += 1
            text = f"{label} ({next_number[label]})".strip()
        taken.add(text)
        distinct.append(text)
    return tuple(distinct)


@functools.lru_cache(maxsize=1)
def _font_characters() -> frozenset[int]:
    from matplotlib import font_manager

    path = font_manager.findfont(_FONT)
    return frozenset(font_manager.get_font(path).get_charmap())

"""One colour and one letter for each class, wherever a class is shown.

The colours are from Okabe and Ito's set, which people with any of the common colour vision
deficiencies can tell apart, darkened or lightened where a letter on top needs the contrast. The
letter says the same as the colour, so that nothing depends on colour alone.

References:
    Okabe and Ito, "Color Universal Design", 2008.
    W3C, "Web Content Accessibility Guidelines 2.2", success criterion 1.4.3.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLASS_COLOURS",
    "CLASS_LETTERS",
    "CLASS_MEANINGS",
    "CLASS_NAMES",
    "MIN_CONTRAST",
    "contrast_ratio",
    "line_colour",
    "text_colour",
]

MIN_CONTRAST = 4.5
"""Least contrast of normal text (WCAG level AA)."""

CLASS_COLOURS: Mapping[VerdictClass, str] = MappingProxyType(
    {
        VerdictClass.DIVERGING: "#B0310B",
        VerdictClass.NOT_LEARNING: "#333333",
        VerdictClass.UNDERFIT: "#56B4E9",
        VerdictClass.OVERFIT: "#E69F00",
        VerdictClass.U_SHAPED: "#D98CB8",
        VerdictClass.INCONCLUSIVE: "#DADADA",
        VerdictClass.HEALTHY: "#009E73",
    }
)

CLASS_LETTERS: Mapping[VerdictClass, str] = MappingProxyType(
    {
        VerdictClass.DIVERGING: "D",
        VerdictClass.NOT_LEARNING: "N",
        VerdictClass.UNDERFIT: "U",
        VerdictClass.OVERFIT: "O",
        VerdictClass.U_SHAPED: "V",
        VerdictClass.INCONCLUSIVE: "?",
        VerdictClass.HEALTHY: "H",
    }
)

CLASS_NAMES: Mapping[VerdictClass, str] = MappingProxyType(
    {
        VerdictClass.DIVERGING: "diverging",
        VerdictClass.NOT_LEARNING: "not learning",
        VerdictClass.UNDERFIT: "underfit",
        VerdictClass.OVERFIT: "overfit",
        VerdictClass.U_SHAPED: "u-shaped",
        VerdictClass.INCONCLUSIVE: "inconclusive",
        VerdictClass.HEALTHY: "healthy",
    }
)

CLASS_MEANINGS: Mapping[VerdictClass, str] = MappingProxyType(
    {
        VerdictClass.DIVERGING: "The loss is not finite, or it rose far above where it had been "
        "and stayed there. Usually the learning rate is too high.",
        VerdictClass.NOT_LEARNING: "Never better than always predicting the same. The learning "
        "rate is too low, the network is dead, or the data or the loss is broken.",
        VerdictClass.UNDERFIT: "It learned, but there is more to learn: another configuration, or "
        "a longer training, reaches a lower training and validation loss.",
        VerdictClass.OVERFIT: "The gap between training and validation loss is large and grew. "
        "Less capacity, more regularisation or more data narrow it.",
        VerdictClass.U_SHAPED: "The validation loss fell, turned and kept rising while the "
        "training loss did not. Stop where it turns.",
        VerdictClass.INCONCLUSIVE: "Too few evaluations, or evidence for more than one class.",
        VerdictClass.HEALTHY: "It learned, settled, and the gap is small.",
    }
)

_MIN_LINE_CONTRAST = 3.0
_DARK = "#111111"
_LIGHT = "#FFFFFF"


def contrast_ratio(first: str, second: str) -> float:
    """Return the WCAG contrast of two ``#RRGGBB`` colours, from 1 (equal) to 21."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def line_colour(verdict: VerdictClass) -> str:
    """Return the colour of a class for lines on white: darker where the class colour is light."""
    colour = CLASS_COLOURS[verdict]
    while contrast_ratio(colour, _LIGHT) < _MIN_LINE_CONTRAST:
        channels = (int(int(colour[i : i + 2], 16) * 0.95) for i in (1, 3, 5))
        colour = "#" + "".join(f"{channel:02X}" for channel in channels)
    return colour


def text_colour(background: str) -> str:
    """Return dark or light, whichever is easier to read on a ``#RRGGBB`` background."""
    return max((_DARK, _LIGHT), key=lambda colour: contrast_ratio(colour, background))


def _luminance(colour: str) -> float:
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4

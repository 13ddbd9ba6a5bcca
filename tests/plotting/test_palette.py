from __future__ import annotations

import itertools

import pytest

from sweepdiag.plotting.palette import (
    CLASS_COLOURS,
    CLASS_LETTERS,
    CLASS_MEANINGS,
    CLASS_NAMES,
    MIN_CONTRAST,
    contrast_ratio,
    line_colour,
    text_colour,
)
from sweepdiag.records import VerdictClass

# What people with the three kinds of colour blindness see (Machado et al., 2009, severity 1).
DEFICIENCIES = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def channels(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


@pytest.mark.parametrize("table", [CLASS_COLOURS, CLASS_LETTERS, CLASS_NAMES, CLASS_MEANINGS])
def test_every_class_has_an_entry_of_its_own(table):
    assert set(table) == set(VerdictClass)
    assert len(set(table.values())) == len(VerdictClass)


def test_letters_are_those_of_the_documentation():
    assert "".join(CLASS_LETTERS[verdict] for verdict in VerdictClass) == "DNUOV?H"


def test_contrast_of_black_on_white_is_21():
    assert contrast_ratio("#000000", "#FFFFFF") == pytest.approx(21.0)
    assert contrast_ratio("#777777", "#777777") == pytest.approx(1.0)


@pytest.mark.parametrize("verdict", VerdictClass)
def test_letters_are_readable_on_their_colour(verdict):
    colour = CLASS_COLOURS[verdict]
    assert contrast_ratio(text_colour(colour), colour) >= MIN_CONTRAST


@pytest.mark.parametrize("verdict", VerdictClass)
def test_lines_are_visible_on_white(verdict):
    assert contrast_ratio(line_colour(verdict), "#FFFFFF") >= 3.0


def test_a_colour_that_is_dark_enough_stays_for_lines():
    assert line_colour(VerdictClass.HEALTHY) == CLASS_COLOURS[VerdictClass.HEALTHY]


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_classes_stay_apart_for_colour_blind_people(deficiency):
    seen = {}
    for verdict, colour in CLASS_COLOURS.items():
        rgb = channels(colour)
        rows = DEFICIENCIES[deficiency]
        seen[verdict] = [sum(w * c for w, c in zip(row, rgb, strict=True)) for row in rows]
    for one, other in itertools.combinations(seen, 2):
        distance = sum((a - b) ** 2 for a, b in zip(seen[one], seen[other], strict=True)) ** 0.5
        assert distance > 0.19, (one, other, distance)

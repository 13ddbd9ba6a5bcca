from __future__ import annotations

import numpy as np

from sweepdiag.plotting._marks import outline


def as_set(segments):
    return {tuple(sorted(segment)) for segment in segments}


def test_a_single_cell_has_four_sides():
    assert as_set(outline(np.array([[True]]))) == {
        ((0.0, 0.0), (1.0, 0.0)),
        ((0.0, 1.0), (1.0, 1.0)),
        ((0.0, 0.0), (0.0, 1.0)),
        ((1.0, 0.0), (1.0, 1.0)),
    }


def test_sides_between_two_cells_are_left_out():
    assert len(outline(np.array([[True, True]]))) == 6


def test_an_empty_mask_has_no_outline():
    assert outline(np.zeros((2, 3), dtype=bool)) == []


def test_an_inset_outline_is_closed_at_corners_that_turn_in():
    mask = np.array([[True, True], [True, False]])
    segments = outline(mask, (0.1, 0.1))
    ends = [tuple(np.round(end, 9)) for segment in segments for end in segment]
    assert all(ends.count(end) == 2 for end in ends)

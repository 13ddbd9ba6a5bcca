import math

import numpy as np
import pytest

from sweepdiag.records import CurvePoint
from sweepdiag.store.points import POINT_FIELDS, PointRows, row_of

NAN = math.nan


def row(step, *, loss=0.5):
    return [step / 10, step, loss, 2 * loss, "NaN", 0.25, 0.75, 0.001]


def rows_of(*rows):
    found = PointRows()
    found.add(rows)
    return found


def test_what_is_left_out_is_nan_and_names_become_numbers():
    found = rows_of(row(10), [*row(20, loss="Infinity")[:3], "-Infinity", *row(20)[4:], 1, 2, 3])
    first = (1.0, 10.0, 0.5, 1.0, NAN, 0.25, 0.75, 0.001, NAN, NAN, NAN)
    second = (2.0, 20.0, math.inf, -math.inf, NAN, 0.25, 0.75, 0.001, 1.0, 2.0, 3.0)
    assert len(found) == 2
    np.testing.assert_array_equal(found[:], [first, second])
    np.testing.assert_array_equal(found[-1], second)
    np.testing.assert_array_equal(found.matrix(), [first, second])


def test_a_row_that_does_not_come_later_is_left_out():
    found = rows_of(row(10), row(10, loss=9.0), row(30), row(20))
    assert [values[1] for values in found] == [10, 30]
    found.add([row(30), row(40)])
    assert [values[1] for values in found] == [10, 30, 40]


def test_no_rows_are_false_and_have_no_last_one():
    found = PointRows()
    assert not found
    assert found[:] == []
    assert found.matrix().shape == (0, len(POINT_FIELDS))
    with pytest.raises(IndexError):
        found[-1]


def test_points_survive_as_rows():
    measured = CurvePoint(epoch=1.5, step=30, train_loss=NAN, val_loss=math.inf, seconds=0.1)
    recorded = CurvePoint(epoch=2.0, step=40, train_loss=1.0, val_loss=2.0, grad_norm=0.125)
    assert [len(row_of(point)) for point in (measured, recorded)] == [8, 11]
    read = rows_of(row_of(measured), row_of(recorded)).points()
    assert repr(read) == repr((measured, recorded))
    assert isinstance(read[0].step, int)

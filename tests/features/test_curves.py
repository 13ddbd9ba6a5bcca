from __future__ import annotations

import numpy as np
import pytest

from sweepdiag.features import CurveArrays
from tests.features.curves import curve

NAN = np.nan


def test_curves_keep_the_order_of_first_appearance_and_are_sorted_by_epoch() -> None:
    curves = CurveArrays.from_long(
        ["b", "a", "b", "a", "b"], [2, 0, 0, 1, 1], [20, 1, 0, 2, 10], [5, 6, 7, 8, 9]
    )
    assert curves.run_ids == ("b", "a")
    assert curves.lengths.tolist() == [3, 2]
    np.testing.assert_array_equal(curves.epochs, [[0, 1, 2], [0, 1, NAN]])
    np.testing.assert_array_equal(curves.train_loss, [[0, 10, 20], [1, 2, NAN]])
    np.testing.assert_array_equal(curves.val_loss, [[7, 9, 5], [6, 8, NAN]])


def test_nan_inside_a_curve_is_data_and_counts_towards_its_length() -> None:
    curves = curve([1.0, NAN, 0.5, NAN], [NAN] * 4)
    assert curves.lengths.tolist() == [4]
    np.testing.assert_array_equal(curves.train_loss, [[1.0, NAN, 0.5, NAN]])


def test_without_a_metric_its_column_is_nan() -> None:
    assert np.isnan(curve([1.0, 2.0]).val_metric).all()


def test_no_rows_give_no_curves() -> None:
    curves = CurveArrays.from_long([], [], [], [])
    assert (curves.n_curves, curves.n_points) == (0, 0)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        CurveArrays.from_long(["a", "a"], [0, 1], [1.0], [1.0, 1.0])


def test_arrays_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="train_loss must have shape"):
        CurveArrays(
            run_ids=("a",),
            epochs=np.zeros((1, 2)),
            train_loss=np.zeros((1, 3)),
            val_loss=np.zeros((1, 2)),
            val_metric=np.zeros((1, 2)),
            lengths=np.array([2]),
        )


def test_select_returns_the_curves_in_the_order_asked_for() -> None:
    curves = CurveArrays.from_long(list("aabbcc"), [0, 1] * 3, range(6), range(6))
    chosen = curves.select([2, 0])
    assert chosen.run_ids == ("c", "a")
    np.testing.assert_array_equal(chosen.train_loss, [[4, 5], [0, 1]])


def test_half_a_million_rows_are_read() -> None:
    names = np.repeat(np.array([f"run{i}" for i in range(10_000)], dtype=object), 50)
    losses = np.ones(names.size)
    curves = CurveArrays.from_long(names, np.tile(np.arange(50.0), 10_000), losses, losses)
    assert curves.train_loss.shape == (10_000, 50)

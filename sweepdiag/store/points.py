"""The points of a curve: as rows of the journal, and packed as numbers in memory.

A point has eleven numbers. As Python objects they take some 500 bytes, packed 88: the curves of a
large sweep fit into the driver's memory.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, overload

from sweepdiag.records import RECORDED_FIELDS, CurvePoint, plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["POINT_FIELDS", "PointRows", "number", "row_of"]

_MEASURED_FIELDS = (
    "epoch",
    "step",
    "train_loss",
    "val_loss",
    "train_loss_running",
    "train_metric",
    "val_metric",
    "seconds",
)
POINT_FIELDS = (*_MEASURED_FIELDS, *RECORDED_FIELDS)
"""What the numbers of a row are."""

_WIDTH = len(POINT_FIELDS)
_STEP = POINT_FIELDS.index("step")
_LEFT_OUT = {n: (math.nan,) * (_WIDTH - n) for n in range(_WIDTH + 1)}

Row: TypeAlias = tuple[float, ...]


class PointRows(Sequence[Row]):
    """The points of one attempt in order, each a row with a number for every field."""

    __slots__ = ("_last_step", "numbers")

    def __init__(self) -> None:
        """Begin without a point."""
        self.numbers = array("d")
        self._last_step = -math.inf

    def add(self, rows: Iterable[Sequence[float | str]]) -> None:
        """Add rows of the journal that come after the last one; one that is there twice adds none.

        Args:
            rows: Numbers, or the names of those that are not finite; what is left out at the end
                of a row is NaN.
        """
        for row in rows:
            step = float(row[_STEP])
            if step > self._last_step:
                self._last_step = step
                self.numbers.extend(map(float, row))
                self.numbers.extend(_LEFT_OUT[len(row)])

    def matrix(self) -> NDArray[np.float64]:
        """Return a view of all rows, shape ``(n_points, 11)``; columns as in ``POINT_FIELDS``.

        As long as there is one, no row can be added.
        """
        import numpy as np

        return np.frombuffer(self.numbers).reshape(-1, _WIDTH)

    def points(self) -> tuple[CurvePoint, ...]:
        """Return the rows as records."""
        return tuple(map(_point_of, self))

    def __len__(self) -> int:
        return len(self.numbers) // _WIDTH

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """Return a row, or a list of rows."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return tuple(self.numbers[place * _WIDTH : (place + 1) * _WIDTH])

    def __repr__(self) -> str:
        return repr(self[:])


def _point_of(row: Row) -> CurvePoint:
    numbers = dict(zip(POINT_FIELDS, row, strict=True))
    return CurvePoint(step=int(numbers.pop("step")), **numbers)


def row_of(point: CurvePoint) -> list[float | str]:
    """Return a point as a row of the journal; what was not recorded is left out at its end."""
    is_recorded = any(not math.isnan(getattr(point, name)) for name in RECORDED_FIELDS)
    names = POINT_FIELDS if is_recorded else _MEASURED_FIELDS
    return [number(getattr(point, name)) for name in names]


def number(value: float) -> float | str:
    """Return a number as JSON has it: one that is not finite is a string."""
    if math.isfinite(value):
        return value
    return str(plain(float(value)))

"""Where losses of any size lie on an axis or in a range of colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.plotting._text import tick_labels

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LossScale", "loss_unit"]

_ORDINARY = 1e100
_LOWEST_EXPONENT, _HIGHEST_EXPONENT = -307.0, 308.0
# Where a logarithmic axis puts what is not positive: below everything.
_BELOW_ALL = -1e3


def loss_unit(values: ArrayLike) -> float:
    """Return the power of ten that values are divided by, so that arithmetic stays in range.

    Args:
        values: Losses, of which only the finite ones count.

    Returns:
        1 unless the largest value is beyond 1e100 or all are below 1e-100.
    """
    sizes = np.abs(np.asarray(values, dtype=float))
    size = float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
    if size == 0.0 or 1 / _ORDINARY <= size <= _ORDINARY:
        return 1.0
    exponent = math.floor(math.log10(size))
    return float(f"1e{int(np.clip(exponent, _LOWEST_EXPONENT, _HIGHEST_EXPONENT))}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LossScale:
    """Turns losses into places, which matplotlib can draw whatever the size of the losses.

    Attributes:
        is_log: Whether a place is the decimal logarithm of the loss.
        unit: What a loss is divided by, where its place is no logarithm.
    """

    is_log: bool
    unit: float = 1.0

    def place(self, losses: ArrayLike) -> NDArray[np.float64]:
        """Return where losses lie; infinities and NaN stay what they are."""
        values = np.asarray(losses, dtype=float)
        if not self.is_log:
            return values / self.unit
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(values <= 0, _BELOW_ALL, np.log10(values))

    def ticks(self, low: float, high: float, *, n: int = 5) -> tuple[list[float], tuple[str, ...]]:
        """Return the places of round losses between two places, and their labels.

        Args:
            low: The lower place.
            high: The upper place.
            n: About how many there may be.
        """
        from matplotlib.ticker import MaxNLocator

        if self.is_log:
            losses = _round_losses(low, high, n)
            places = [math.log10(loss) for loss in losses]
        else:
            places = [float(t) for t in MaxNLocator(n).tick_values(low, high) if low <= t <= high]
            losses = [place * self.unit for place in places]
        return places, tick_labels(tuple(losses))


def _round_losses(low: float, high: float, n: int) -> list[float]:
    """Return round losses whose decimal logarithms lie between two numbers."""
    from matplotlib.ticker import LogLocator

    n_decades = high - low
    subs = (1.0, 2.0, 5.0) if n_decades < 1.5 else (1.0, 3.0) if n_decades < 3 else (1.0,)
    ends = np.clip((low, high), _LOWEST_EXPONENT, _HIGHEST_EXPONENT)
    with np.errstate(over="ignore", under="ignore"):
        found = LogLocator(subs=subs, numticks=n + 1).tick_values(*(10.0**ends))
    return [float(v) for v in found if 0 < v < math.inf and low <= math.log10(v) <= high]

"""The monitored curves, by configuration."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.features.curves import FloatArray

__all__ = ["CostsByConfig", "costs_by_config"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CostsByConfig:
    """The monitored values of all judged trials, sorted by configuration and trial.

    Attributes:
        epochs: Of every evaluation.
        costs: The monitored values, turned so that smaller is better.
        bounds: Where the evaluations of each trial begin, and where the last one's end.
        ends: Per configuration, the number of trials up to its last.
        places: Number of each configuration.
    """

    epochs: FloatArray
    costs: FloatArray
    bounds: NDArray[np.int64]
    ends: NDArray[np.int64]
    places: dict[str, int]

    def of(self, config_id: str) -> list[tuple[FloatArray, FloatArray]]:
        """Return epochs and costs of each trial of a configuration."""
        place = self.places.get(config_id)
        if place is None:
            return []
        first = int(self.ends[place - 1]) if place else 0
        bounds = self.bounds[first : int(self.ends[place]) + 1]
        slices = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        return [(self.epochs[rows], self.costs[rows]) for rows in slices]


def costs_by_config(
    trials: pd.DataFrame, curves: pd.DataFrame, costs: FloatArray
) -> CostsByConfig:
    """Sort the curves by configuration once: checks ask for one after the other.

    Args:
        trials: The trials whose curves count, with ``trial_id`` and ``config_id``.
        curves: Columns of ``curves.parquet``.
        costs: The monitored value of each row of ``curves``; smaller is better.

    Returns:
        The curves of each configuration.
    """
    import pandas as pd

    config_of = dict(zip(trials["trial_id"], trials["config_id"], strict=True))
    codes, trial_ids = pd.factorize(curves["trial_id"])
    configs = {name: code for code, name in enumerate(dict.fromkeys(config_of.values()))}
    config_codes = np.array(
        [configs[config_of[name]] if name in config_of else -1 for name in trial_ids],
        dtype=np.int64,
    )
    rows = np.flatnonzero(config_codes[codes] >= 0)
    rows = rows[np.lexsort((codes[rows], config_codes[codes[rows]]))]
    is_first = np.diff(codes[rows], prepend=-1) != 0
    starts = np.flatnonzero(is_first)
    ends = np.cumsum(np.bincount(config_codes[codes[rows[starts]]], minlength=len(configs)))
    return CostsByConfig(
        epochs=curves["epoch"].to_numpy(dtype=float)[rows],
        costs=costs[rows],
        bounds=np.append(starts, rows.size),
        ends=ends,
        places=configs,
    )

from __future__ import annotations

import numpy as np
from _bench.stopping import Replay, in_small_sweeps


def replay(sizes: list[int]) -> Replay:
    n_curves = sum(sizes)
    return Replay(
        name="curves",
        val=np.ones((n_curves, 3)),
        train=np.ones((n_curves, 3)),
        lengths=np.full(n_curves, 3),
        sweeps=np.repeat(np.arange(len(sizes)), sizes),
        is_graded=np.ones(n_curves, dtype=bool),
        is_overfit=None,
    )


def test_small_sweeps_are_parts_of_a_sweep_and_of_the_size_they_say():
    whole = replay([45, 21, 20, 28, 8])
    small = in_small_sweeps(whole)
    names, sizes = np.unique(small.sweeps, return_counts=True)
    assert ((sizes >= 8) & (sizes <= 20)).all()
    assert all(np.unique(whole.sweeps[small.sweeps == name]).size == 1 for name in names)
    assert "8 to 20" in small.name

"""Why a region is where it is, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sweepdiag.features.seed_spread import LARGEST_FACTOR
from sweepdiag.recommend._noise import LOSS_CAP, LOSS_FLOOR, METRIC_FLOOR, Noise
from sweepdiag.recommend._words import axis_name, join, percent_of, sentence, value_text
from sweepdiag.records import VerdictClass

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sweepdiag.recommend._candidates import Candidates

__all__ = ["region_reasons"]

_OVERFITTING = frozenset({VerdictClass.OVERFIT.value, VerdictClass.U_SHAPED.value})


def region_reasons(
    candidates: Candidates,
    noise: Noise,
    contained: NDArray[np.intp],
    centre: int,
    monitor: str,
    *,
    name: str,
    is_capped: bool,
) -> tuple[str, ...]:
    """Return why these configurations, and why to start at this one, in sentences."""
    texts = [
        _quality_reason(candidates, contained, name),
        _noise_reason(candidates, noise, monitor),
        _cap_reason(is_capped=is_capped),
        _centre_reason(candidates, contained, centre),
        _overfit_reason(candidates, contained),
        _failed_reason(candidates, contained),
    ]
    return tuple(sentence(text) for text in texts if text)


def _quality_reason(candidates: Candidates, contained: NDArray[np.intp], name: str) -> str:
    best = candidates.robust_best()
    worst = float(candidates.worst[contained].max())
    size = float(candidates.worst[best])
    if len(contained) == 1:
        value = value_text(abs(size))
        return f"one configuration is inside, with a {name} of {value} in its worst seed"
    return (
        f"all {len(contained)} tried configurations inside come within "
        f"{percent_of(worst - size, size)} of the best {name} "
        f"({value_text(abs(size))}), worst seeds compared"
    )


def _noise_reason(candidates: Candidates, noise: Noise, monitor: str) -> str:
    floor = LOSS_FLOOR if monitor == "val_loss" else METRIC_FLOOR
    if not noise.is_known:
        return (
            "with one seed per configuration the seed noise is unknown: differences up to "
            f"{100 * floor:g} % count as ties"
        )
    size = float(candidates.worst[candidates.robust_best()])
    if noise.factor > LARGEST_FACTOR:
        spread = f"seeds differ by a factor of {noise.factor:.2g}, typically ("
    elif noise.is_log:
        sd = percent_of(math.expm1(noise.seed_sd), 1.0)
        spread = f"seeds differ by {sd} (standard deviation, "
    else:
        sd = percent_of(noise.seed_sd, size)
        spread = f"seeds differ by {sd} of the best (standard deviation, "
    spread += f"pooled over {counted(noise.n_pooled, 'configuration')})"
    if noise.is_tie:
        return f"{spread}, which explains all differences between configurations"
    return spread


def _cap_reason(*, is_capped: bool) -> str:
    if not is_capped:
        return ""
    return (
        "seed noise is too large to separate the configurations: it would allow for more than "
        f"the {100 * LOSS_CAP:g} % that count as equally good at most, so more seeds are needed"
    )


def _centre_reason(candidates: Candidates, contained: NDArray[np.intp], centre: int) -> str:
    if len(contained) == 1:
        return ""
    where = join(
        f"{axis_name(axis.name)} {value_text(value)}"
        for axis, value in zip(candidates.axes, candidates.values[centre], strict=True)
    )
    text = f"{where} is furthest from what trains worse"
    best = candidates.robust_best()
    if centre == best:
        return f"{text}, and its worst seed is the best of all"
    gap = percent_of(
        float(candidates.worst[centre] - candidates.worst[best]), float(candidates.worst[best])
    )
    return f"{text}; its worst seed is {gap} behind the best one"


def _overfit_reason(candidates: Candidates, contained: NDArray[np.intp]) -> str:
    n_over = sum(candidates.verdicts[int(index)] in _OVERFITTING for index in contained)
    if not n_over:
        return ""
    if len(contained) == 1:
        return "it overfits when trained to the end; stopping early makes it usable"
    return (
        f"{n_over} of the {len(contained)} inside overfit when trained to the end; "
        "stopping early makes them usable"
    )


def _failed_reason(candidates: Candidates, contained: NDArray[np.intp]) -> str:
    n_failed = int((candidates.n_failed[contained] > 0).sum())
    if not n_failed:
        return ""
    if len(contained) == 1:
        return "one seed or more of it could not be trained"
    return f"{n_failed} of the {len(contained)} inside had a seed that could not be trained"


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"

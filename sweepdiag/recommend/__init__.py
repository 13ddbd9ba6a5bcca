"""What a sweep's result means for the next training: where, for how long, and what to run next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.features.late_gain import LEAST_OF_LEARNED
from sweepdiag.features.seed_spread import LARGEST_FACTOR
from sweepdiag.recommend._comparable import incomparable_text
from sweepdiag.recommend._words import axis_name, sentence, value_text
from sweepdiag.recommend.criteria import compare_criteria
from sweepdiag.recommend.next_sweep import Budget, Cause, NextSweep, next_sweep
from sweepdiag.recommend.region import RegionCause, RegionOutcome, recommend_region
from sweepdiag.recommend.sampling import ContinuousRange, ParameterRange, sample_quasi_random
from sweepdiag.recommend.stopping import region_stop, stop_epochs
from sweepdiag.records import Axis, Recommendation, StopEpoch, SweepFacts
from sweepdiag.wording import epoch_text, plural

if TYPE_CHECKING:
    import pandas as pd

_MOST_EQUALS = 2
"""Configurations outside the region that the answer names."""

_NOTHING_TRAINS = "Nothing here trains"

_EXPLAINED = {
    RegionCause.ALL_DIVERGING: _NOTHING_TRAINS,
    RegionCause.ALL_NOT_LEARNING: _NOTHING_TRAINS,
    RegionCause.NOTHING_TRAINS: _NOTHING_TRAINS,
    RegionCause.NOTHING_GENERALISES: (
        "Training loss falls, but validation never beats a constant prediction"
    ),
}
"""What is said before the cause that the findings know, by why there is no region."""

__all__ = [
    "Budget",
    "Cause",
    "ContinuousRange",
    "NextSweep",
    "ParameterRange",
    "RegionCause",
    "RegionOutcome",
    "compare_criteria",
    "next_sweep",
    "recommend",
    "recommend_region",
    "region_stop",
    "sample_quasi_random",
    "stop_epochs",
]


def recommend(
    *,
    axes: tuple[Axis, ...],
    facts: SweepFacts,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    verdicts: pd.DataFrame,
    configurations: pd.DataFrame,
    monitor: str,
    metric_mode: str | None,
    epochs: int | None,
    n_seeds: int,
    budget: Budget | None = None,
    cause: Cause | None = None,
    n_configurations: int | None = None,
    least_of_learned: float = LEAST_OF_LEARNED,
) -> Recommendation:
    """Return where to train, when to stop and what to run next.

    Args:
        axes: The sweep's axes; none for curves of unrelated runs.
        facts: What is known of the task.
        trials: Columns of ``trials.parquet``.
        curves: Columns of ``curves.parquet``.
        verdicts: Columns of ``verdicts.parquet``.
        configurations: Columns of ``configurations.parquet``.
        monitor: ``val_loss`` or ``val_metric``.
        metric_mode: ``max`` or ``min``.
        epochs: Budget of each training; ``None`` if it was not counted in epochs.
        n_seeds: Seeds planned per configuration.
        budget: What the findings say about the epochs of the next sweep, if they do.
        cause: What the findings say is wrong that no settings can mend; it counts where there is
            no region, or if it is an error.
        n_configurations: Points that were drawn; ``None`` if the sweep was a grid.
        least_of_learned: Share of all that was learned by which a curve must improve at its end
            for longer training to help.

    Returns:
        The recommendation; its ``answer`` is there also when nothing can be recommended.
    """
    judged = verdicts["config_id"].unique()
    rows = configurations[configurations["config_id"].isin(judged)]
    outcome = recommend_region(
        axes=axes,
        configurations=configurations,
        monitor=monitor,
        metric_mode=metric_mode,
        baseline_val_loss=facts.baseline_val_loss,
        metric=facts.metric,
    )
    stops = stop_epochs(
        curves=curves,
        trials=trials,
        configurations=rows,
        monitor=monitor,
        metric_mode=metric_mode,
        metric=facts.metric,
        loss_floor=facts.loss_floor,
        least_of_learned=least_of_learned,
    )
    in_region = region_stop(region=outcome.region, stops=stops)
    if not axes and len(stops) == 1:
        in_region = stops[0]
    following = next_sweep(
        axes=axes,
        outcome=outcome,
        configurations=configurations,
        stop=in_region,
        stops=stops,
        facts=facts,
        epochs=epochs,
        n_seeds=n_seeds,
        budget=budget,
        cause=cause,
        n_configurations=n_configurations,
    )
    return Recommendation(
        answer=_answer(
            outcome,
            in_region,
            cause,
            caution=incomparable_text(axes, monitor=monitor, metric=facts.metric),
        ),
        region=outcome.region,
        stop_epochs=stops,
        region_stop=in_region,
        next_parameters=following.parameters,
        next_settings=following.settings,
        next_reasons=following.reasons,
    )


def _answer(
    outcome: RegionOutcome, stop: StopEpoch | None, cause: Cause | None, caution: str = ""
) -> str:
    if cause is not None and outcome.cause in _EXPLAINED:
        return f"{_EXPLAINED[outcome.cause]}: {_cause_text(cause)}"
    text = outcome.answer
    if stop is not None and stop.epoch == 0:
        text += "; where the model starts it is as good, up to noise, as after any training"
    elif stop is not None and stop.epoch < stop.budget_epochs:
        text += f"; stop at epoch {epoch_text(stop.epoch)} and keep the best checkpoint"
    elif stop is not None:
        every = "" if stop.epoch == 1 else "all "
        text += f"; train for {every}{plural(stop.epoch, 'epoch')}"
        text += " or longer" if stop.is_improving else " and keep the best checkpoint"
    if cause is not None and cause.is_error and outcome.region is not None:
        title = _lowered(cause.title)
        text = f"First mend {cause.code}: {title}. As things are: {_lowered(text)}"
    if outcome.equals:
        text += f". As good outside this box: {_equals_text(outcome)}"
    return ". ".join([sentence(text).rstrip("."), *_cautions(outcome, caution)]) + "."


def _cautions(outcome: RegionOutcome, caution: str) -> list[str]:
    """Return what limits the answer, as sentences without their full stops."""
    texts = [sentence(caution).rstrip(".")] if caution and outcome.region is not None else []
    if outcome.cause is RegionCause.FOUND and not outcome.is_noise_known:
        texts.append("With one seed each, luck may have had a part in this")
    if outcome.seed_factor > LARGEST_FACTOR:
        texts.append(
            "Seeds differ more than threefold: either training is a matter of luck, or something "
            "else differs between runs of equal settings"
        )
    elif outcome.is_noise_too_large:
        texts.append(
            "Seed noise is too large to separate the configurations: more seeds are needed"
        )
    return texts


def _cause_text(cause: Cause) -> str:
    return f"{_lowered(cause.title)} ({cause.code}). {sentence(cause.action)}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _equals_text(outcome: RegionOutcome) -> str:
    candidates = outcome.candidates
    shown = [
        ", ".join(
            f"{axis_name(axis.name)} {value_text(value)}"
            for axis, value in zip(
                candidates.axes,
                candidates.values[candidates.config_ids.index(config_id)],
                strict=True,
            )
        )
        for config_id in outcome.equals[:_MOST_EQUALS]
    ]
    n_more = len(outcome.equals) - len(shown)
    return "; ".join(shown) + (f"; and {n_more} more" if n_more else "")

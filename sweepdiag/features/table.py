"""The table of features: what each is, its unit and what it is computed from.

One table serves every backend, the documentation and the columns of ``features.parquet``.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FEATURES", "FEATURE_NAMES", "FeatureSpec"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """One feature.

    Attributes:
        name: Column name.
        formula: How it is computed. ``x`` are the finite values of the series in order, ``s`` its
            trailing mean over ``w`` values (5; 3 below 20 values; 1 below 9), ``n`` their number.
        unit: ``loss``, ``epoch``, ``count``, ``metric`` or ``1`` (unchanged by positive scaling).
        source: ``train_loss``, ``val_loss``, ``both`` losses, ``val_metric`` or ``epochs``.
        description: What it tells.
        reference: Who looks at the same quantity; empty where it is sweepdiag's own.
    """

    name: str
    formula: str
    unit: str
    source: str
    description: str
    reference: str = ""


_SERIES: tuple[tuple[str, str, str, str], ...] = (
    ("n_finite", "n", "count", "Finite values."),
    (
        "n_nonfinite",
        "number of NaN and infinite values from the first finite value on",
        "count",
        (
            "Losses that overflowed. NaN counts as not evaluated before the first finite value, "
            "where the whole series is NaN, and where it is 30 % or more of the inner values."
        ),
    ),
    (
        "first_nonfinite_epoch",
        "epoch of the first of them",
        "epoch",
        "When the loss stopped being a number; NaN if it never did.",
    ),
    (
        "ends_finite",
        "1 if the last value is finite or was just not evaluated, else 0",
        "1",
        "Whether the training ended with a usable loss; NaN if the series is absent.",
    ),
    ("first", "x[0]", "loss", "Where the curve starts."),
    ("last", "x[n-1]", "loss", "Where it ends."),
    ("last_epoch", "epoch of x[n-1]", "epoch", "When the last finite value was measured."),
    ("min", "min(x)", "loss", "Lowest single value."),
    ("min_epoch", "epoch of min(x)", "epoch", "When it was reached first."),
    ("max", "max(x)", "loss", "Highest single value."),
    ("smooth_last", "s[n-1]", "loss", "Level at the end, without the noise of one evaluation."),
    ("smooth_min", "min(s)", "loss", "Lowest level that lasted."),
    (
        "smooth_min_epoch",
        "epoch at the centre of the window of argmin(s)",
        "epoch",
        "When that level was reached first.",
    ),
    (
        "smooth_min_position",
        "(smooth_min_epoch - epoch of x[0]) / (epoch of x[n-1] - epoch of x[0])",
        "1",
        "Where the best level lies: near 0 the budget is too long, near 1 too short.",
    ),
    (
        "tail_min",
        "min(x[n-w:])",
        "loss",
        "Lowest of the last values: a rise that lasts lifts it, a single spike does not.",
    ),
    ("rise", "(s[n-1] - min(s)) / |min(s)|", "1", "Rise at the end relative to the best level."),
    (
        "rise_range",
        "(s[n-1] - min(s)) / (max(x[0], s[n-1]) - min(s))",
        "1",
        (
            "The same relative to the fall before it: 0 none of it was lost, 1 all of it. "
            "Not changed by adding a constant to the loss."
        ),
    ),
    (
        "rise_z",
        "(s[n-1] - min(s)) / (noise sqrt(2 / w))",
        "1",
        (
            "Significance of the rise: its size in standard errors of the difference of two means "
            "over w values."
        ),
    ),
    (
        "later_fall",
        "(x[1] - min(s)) / |x[1]|",
        "1",
        (
            "What was learned after the second value: near 0 where a network found the best "
            "constant prediction at once and nothing after it."
        ),
    ),
    (
        "noise",
        "median of |x[i] - line between its neighbours|, second half, scaled",
        "loss",
        "Standard deviation of single values around the curve.",
    ),
    ("noise_level", "noise / |s[n-1]|", "1", "Noise relative to the level at the end."),
    (
        "noise_range",
        "noise / (max(x[0], s[n-1]) - min(s))",
        "1",
        "Noise relative to the range of the curve.",
    ),
    ("late_first", "first x of the last third", "loss", "Where the last third begins."),
    ("late_first_epoch", "epoch of late_first", "epoch", "When the last third begins."),
    (
        "late_change",
        "least-squares slope over the last third x its length",
        "loss",
        "Change over the last third (at least the last 5 values); negative while improving.",
    ),
    ("late_change_se", "standard error of late_change", "loss", "How well that change is known."),
    (
        "late_slope",
        "late_change / |mean of the last third|",
        "1",
        "The same change relative to the level.",
    ),
    ("late_slope_se", "late_change_se / |mean of the last third|", "1", "Its standard error."),
    (
        "spikes",
        "number of i with x[i] - s[i-1] > max(6 noise, 10 % of the range), first of a stretch",
        "count",
        "Sudden jumps upwards.",
    ),
    (
        "spikes_recovered",
        "those of them with s[n-1] <= s[i-1] + (x[i] - s[i-1]) / 2",
        "count",
        "Jumps of which at least half was made good by the end.",
    ),
    (
        "plateau",
        "number of last values with |s[i] - s[n-1]| <= max(2 % of the range, 2 noise / sqrt(w))",
        "count",
        "For how long the curve has been flat.",
    ),
    (
        "drops",
        (
            "number of i with x[i-1] - x[i] > max(5 noise, 5 % of the range) and > 4 x the speed "
            "of the four steps before"
        ),
        "count",
        "Sudden falls, such as those after a drop of the learning rate.",
    ),
    (
        "sign_changes",
        "share of neighbouring steps of opposite sign",
        "1",
        "Near 2/3 for pure noise, near 0 for a smooth curve.",
    ),
)

_PAIR: tuple[tuple[str, str, str, str], ...] = (
    ("gap_last", "val_smooth_last - train_smooth_last", "loss", "Gap at the end."),
    (
        "gap_at_val_min",
        "val_smooth_min - train_at_val_min",
        "loss",
        "Gap where validation was best.",
    ),
    ("gap_growth", "gap_last - gap_at_val_min", "loss", "Growth of the gap since then."),
    ("gap_ratio", "gap_last / |train_smooth_last|", "1", "Gap relative to the training loss."),
    (
        "train_at_val_min",
        "smoothed training loss at the minimum of the smoothed validation loss",
        "loss",
        "Where training stood when validation was best.",
    ),
    (
        "train_change",
        "(train_smooth_last - train_at_val_min) / |train_at_val_min|",
        "1",
        "What training did since validation was best; negative if it improved.",
    ),
    (
        "val_regained",
        "(peak - val_smooth_last) / (peak - val_smooth_min), peak = max of s after its minimum",
        "1",
        "Share of a rise of the validation loss that was made good again.",
    ),
    (
        "val_below_train",
        "share of evaluations after the first with val_loss < train_loss",
        "1",
        "Near 1 where validation is easier, or training loss is measured with dropout on.",
    ),
)

_METRIC: tuple[tuple[str, str, str, str], ...] = (
    ("metric_first", "first finite value", "metric", "Where the metric starts."),
    ("metric_last", "s[n-1]", "metric", "Level at the end."),
    ("metric_min", "lowest value", "metric", "Best value where smaller is better."),
    ("metric_min_epoch", "epoch of the lowest value", "epoch", "When it was reached first."),
    ("metric_max", "highest value", "metric", "Best value where larger is better."),
    ("metric_max_epoch", "epoch of the highest value", "epoch", "When it was reached first."),
    (
        "metric_at_val_min",
        "s at the minimum of the smoothed validation loss",
        "metric",
        "The metric where the validation loss was best: does it go on improving after that?",
    ),
)

_EPOCHS: tuple[tuple[str, str, str, str], ...] = (
    ("n_evaluations", "number of evaluations", "count", "Length of the curve."),
    ("first_epoch", "first epoch", "epoch", "0 where the untrained model was evaluated too."),
    ("last_epoch", "last epoch", "epoch", "How long was trained."),
)


_REFERENCES: dict[str, str] = {
    "n_nonfinite": "AUTOTRAINER (Zhang et al., 2021)",
    "smooth_min_position": "Deep Learning Tuning Playbook (Godbole et al., 2023)",
    "rise": "Prechelt, 1998: generalisation loss GL",
    "noise": "Gasser, Sroka and Jennen-Steinmetz, 1986: pseudo-residuals",
    "noise_level": "BTTackler (2024): coefficient of variation",
    "late_slope": "BTTackler (2024): slope of the last evaluations",
    "late_slope_se": "ordinary least squares",
    "late_change_se": "ordinary least squares",
    "sign_changes": "TheDeepChecker (Ben Braiek and Khomh): smoothness",
    "gap_ratio": "skore: gap relative to the reference",
    "val_below_train": "UMLAUT (Schoop et al., 2021)",
}
"""By name without the prefix of a series."""


def _specs(
    rows: tuple[tuple[str, str, str, str], ...], source: str, prefix: str = ""
) -> tuple[FeatureSpec, ...]:
    return tuple(
        FeatureSpec(
            name=prefix + name,
            formula=formula,
            unit=unit,
            source=source,
            description=description,
            reference=_REFERENCES.get(name, ""),
        )
        for name, formula, unit, description in rows
    )


FEATURES: tuple[FeatureSpec, ...] = (
    *_specs(_EPOCHS, "epochs"),
    *_specs(_SERIES, "train_loss", "train_"),
    *_specs(_SERIES, "val_loss", "val_"),
    *_specs(_PAIR, "both"),
    *_specs(_METRIC, "val_metric"),
)
"""Every feature, in the order of the columns of a ``FeatureMatrix``."""

FEATURE_NAMES: tuple[str, ...] = tuple(spec.name for spec in FEATURES)

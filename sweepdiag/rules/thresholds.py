"""Every number that decides a verdict, in one place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Thresholds"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """The numbers behind the verdicts; each field says what it limits and where it comes from.

    Shares and ratios have no unit: multiplying a loss by a positive number changes none of the
    comparisons. "Start" is the loss of the best constant prediction where it is known, otherwise
    the first evaluated loss. "Smoothed" is the mean of the last 5 evaluations (fewer on short
    curves). Values not credited to a source were chosen on simulated and openly available curves
    without labels, and are deliberately round. Those tell nothing of some cases: the values of
    ``u_shape_min_level``, ``overfit_wide_ratio``, ``overfit_memorised_ratio``, ``plateau_gain``
    and ``instability_min_range`` were chosen with everyday logs in view, labelled by eye.
    """

    min_evaluations: float = 5.0
    """Finite losses below which only a clear divergence is called. A window of 5 is the shortest
    that TheDeepChecker and common smoothing rules use."""

    divergence_ratio: float = 2.0
    """Training loss at the end over its minimum (TheDeepChecker: 2), or a last value over the
    start."""

    divergence_lasting_ratio: float = 1.3
    """Training loss at the end over its minimum, where much more of the fall is lost again."""

    divergence_lasting_regained: float = 0.3
    """Share of the whole fall that must be lost again for that."""

    divergence_regained: float = 0.1
    """Share of the whole fall that must be lost again before that ratio counts: from 0.001 to
    0.003 is three times the minimum, but nothing has diverged."""

    divergence_above_start: float = 0.05
    """Excess of the smoothed training loss over its start, relative to the start. Collapsed
    networks stay within about 2 % of chance; divergent ones lie above 5 %."""

    divergence_jump_far: float = 10.0
    """Highest training loss over the start, from which a return to half of the start only is still
    no recovery, where the best constant prediction is unknown."""

    divergence_validation: float = 10.0
    """Last validation losses over their start where training stays above half of its own start.
    Overconfident networks that learned their training set reach about this."""

    divergence_validation_far: float = 100.0
    """The same whatever training does."""

    divergence_lost: float = 0.9
    """Share of the whole fall that is lost again when a training falls back to chance."""

    divergence_lost_fall: float = 0.1
    """How far below the start, relative to it, the loss must have been for that."""

    not_learning_fall: float = 0.02
    """Fall of the smoothed training loss below its start, relative to the start, up to which
    nothing was learned. An untrained network starts 1 to 2 % above chance and reaches chance by
    its output bias alone."""

    not_learning_later: float = 0.01
    """Fall of the training loss after the second evaluation, relative to it, up to which nothing
    was learned but a constant; used where the best constant prediction is unknown."""

    not_learning_gap: float = 0.03
    """Largest gap relative to the training loss for that: a constant predicts both sets alike."""

    not_learning_level: float = 0.25
    """Least level relative to the first loss for that."""

    not_learning_noise: float = 2.5
    """The same in standard errors of the smoothed loss, where noise is larger."""

    not_learning_noise_fall: float = 0.1
    """Fall relative to the start that no noise explains: it is measured around a line between
    neighbours, and a spike or a steep fall in a short curve passes for it."""

    u_shape_rise: float = 0.045
    """Rise of the smoothed validation loss over its minimum, relative to the minimum. 4 to 5 % is
    best on simulated overfitting; healthy short trainings reach 4 %."""

    u_shape_lasting: float = 0.03
    """Share of the training, from the minimum to the end, that a rise must last: the last wave of
    a long curve is no turn. In the curves used for development the shortest rise takes 10 %."""

    u_shape_rise_range: float = 0.1
    """The same relative to the fall before it, for losses without a floor."""

    u_shape_min_range: float = 0.001
    """Share of the fall that a rise must make up in any case: from 1e-8 to 3e-8 is no rise."""

    u_shape_min_level: float = 0.01
    """Smoothed validation loss at the end relative to its start, below which a rise is none: of a
    loss that began at 5, nothing is lost from 0.001 to 0.01 (losses with a floor)."""

    u_shape_noise: float = 1.5
    """The rise in standard errors of the smoothed validation loss, on top of the distance of the
    lowest of that many values from their mean that noise alone explains."""

    u_shape_train_share: float = 0.25
    """Largest rise of the training loss since the validation minimum, relative to the rise of
    validation: more is instability, not overfitting."""

    u_shape_train_factor: float = 0.5
    """Rise of the training loss since then, relative to itself, that noise cannot excuse (losses
    with a floor)."""

    second_descent_regained: float = 0.5
    """Share of the rise that is made good again, while still falling, from which on it is a second
    descent."""

    overfit_gap_share: float = 0.15
    """Gap at the end relative to what training learned: the share that did not carry over."""

    overfit_gap_ratio: float = 1.0
    """Gap at the end relative to the training loss (losses with a floor)."""

    overfit_gap_growth: float = 0.1
    """Growth of the gap since the validation minimum, or over the last third, relative to the
    gap. A gap that does not grow is a shifted or small validation set."""

    overfit_wide_share: float = 0.5
    """The same share from which a gap need not grow: most of what was learned did not carry over.
    In the curves used for development no finite one gets there that does not grow."""

    overfit_wide_ratio: float = 2.0
    """Least gap relative to the training loss for that."""

    overfit_memorised_ratio: float = 10.0
    """Gap relative to the training loss from which ``overfit_gap_share`` need not grow: training
    has next to nothing left to learn."""

    overfit_baseline: float = 0.02
    """How far below the best constant prediction, relative to it, the smoothed validation loss
    must get for anything to have carried over; the same noise as in ``not_learning_fall``."""

    overfit_baseline_learned: float = 0.05
    """Fall of the training loss below its start, relative to it, from which it learned what did
    not carry over."""

    improving_slope: float = 0.05
    """Fall over the last third relative to the level, in training and validation, from which a
    curve is still improving (losses with a floor)."""

    improving_share: float = 0.02
    """The same fall relative to all that was learned: the rest of a long tail is no underfit."""

    improving_share_large: float = 0.12
    """Share of all that was learned, from which the last third counts whatever the level: an
    exponential approach with less than 2.6 time constants behind it."""

    improving_regained: float = 0.1
    """Share of the fall over the last third that validation loss may lie above its minimum at the
    end: what fell in one step, after a drop of the learning rate, and then rises falls no more."""

    improving_slope_large: float = 0.25
    """Fall over the last third relative to the level, from which ``tag_improving_share`` of all
    that was learned is enough (losses with a floor)."""

    improving_t_following: float = 2.0
    """The same for a validation loss that falls by ``improving_share_large`` while training falls
    beyond doubt: spikes of validation hide what both do."""

    improving_t: float = 3.0
    """The same fall in standard errors; also a rise of the validation loss over the last third."""

    plateau_level: float = 0.75
    """Training loss at the end relative to the known start from which a flat curve, seen alone, is
    far above what the start allows."""

    plateau_level_unknown: float = 0.9
    """The same where only the first evaluated loss is known."""

    plateau_gain: float = 1 / 3
    """Gain of the validation metric relative to its first value, from which a loss that stays near
    its first value has learned all the same: its floor is high."""

    sibling_relative: float = 0.1
    """How much lower both losses of another configuration must be, relative to this one's."""

    sibling_share: float = 0.02
    """The same relative to the start."""

    sibling_factor: float = 0.5
    """Share of this one's losses by which they must be lower where that is less than the share of
    the start: half of a loss close to 0 counts."""

    sibling_noise: float = 3.0
    """The same in standard deviations between seeds."""

    instability_regained: float = 0.2
    """Share of the fall of the training loss lost again at the end from which a curve that is not
    diverging is inconclusive."""

    instability_rise: float = 0.1
    """Smoothed validation loss at the end over its minimum, relative to it, from which a curve is
    not healthy whatever its noise; beyond noise ``u_shape_rise`` is enough."""

    instability_min_range: float = 0.005
    """Share of the fall that such a rise must make up."""

    instability_noise: float = 0.2
    """Noise of the training loss relative to its range, likewise."""

    min_confidence: float = 0.5
    """Share of resamples that must agree with a verdict; below it is inconclusive."""

    runner_up_share: float = 0.05
    """Share of resamples from which another class is named as runner-up."""

    runner_up_margin: float = 0.3
    """Margin within which another class is named as runner-up where nothing was resampled."""

    oscillation_range: float = 0.03
    """Noise of the training loss relative to its range from which it oscillates (AUTOTRAINER: 0.03
    in accuracy)."""

    oscillation_sign_changes: float = 0.4
    """Share of steps that turn round, for that tag. 2/3 is pure noise."""

    noisy_validation_range: float = 0.005
    """Noise of the validation loss relative to its range from which it is noisy."""

    noisy_validation_level: float = 0.1
    """The same relative to its level, which must hold too (losses with a floor)."""

    noisy_validation_sign_changes: float = 0.3
    """Share of steps that turn round, for that tag: a smooth curve is not noisy."""

    noisy_validation_evaluations: float = 10.0
    """Finite validation losses below which noise is not told from shape."""

    plateau_share: float = 0.25
    """Share of the evaluations at the end that are flat, for the tag ``plateaued``."""

    tag_improving_slope: float = 0.02
    """Fall over the last third relative to the level, for the tag ``still_improving``."""

    tag_improving_share: float = 0.005
    """The same fall relative to all that was learned, which must hold too."""

    validation_easier_share: float = 0.8
    """Share of evaluations with validation loss below training loss, for that tag."""

    validation_easier_gap: float = 0.05
    """How far validation loss ends below training loss, relative to it (or, without a floor, to
    the range of the training loss), for that tag; beyond three standard errors as well."""

    metric_disagrees_gain: float = 0.01
    """Gain of the metric since the validation loss was best, relative to its gain until then, for
    the tag ``metric_disagrees``."""

    edge_slope_low: float = 0.3
    """Slope of log stability edge against log batch size below which the edge does not move."""

    seed_noise: float = 2.0
    """Standard deviations between seeds within which two configurations are tied."""

    budget_late: float = 0.75
    """Share of the budget after which a best epoch is late (tuning playbook: last quarter)."""

    budget_early: float = 0.1
    """Share of the budget before which a best epoch is early (tuning playbook: first tenth)."""

    good_share: float = 0.25
    """Share of the configurations, best first, that validation must be able to tell apart."""

    @classmethod
    def from_overrides(cls, overrides: Mapping[str, float]) -> Thresholds:
        """Return the thresholds with some of them replaced.

        Args:
            overrides: New values by name.

        Returns:
            The thresholds.

        Raises:
            ConfigError: If a name does not exist or a value is not a number >= 0.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name, value in overrides.items():
            if name not in names:
                raise ConfigError(unknown_name("threshold", name, names))
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                message = f"threshold {name} must be a number >= 0, got {value!r}"
                raise ConfigError(message)
        return cls(**{name: float(value) for name, value in overrides.items()})

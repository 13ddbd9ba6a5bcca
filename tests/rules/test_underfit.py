from __future__ import annotations

import dataclasses

import numpy as np

from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules import judge_curves
from tests.features.curves import curve, stack
from tests.rules.curves import FACTS, NAN, START, Losses, healthy, judge, noisy, slow, u_shaped


def plateau(level: float, *, seed: int = 0, n: int = 30) -> Losses:
    train = level + (START - level) * np.exp(-np.arange(n) / 3)
    return noisy((train, train + 0.02), seed=seed)


def in_sweep(*losses: Losses, ids: list[str]) -> list[VerdictClass]:
    curves = stack([curve(*one, run_id=str(i)) for i, one in enumerate(losses)])
    verdicts = judge_curves(curves, facts=FACTS, config_ids=ids, context="sweep", n_resamples=8)
    return [verdict.verdict for verdict in verdicts]


def test_losses_that_still_fall_are_underfitting() -> None:
    verdict = judge(slow())
    assert verdict.verdict is VerdictClass.UNDERFIT
    assert Tag.STILL_IMPROVING in verdict.tags
    assert "still falling" in verdict.evidence


def test_a_converged_curve_is_not() -> None:
    verdict = judge(healthy())
    assert verdict.verdict is VerdictClass.HEALTHY
    assert Tag.PLATEAUED in verdict.tags


def test_training_that_falls_while_validation_is_flat_is_not() -> None:
    t = np.arange(30)
    train = START * np.exp(-t / 6)
    val = 0.1 + START * np.exp(-t / 2)
    assert judge(noisy((train, val))).verdict is not VerdictClass.UNDERFIT


def test_alone_a_plateau_close_to_the_start_is_underfitting() -> None:
    verdict = judge(plateau(2.0))
    assert verdict.verdict is VerdictClass.UNDERFIT
    assert "87 % of the 2.303 the best constant prediction has" in verdict.evidence


def test_in_a_sweep_a_high_plateau_alone_is_no_proof() -> None:
    verdicts = in_sweep(plateau(2.0), plateau(1.98, seed=1), ids=["a", "b"])
    assert verdicts == [VerdictClass.HEALTHY] * 2


def test_in_a_sweep_a_sibling_with_both_losses_lower_is() -> None:
    curves = stack([curve(*plateau(1.0), run_id="high"), curve(*plateau(0.3), run_id="low")])
    verdicts = judge_curves(
        curves, facts=FACTS, config_ids=["a", "b"], context="sweep", n_resamples=8
    )
    assert [v.verdict for v in verdicts] == [VerdictClass.UNDERFIT, VerdictClass.HEALTHY]
    assert [v.reference_id for v in verdicts] == ["b", None]
    assert "configuration b reaches" in verdicts[0].evidence


def test_a_sibling_that_overfits_is_no_reference_if_its_validation_is_no_better() -> None:
    t = np.arange(30)
    overfitting = START * np.exp(-t / 3), 1.02 + START * np.exp(-t / 3) + 0.02 * t
    verdicts = in_sweep(plateau(1.0), overfitting, ids=["a", "b"])
    assert verdicts[0] is VerdictClass.HEALTHY


def test_a_sibling_that_overfits_later_is_a_reference_at_its_best_epoch() -> None:
    assert in_sweep(plateau(1.0), u_shaped(), ids=["a", "b"])[0] is VerdictClass.UNDERFIT


def test_seeds_of_one_configuration_are_no_references_for_each_other() -> None:
    assert in_sweep(plateau(1.0), plateau(0.3), ids=["a", "a"]) == [VerdictClass.HEALTHY] * 2


def test_a_difference_within_the_noise_between_seeds_is_none() -> None:
    losses = [plateau(level, seed=i) for i, level in enumerate((0.8, 1.2, 0.6, 1.0))]
    assert in_sweep(*losses, ids=["a", "a", "b", "b"]) == [VerdictClass.HEALTHY] * 4


def test_losses_a_hundred_times_lower_count_however_much_seeds_differ() -> None:
    # Next to zero seeds differ by factors, of a small validation set for example.
    levels = (1.5, 1.5, 0.005, 0.02, 0.006, 0.02)
    losses = [plateau(level, seed=i) for i, level in enumerate(levels)]
    losses = [(train, train * 1.01) for train, _ in losses]
    verdicts = in_sweep(*losses, ids=["a", "a", "b", "b", "c", "c"])
    assert verdicts[:2] == [VerdictClass.UNDERFIT] * 2


def test_a_diverged_sibling_is_no_reference() -> None:
    train, val = plateau(0.3)
    train[-1] = NAN
    assert in_sweep(plateau(1.0), (train, val), ids=["a", "b"]) == [
        VerdictClass.HEALTHY,
        VerdictClass.DIVERGING,
    ]


def test_without_validation_training_decides() -> None:
    train, _ = slow()
    verdict = judge((train, np.full(30, NAN)))
    assert verdict.verdict is VerdictClass.UNDERFIT
    assert verdict.evidence.startswith("training loss was still falling")


def test_siblings_are_compared_without_a_floor_too() -> None:
    facts = dataclasses.replace(
        FACTS, loss_floor=None, baseline_train_loss=None, baseline_val_loss=None
    )
    pairs = [plateau(1.0), plateau(0.3)]
    curves = stack([curve(t - 9, v - 9, run_id=str(i)) for i, (t, v) in enumerate(pairs)])
    verdicts = judge_curves(
        curves, facts=facts, config_ids=["a", "b"], context="sweep", n_resamples=0
    )
    assert [v.verdict for v in verdicts] == [VerdictClass.UNDERFIT, VerdictClass.HEALTHY]


def test_small_losses_are_compared_by_factors() -> None:
    losses = [plateau(level, seed=i) for i, level in enumerate((0.02, 0.02, 0.006, 0.006))]
    losses = [(train, train + 0.002) for train, _ in losses]
    verdicts = in_sweep(*losses, ids=["a", "a", "b", "b"])
    assert verdicts == [VerdictClass.UNDERFIT] * 2 + [VerdictClass.HEALTHY] * 2


def test_an_oscillating_plateau_is_named_and_not_called_falling() -> None:
    rng = np.random.default_rng(0)
    train, val = plateau(1.0, n=40)
    shaking = train + 0.1 * rng.standard_normal(40)
    curves = stack([curve(shaking, val, run_id="high"), curve(*plateau(0.3, n=40), run_id="low")])
    verdict = judge_curves(
        curves, facts=FACTS, config_ids=["a", "b"], context="sweep", n_resamples=0
    )[0]
    assert verdict.verdict is VerdictClass.UNDERFIT
    assert Tag.OSCILLATING in verdict.tags
    assert verdict.evidence.startswith("training loss oscillates around")
    assert "falling" not in verdict.evidence


def test_spikes_of_validation_do_not_hide_that_both_losses_still_fall() -> None:
    t = np.arange(40)
    train = 0.7 - 0.5 * t / 40
    val = train + 0.02 + np.where(np.isin(t, [28, 31, 35]), 0.2, 0.0)
    verdict = judge((train, val), facts=None)
    assert verdict.verdict is VerdictClass.UNDERFIT
    flat = np.where(t < 26, val, val[25]) + np.where(t % 7 == 3, 0.1, 0.0)
    assert judge((train, flat), facts=None).verdict is not VerdictClass.UNDERFIT


def test_a_step_in_the_last_third_is_no_lasting_fall() -> None:
    t = np.arange(100)
    step = np.where(t >= 80, 0.5, 0.0)
    train = 8.0 + 18.0 * np.exp(-t / 8) - 2 * step
    settled = 8.5 + 18.0 * np.exp(-t / 8) - step
    rising = settled + np.where(t >= 82, 0.006 * (t - 82), 0.0)
    rng = np.random.default_rng(0)
    noise = 0.01 * rng.standard_normal(100)
    assert judge((train, rising + noise), facts=None).verdict is VerdictClass.HEALTHY
    lasting = 8.5 + 18.0 * np.exp(-t / 8) - np.where(t >= 66, 0.03 * (t - 66), 0.0)
    assert judge((train, lasting + noise), facts=None).verdict is VerdictClass.UNDERFIT


def test_spikes_at_the_end_do_not_hide_a_fall() -> None:
    t = np.arange(120.0)
    loss = START * (1 - 0.005 * t)
    loss[[90, 100, 112, 116, 118]] *= 1.3
    verdict = judge((loss, loss + 0.01), n_resamples=0)
    assert verdict.verdict is VerdictClass.UNDERFIT
    assert "still falling" in verdict.evidence


def test_without_validation_losses_a_metric_that_has_stopped_speaks_against_it() -> None:
    train, _ = slow()
    missing = np.full(30, NAN)
    rising = np.linspace(0.1, 0.6, 30)
    stopped = np.minimum(rising, 0.3) - 0.002 * np.arange(30)
    verdicts = [
        judge_curves(curve(train, missing, metric=metric), facts=FACTS, n_resamples=0)[0]
        for metric in (rising, stopped, missing)
    ]
    assert [verdict.verdict for verdict in verdicts] == [
        VerdictClass.UNDERFIT,
        VerdictClass.INCONCLUSIVE,
        VerdictClass.UNDERFIT,
    ]
    assert Tag.STILL_IMPROVING not in verdicts[1].tags


def test_a_metric_that_gained_tells_a_high_floor_from_a_loss_that_stays_high() -> None:
    facts = dataclasses.replace(FACTS, baseline_train_loss=None, baseline_val_loss=None)
    loss = 0.70 + 0.05 * np.exp(-np.arange(30) / 3)
    for metric, expected in (
        (0.65 - 0.4 * np.exp(-np.arange(30) / 5), VerdictClass.HEALTHY),
        (np.full(30, 0.25), VerdictClass.UNDERFIT),
    ):
        verdict = judge_curves(curve(loss, loss + 0.001, metric=metric), facts=facts)[0]
        assert verdict.verdict is expected


def test_a_first_validation_loss_beyond_measure_does_not_hide_a_fall() -> None:
    """As of a network with batch statistics that have not settled in its first epoch."""
    train = START * (1 - 0.5 * np.arange(25) / 25)
    val = train * 1.1
    val[:2] = 80 * START, 10 * START
    assert judge((train, val), facts=None, n_resamples=0).verdict is VerdictClass.UNDERFIT

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.errors import ConfigError
from sweepdiag.features import CurveArrays
from sweepdiag.records import Tag, VerdictClass
from sweepdiag.rules import judge_curves
from sweepdiag.testing.simulated import SimulatedSweep, simulate_sweep
from tests.features.curves import curve, stack
from tests.rules.curves import (
    FACTS,
    INF,
    NAN,
    exploding,
    flat,
    healthy,
    judge,
    overfit,
    slow,
    u_shaped,
)

SHAPES = [healthy, u_shaped, overfit, slow, flat, exploding]


def _arrays(sweep: SimulatedSweep) -> CurveArrays:
    table = sweep.curves
    return CurveArrays.from_long(
        table["trial_id"].to_numpy(),
        table["epoch"].to_numpy(),
        table["train_loss"].to_numpy(),
        table["val_loss"].to_numpy(),
        table["val_metric"].to_numpy(),
    )


def _some_curve(rng: np.random.Generator, run_id: str) -> CurveArrays:
    train, val = SHAPES[rng.integers(len(SHAPES))](int(rng.integers(1, 45)))
    train = train * np.exp(0.02 * rng.standard_normal(train.size))
    val = val * np.exp(0.03 * rng.standard_normal(val.size))
    if rng.random() < 0.3:
        train[rng.integers(train.size)] = rng.choice([NAN, INF])
    return curve(train, val, run_id=run_id)


def test_no_curves_give_no_verdicts() -> None:
    assert judge_curves(CurveArrays.from_long([], [], [], []), facts=FACTS) == ()


def test_without_resamples_confidence_is_not_measured() -> None:
    verdict = judge(healthy(), n_resamples=0)
    assert verdict.verdict is VerdictClass.HEALTHY
    assert math.isnan(verdict.confidence)


def test_context_is_checked() -> None:
    with pytest.raises(ConfigError, match="context must be 'alone' or 'sweep', got 'group'"):
        judge(healthy(), context="group")
    with pytest.raises(ConfigError, match=r"one config_id per curve \(1\), got none"):
        judge(healthy(), context="sweep")
    with pytest.raises(ConfigError, match=r"one config_id per curve \(1\), got 2"):
        judge(healthy(), context="sweep", config_ids=["a", "b"])


def test_validation_below_training_is_tagged() -> None:
    train, val = healthy()
    assert Tag.VALIDATION_EASIER in judge((val + 0.05, train)).tags
    assert Tag.VALIDATION_EASIER not in judge((train, val)).tags


def test_validation_a_trifle_below_training_is_not_easier() -> None:
    _, val = healthy()
    assert Tag.VALIDATION_EASIER not in judge((val, val * 0.98)).tags


def test_a_smooth_or_short_curve_is_not_noisy() -> None:
    falling = np.geomspace(2.0, 0.01, 30)
    assert Tag.NOISY_VALIDATION not in judge((falling, falling * 1.1)).tags
    short = np.array([2.0, 0.4, 0.9, 0.3, 0.8, 0.2, 0.7])
    assert Tag.NOISY_VALIDATION not in judge((np.geomspace(2.0, 0.1, 7), short)).tags


def test_a_spike_of_a_curve_that_learned_nothing_is_not_tagged_as_recovered() -> None:
    train, val = flat()
    train[15] *= 1.5
    verdict = judge((train, val))
    assert verdict.verdict is VerdictClass.NOT_LEARNING
    assert Tag.SPIKE_RECOVERED not in verdict.tags


def test_noise_is_tagged_where_it_is() -> None:
    rng = np.random.default_rng(0)
    train, val = healthy(60)
    shaky = judge((train, val * (1 + 0.4 * rng.random(60))))
    assert Tag.NOISY_VALIDATION in shaky.tags
    assert Tag.OSCILLATING not in shaky.tags
    wild = judge((train + 0.4 * rng.random(60), val))
    assert Tag.OSCILLATING in wild.tags


@given(seed=st.integers(0, 10_000), exponent=st.integers(-30, 30))
@settings(max_examples=30, deadline=None)
def test_positive_scaling_never_changes_a_verdict(seed: int, exponent: int) -> None:
    rng = np.random.default_rng(seed)
    factor = 2.0**exponent
    curves = _some_curve(rng, "a")
    scaled = dataclasses.replace(
        curves, train_loss=curves.train_loss * factor, val_loss=curves.val_loss * factor
    )
    start = FACTS.baseline_train_loss
    assert start is not None
    scaled_facts = dataclasses.replace(
        FACTS, baseline_train_loss=start * factor, baseline_val_loss=start * factor
    )
    for facts, other in ((FACTS, scaled_facts), (None, None)):
        here = judge_curves(curves, facts=facts, n_resamples=4)[0]
        there = judge_curves(scaled, facts=other, n_resamples=4)[0]
        assert (here.verdict, here.tags) == (there.verdict, there.tags)


@pytest.mark.parametrize("factor", [1e-6, 0.37, 3.0, 1e7])
@pytest.mark.parametrize("shape", SHAPES)
def test_scaling_by_any_number_leaves_typical_verdicts_alone(shape: object, factor: float) -> None:
    train, val = shape()  # type: ignore[operator]
    here = judge((train, val), facts=None)
    assert judge((train * factor, val * factor), facts=None).verdict is here.verdict


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_alone_a_verdict_does_not_depend_on_the_other_curves(seed: int) -> None:
    rng = np.random.default_rng(seed)
    curves = [_some_curve(rng, str(i)) for i in range(5)]
    together = judge_curves(stack(curves), facts=FACTS, n_resamples=8)
    for one, verdict in zip(curves, together, strict=True):
        apart = judge_curves(one, facts=FACTS, n_resamples=8)[0]
        assert dataclasses.astuple(apart)[1:4] == dataclasses.astuple(verdict)[1:4]
        np.testing.assert_equal(apart.confidence, verdict.confidence)
        assert apart.evidence == verdict.evidence


def test_batches_of_resamples_give_the_same_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    curves = stack([_some_curve(rng, str(i)) for i in range(6)])
    expected = judge_curves(curves, facts=FACTS, n_resamples=8)
    monkeypatch.setattr("sweepdiag.rules.confidence._BATCH_ELEMENTS", 1)
    got = judge_curves(curves, facts=FACTS, n_resamples=8)
    assert [v.verdict for v in got] == [v.verdict for v in expected]
    np.testing.assert_equal([v.confidence for v in got], [v.confidence for v in expected])


def test_simulated_curves_alone_get_the_class_of_their_place() -> None:
    sweep = simulate_sweep()
    verdicts = judge_curves(_arrays(sweep), facts=sweep.facts, n_resamples=4)
    place = sweep.trials.set_index("trial_id")
    for verdict in verdicts:
        row = place.loc[verdict.trial_id]
        if row["lr"] > 0.8 * row["batch_size"] / 64:
            expected = {VerdictClass.DIVERGING}
        elif row["lr"] <= 1e-3:
            expected = {VerdictClass.NOT_LEARNING, VerdictClass.UNDERFIT}
        elif row["lr"] >= 0.1 and row["capacity"] == 64:
            expected = {VerdictClass.U_SHAPED}
        elif row["lr"] >= 0.1:
            expected = {VerdictClass.HEALTHY}
        else:
            continue
        assert verdict.verdict in expected, (row.to_dict(), verdict.evidence)


def test_simulated_sweep_compares_capacities() -> None:
    sweep = simulate_sweep()
    curves = _arrays(sweep)
    place = sweep.trials.set_index("trial_id").loc[list(curves.run_ids)]
    verdicts = judge_curves(
        curves,
        facts=sweep.facts,
        config_ids=place["config_id"].tolist(),
        context="sweep",
        n_resamples=4,
    )
    at = {
        (row.lr, row.batch_size, row.capacity): verdict
        for row, verdict in zip(place.itertuples(), verdicts, strict=True)
    }
    small, large = at[0.1, 64, 4], at[0.1, 64, 64]
    assert small.verdict is VerdictClass.UNDERFIT
    assert small.reference_id is not None
    assert large.verdict is VerdictClass.U_SHAPED
    assert at[10.0, 64, 16].verdict is VerdictClass.DIVERGING


def test_simulated_sweep_of_one_capacity_is_healthy_in_the_middle() -> None:
    sweep = simulate_sweep(capacities=(16,))
    curves = _arrays(sweep)
    place = sweep.trials.set_index("trial_id").loc[list(curves.run_ids)]
    verdicts = judge_curves(
        curves,
        facts=sweep.facts,
        config_ids=place["config_id"].tolist(),
        context="sweep",
        n_resamples=4,
    )
    middle = (place["lr"] == 0.1).to_numpy()
    assert {v.verdict for v, is_in in zip(verdicts, middle, strict=True) if is_in} == {
        VerdictClass.HEALTHY
    }


def test_a_verdict_carries_its_margin_and_the_numbers_of_its_sentence() -> None:
    epochs = np.arange(40.0)
    rising = 0.5 + np.exp(-epochs / 4) + 0.02 * epochs
    barely = 0.5 + np.exp(-epochs / 4) + 0.0012 * epochs
    falling = 0.1 + np.exp(-epochs / 4)
    curves = CurveArrays(
        run_ids=("far", "near", "healthy"),
        epochs=np.tile(epochs, (3, 1)),
        train_loss=np.tile(falling, (3, 1)),
        val_loss=np.stack([rising, barely, falling + 0.02]),
        val_metric=np.full((3, 40), np.nan),
        lengths=np.full(3, 40),
    )
    far, near, healthy = judge_curves(curves, facts=None)
    assert far.verdict is VerdictClass.U_SHAPED
    assert far.margin > 0.5
    assert near.margin < far.margin
    assert healthy.verdict is VerdictClass.HEALTHY
    assert 0 < healthy.margin <= 1
    assert far.numbers["val_smooth_min_epoch"] == pytest.approx(rising.argmin(), abs=2)
    assert set(far.numbers) >= {"val_rise", "val_min", "val_last", "train_change"}

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.recommend import RegionCause, recommend_region
from sweepdiag.recommend._boxes import inside, largest_box
from sweepdiag.records import Axis, Scale
from sweepdiag.testing.simulated import simulate_sweep
from tests.recommend.tables import (
    Outcome,
    config_rows,
    config_table,
    configuration_table,
    int_axis,
    lr_axis,
    verdict_table,
)

LRS = (0.001, 0.01, 0.1, 1.0, 10.0)
DIVERGED = Outcome(losses=(9.0, 9.0), verdict="diverging")


def region_of(axes, table, monitor="val_loss", metric_mode=None):
    return recommend_region(
        axes=axes, configurations=table, monitor=monitor, metric_mode=metric_mode
    )


def bowl(best_lr: float, *, edge: float = math.inf, flat: float = 1.2):
    """Return outcomes with a flat bottom around a learning rate and a stability edge."""

    def outcome_of(point):
        lr = point["lr"]
        if lr >= edge:
            return DIVERGED
        excess = max(abs(math.log10(lr / best_lr)) - flat, 0.0)
        loss = 0.5 + 0.4 * excess
        return Outcome(losses=(loss, loss * 1.01), verdict="underfit" if excess > 0 else "healthy")

    return outcome_of


def test_region_of_the_simulated_sweep_is_below_the_edge_at_the_largest_capacity():
    sweep = simulate_sweep()
    verdicts = verdict_table(sweep)
    table = configuration_table(sweep, verdicts)
    region = region_of(sweep.plan.axes, table).region
    lr, batch_size, capacity = region.axes
    assert (lr.low, lr.high, lr.centre) == (0.1, 0.1, 0.1)
    assert lr.high_reason == "diverges at 1 for 2 of 3 configurations"
    assert batch_size.values == (16, 64, 256)
    assert (capacity.low, capacity.high) == (64.0, 64.0)
    diverging = set(table.loc[table["verdict"] == "diverging", "config_id"])
    assert not diverging & set(region.config_ids)
    assert any("stopping early" in reason for reason in region.reasons)


def test_the_centre_is_the_middle_and_not_the_lucky_winner():
    def outcome_of(point):
        # All of 0.01 .. 1 are good; the one next to the edge is a little better by luck.
        if point["lr"] in {0.001, 10.0}:
            return DIVERGED
        return Outcome(losses=(0.49, 0.49) if point["lr"] == 1.0 else (0.5, 0.5))

    axes = (lr_axis(*LRS),)
    outcome = region_of(axes, config_table(axes, outcome_of))
    assert outcome.region.axes[0].values == (0.01, 0.1, 1.0)
    assert outcome.region.axes[0].centre == 0.1
    assert outcome.best_config_id == f"{3:016x}"


def test_every_side_says_what_lies_beyond():
    axes = (lr_axis(*LRS),)
    outcome = region_of(axes, config_table(axes, bowl(0.3, edge=5.0, flat=0.6)))
    (lr,) = outcome.region.axes
    assert (lr.low, lr.high) == (0.1, 1.0)
    assert lr.low_reason == "underfits at 0.01"
    assert lr.high_reason == "diverges at 10"


def test_sides_without_a_neighbour_say_so():
    axes = (lr_axis(*LRS), int_axis("capacity", 64))
    region = region_of(axes, config_table(axes, bowl(0.1, flat=9.0))).region
    assert region.axes[0].low_reason == "no lower value was tried"
    assert region.axes[0].high_reason == "no higher value was tried"
    assert region.axes[1].low_reason == region.axes[1].high_reason == "no other value was tried"


def test_worse_configurations_beyond_are_given_with_how_much():
    axes = (int_axis("capacity", 8, 64),)

    def outcome_of(point):
        return Outcome(losses=(0.6, 0.6) if point["capacity"] == 8 else (0.5, 0.5))

    region = region_of(axes, config_table(axes, outcome_of)).region
    assert region.axes[0].low_reason == "is 20 % worse at 8"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome(losses=(0.1, 0.1), verdict="diverging"), "diverges at 10"),
        (Outcome(losses=(0.1, 0.1), tags=("unstable",)), "diverges in some seeds at 10"),
        (Outcome(losses=(0.1, 0.1), verdict="not_learning"), "does not learn at 10"),
        (Outcome(n_failed=2), "could not be trained at 10"),
        (Outcome(losses=(math.nan, math.nan)), "has no finite monitored value at 10"),
        (Outcome(losses=(0.6, 0.6), verdict="u_shaped"), "overfits and is 20 % worse at 10"),
    ],
)
def test_what_is_bad_stays_outside_however_good_its_value(outcome, reason):
    axes = (lr_axis(1.0, 10.0),)
    table = config_table(
        axes, lambda point: outcome if point["lr"] == 10.0 else Outcome(losses=(0.5, 0.5))
    )
    region = region_of(axes, table).region
    assert region.config_ids == (f"{0:016x}",)
    assert region.axes[0].high_reason == reason


def test_a_configuration_whose_worst_seed_is_bad_stays_outside():
    axes = (lr_axis(0.01, 0.1, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0),)
    table = config_table(
        axes,
        lambda point: Outcome(
            losses=(0.4, 0.5, 5.0) if point["lr"] == 6.0 else (0.5, 0.505, 0.51)
        ),
    )
    outcome = region_of(axes, table)
    assert outcome.region.axes[0].high == 5.0
    assert outcome.region.axes[0].high_reason == "is 880 % worse at 6"


def test_overfitting_alone_keeps_nothing_outside():
    axes = (lr_axis(0.1, 1.0),)
    table = config_table(axes, lambda point: Outcome(losses=(0.5, 0.51), verdict="u_shaped"))
    outcome = region_of(axes, table)
    assert len(outcome.region.config_ids) == 2
    assert "2 of the 2 inside overfit when trained to the end; stopping early makes them usable." \
        in outcome.region.reasons  # fmt: skip


def test_what_does_not_beat_a_constant_prediction_stays_outside():
    axes = (lr_axis(0.1, 1.0),)
    table = config_table(
        axes, lambda p: Outcome(losses=(0.985, 0.985) if p["lr"] == 1.0 else (0.97, 0.97))
    )
    outcome = recommend_region(
        axes=axes,
        configurations=table,
        monitor="val_loss",
        metric_mode=None,
        baseline_val_loss=1.0,
    )
    (lr,) = outcome.region.axes
    assert lr.values == (0.1,)
    assert lr.high_reason == "does not beat a constant prediction at 1"
    assert region_of(axes, table).region.axes[0].values == (0.1, 1.0)


def test_noise_admits_nothing_far_worse_and_asks_for_seeds():
    axes = (lr_axis(*LRS),)
    medians = dict(zip(LRS, (40.0, 1.0, 1.15, 2.0, 80.0), strict=True))
    table = config_table(
        axes, lambda p: Outcome(losses=(medians[p["lr"]] / 1.4, medians[p["lr"]] * 1.4))
    )
    outcome = region_of(axes, table)
    assert outcome.region.axes[0].values == (0.01, 0.1)
    assert outcome.is_noise_too_large
    assert any("too large to separate" in reason for reason in outcome.region.reasons)


def test_three_seeds_give_no_wider_region_than_two_when_a_few_go_astray():
    axes = (lr_axis(*LRS), int_axis("capacity", 4, 16))

    def table(n_seeds):
        def outcome_of(point):
            loss = 0.5 * (1 + 0.1 * abs(math.log10(point["lr"])))
            third = loss * (4.0 if point["lr"] == 0.1 else 1.01)
            return Outcome(losses=(loss, loss * 1.02, third)[:n_seeds])

        return config_table(axes, outcome_of)

    two, three = (set(region_of(axes, table(n)).region.config_ids) for n in (2, 3))
    assert three <= two


def test_of_equally_large_boxes_the_one_with_more_healthy_members_is_chosen():
    axes = (lr_axis(*LRS),)
    losses = dict(zip(LRS, (0.5, 0.505, 9.0, 0.51, 0.51), strict=True))
    table = config_table(
        axes,
        lambda p: Outcome(
            losses=(losses[p["lr"]],) * 2, verdict="u_shaped" if p["lr"] < 0.5 else "healthy"
        ),
    )
    assert region_of(axes, table).region.axes[0].values == (1.0, 10.0)


def test_a_side_counts_only_neighbours_with_the_same_harm():
    axes = (lr_axis(0.1, 1.0), int_axis("capacity", 4, 16))

    def outcome_of(point):
        if point["lr"] == 0.1:
            return Outcome(losses=(0.5, 0.5) if point["capacity"] == 16 else (0.51, 0.51))
        return DIVERGED if point["capacity"] == 4 else Outcome(losses=(0.6, 0.6))

    region = region_of(axes, config_table(axes, outcome_of)).region
    assert region.axes[0].high_reason == "is 20 % worse at 1 for 1 of 2 configurations"


def test_noise_alone_is_a_tie_over_the_whole_tried_space():
    axes = (lr_axis(*LRS), int_axis("batch_size", 16, 64, 256), int_axis("capacity", 4, 16, 64))
    rng = np.random.default_rng(5)
    table = config_table(
        axes, lambda point: Outcome(losses=tuple(0.5 * (1 + 0.05 * rng.standard_normal(3))))
    )
    outcome = region_of(axes, table)
    assert outcome.cause is RegionCause.TIE
    assert len(outcome.region.config_ids) == len(table)
    assert outcome.answer.startswith("Every configuration ties within seed noise")
    # No seed noise decides where to start: it is the middle of the space.
    assert [side.centre for side in outcome.region.axes] == [0.1, 64, 16]


def test_noise_is_rarely_taken_for_a_difference():
    axes = (lr_axis(*LRS), int_axis("capacity", 4, 16, 64))
    n_ties = 0
    for repeat in range(60):
        rng = np.random.default_rng(repeat)
        table = config_table(
            axes,
            lambda point, rng=rng: Outcome(losses=tuple(1 + 0.1 * rng.standard_normal(2))),
        )
        n_ties += region_of(axes, table).cause is RegionCause.TIE
    assert n_ties >= 54


def test_a_tie_among_those_that_train_does_not_claim_the_others():
    axes = (lr_axis(*LRS),)
    rng = np.random.default_rng(1)

    def outcome_of(point):
        noisy = tuple(0.5 + 0.05 * rng.standard_normal(3))
        return DIVERGED if point["lr"] == 10.0 else Outcome(losses=noisy)

    outcome = region_of(axes, config_table(axes, outcome_of))
    assert outcome.cause is RegionCause.TIE
    assert outcome.region.axes[0].high == 1.0
    assert "All configurations that train tie" in outcome.answer


def test_seed_noise_widens_the_region():
    axes = (lr_axis(0.01, 0.1, 1.0, 10.0, 100.0, 1000.0),)

    def table(spread):
        losses = {0.01: 0.5, 0.1: 0.5, 1.0: 0.5, 10.0: 0.56, 100.0: 3.0, 1000.0: 4.0}
        return config_table(
            axes, lambda p: Outcome(losses=(losses[p["lr"]] - spread, losses[p["lr"]] + spread))
        )

    assert region_of(axes, table(0.001)).region.axes[0].high == 1.0
    assert region_of(axes, table(0.05)).region.axes[0].high == 10.0


def test_one_seed_says_that_seed_noise_is_unknown_and_uses_the_floor():
    axes = (lr_axis(*LRS),)
    losses = dict(zip(LRS, (0.9, 0.5, 0.52, 0.54, 0.9), strict=True))
    outcome = region_of(axes, config_table(axes, lambda p: Outcome(losses=(losses[p["lr"]],))))
    assert not outcome.is_noise_known
    assert outcome.region.axes[0].values == (0.01, 0.1)  # 0.54 is 8 % above 0.5
    assert any("seed noise is unknown" in reason for reason in outcome.region.reasons)


def test_all_diverging_asks_for_lower_learning_rates():
    axes = (lr_axis(*LRS),)
    outcome = region_of(axes, config_table(axes, lambda point: DIVERGED))
    assert (outcome.region, outcome.cause) == (None, RegionCause.ALL_DIVERGING)
    assert "Widen lr downwards, below 1e-3" in outcome.answer


def test_nothing_learned_asks_for_higher_learning_rates_or_a_bug():
    axes = (lr_axis(*LRS),)
    table = config_table(axes, lambda p: Outcome(losses=(2.3, 2.3), verdict="not_learning"))
    outcome = region_of(axes, table)
    assert (outcome.region, outcome.cause) == (None, RegionCause.ALL_NOT_LEARNING)
    assert "Widen lr upwards, above 10, or look for an error" in outcome.answer


def test_too_low_and_too_high_with_nothing_between_says_both():
    axes = (lr_axis(0.001, 10.0),)
    table = config_table(
        axes,
        lambda p: DIVERGED if p["lr"] > 1 else Outcome(losses=(2.3,), verdict="not_learning"),
    )
    outcome = region_of(axes, table)
    assert outcome.cause is RegionCause.NOTHING_TRAINS
    assert "1 of 2 configurations diverge and 1 of 2 configurations do not learn" in outcome.answer


def test_no_value_anywhere_is_said_and_not_guessed():
    axes = (lr_axis(*LRS),)
    outcome = region_of(axes, config_table(axes, lambda p: Outcome(losses=(math.nan, math.nan))))
    assert (outcome.region, outcome.cause) == (None, RegionCause.NO_VALUES)
    assert "no configuration has a finite validation loss" in outcome.answer


@pytest.mark.parametrize("known", [DIVERGED, Outcome(losses=(2.3,), verdict="not_learning")])
def test_configurations_without_values_may_train_whatever_the_others_do(known):
    nothing = Outcome(losses=(math.nan, math.nan))
    axes = (lr_axis(*LRS),)
    outcome = region_of(axes, config_table(axes, lambda p: known if p["lr"] == 10 else nothing))
    assert outcome.cause is RegionCause.NO_VALUES
    assert outcome.answer.startswith(
        "No region can be given: no configuration that may train has a finite validation loss in "
        "every seed; 1 of 5 configurations d"
    )


def test_nothing_trained_to_its_end_is_said():
    axes = (lr_axis(*LRS),)
    failed = region_of(axes, config_table(axes, lambda p: Outcome(n_failed=2)))
    pending = region_of(axes, config_table(axes, lambda p: Outcome()))
    assert failed.cause is pending.cause is RegionCause.NOTHING_JUDGED
    assert "no training came to an end" in failed.answer
    assert "nothing was trained" in pending.answer


def test_a_single_configuration_is_not_called_a_region_of_anything():
    axes = (lr_axis(0.1), int_axis("capacity", 64))
    outcome = region_of(axes, config_table(axes, lambda p: Outcome(losses=(0.5, 0.51))))
    assert outcome.cause is RegionCause.SINGLE
    assert outcome.answer.startswith("Only one configuration was tried, and it trains")
    assert outcome.region.config_ids == (f"{0:016x}",)


def test_without_axes_the_best_run_is_named():
    table = config_rows([{}, {}], lambda p: Outcome(losses=(0.5,)))
    table.loc[1, ["best_monitor", "worst_monitor"]] = 0.25
    outcome = region_of((), table)
    assert (outcome.region, outcome.cause) == (None, RegionCause.NO_AXES)
    assert f"The best run is {1:016x}, with a validation loss of 0.25" in outcome.answer


def test_an_axis_without_a_column_is_left_out():
    axes = (lr_axis(0.1, 1.0), int_axis("capacity", 8, 64))
    table = config_table(axes, lambda p: Outcome(losses=(0.5, 0.5))).drop(columns="capacity")
    assert [side.name for side in region_of(axes, table).region.axes] == ["lr"]


def test_untried_configurations_neither_block_nor_belong():
    axes = (lr_axis(*LRS),)
    table = config_table(
        axes, lambda p: Outcome() if p["lr"] == 0.1 else Outcome(losses=(0.5, 0.5))
    )
    region = region_of(axes, table).region
    assert len(region.config_ids) == 4
    assert (region.axes[0].low, region.axes[0].high) == (0.001, 10.0)


def test_categories_that_train_as_well_are_inside_and_others_not():
    axes = (
        lr_axis(0.1, 1.0),
        Axis(
            name="act", values=("relu", "sigmoid", "gelu"), scale=Scale.CATEGORICAL,
            is_structural=True,
        ),
    )  # fmt: skip
    losses = {"relu": 0.5, "sigmoid": 0.9, "gelu": 0.51}
    table = config_table(axes, lambda p: Outcome(losses=(losses[p["act"]], losses[p["act"]])))
    side = region_of(axes, table).region.axes[1]
    assert (side.low, side.high, side.values) == (None, None, ("relu", "gelu"))
    assert side.high_reason == "is 80 % worse at sigmoid"


def test_a_metric_is_better_when_higher_unless_told_otherwise():
    axes = (lr_axis(0.1, 1.0),)
    table = config_table(axes, lambda p: Outcome(losses=(p["lr"], p["lr"])))
    best_if_max = region_of(axes, table, "val_metric", "max").region
    best_if_min = region_of(axes, table, "val_metric", "min").region
    assert best_if_max.axes[0].values == (1.0,)
    assert best_if_min.axes[0].values == (0.1,)


def test_losses_below_zero_have_a_region_too():
    axes = (lr_axis(*LRS),)
    losses = dict(zip(LRS, (-1.0, -3.0, -3.01, -2.99, -1.0), strict=True))
    table = config_table(axes, lambda p: Outcome(losses=(losses[p["lr"]], losses[p["lr"]])))
    assert region_of(axes, table).region.axes[0].values == (0.01, 0.1, 1.0)


def test_scattered_configurations_give_a_box_below_the_edge():
    rng = np.random.default_rng(0)
    points = [
        {"lr": float(10 ** rng.uniform(-4, 1)), "width": float(rng.uniform(1, 100))}
        for _ in range(150)
    ]
    axes = (
        lr_axis(*sorted(p["lr"] for p in points)),
        Axis(name="width", values=tuple(sorted(p["width"] for p in points)), scale=Scale.LINEAR,
             is_structural=True),
    )  # fmt: skip
    table = config_rows(points, bowl(0.05, edge=1.0, flat=1.0))
    region = region_of(axes, table).region
    lr = region.axes[0]
    assert 0.004 < lr.low < 0.01
    assert 0.3 < lr.high < 0.6
    assert lr.low_reason.startswith(("underfits", "is "))
    assert len(region.config_ids) > 40


STATUS = st.sampled_from(["good", "worse", "diverging", "not_learning", "failed", "untried"])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), shape=st.tuples(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3)))
def test_the_box_holds_only_what_is_acceptable_and_its_own_centre(data, shape):
    axes = (
        lr_axis(*np.logspace(-3, 1, shape[0]).tolist()),
        int_axis("batch_size", *(2 ** (4 + i) for i in range(shape[1]))),
        int_axis("capacity", *(4**i for i in range(shape[2]))),
    )
    n_points = int(np.prod(shape))
    drawn = data.draw(st.lists(STATUS, min_size=n_points, max_size=n_points))
    statuses = iter(drawn)
    outcomes = {
        "good": Outcome(losses=(0.5, 0.501)),
        "worse": Outcome(losses=(0.9, 0.901), verdict="underfit"),
        "diverging": DIVERGED,
        "not_learning": Outcome(losses=(2.3, 2.3), verdict="not_learning"),
        "failed": Outcome(n_failed=2),
        "untried": Outcome(),
    }
    table = config_table(axes, lambda point: outcomes[next(statuses)])
    outcome = region_of(axes, table)
    if "good" not in drawn:
        assert outcome.region is None or "worse" in drawn
        return
    held = {drawn[int(config_id, 16)] for config_id in outcome.region.config_ids}
    assert held == {"good"}
    assert outcome.region.centre_config_id in outcome.region.config_ids
    # No tried configuration between the corners was left out.
    within = np.ones(n_points, dtype=bool)
    for side in outcome.region.axes:
        within &= table[side.name].between(side.low, side.high).to_numpy()
    between = set(table.loc[within & (np.array(drawn) != "untried"), "config_id"])
    assert between == set(outcome.region.config_ids)


@settings(max_examples=60, deadline=None)
@given(
    n_points=st.integers(1, 40),
    n_axes=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    share=st.floats(0.1, 1.0),
)
def test_a_box_among_scattered_points_holds_no_bad_one(n_points, n_axes, seed, share):
    rng = np.random.default_rng(seed)
    coords, is_good = rng.random((n_points, n_axes)), rng.random(n_points) < share
    is_good[0] = True
    box = largest_box(coords, is_good, 0)
    contained = inside(coords, box)
    assert contained[0]
    assert is_good[contained].all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.booleans(), min_size=20, max_size=20), st.integers(0, 19))
def test_on_a_grid_no_larger_box_exists(flags, start):
    is_good = np.array(flags)
    is_good[start] = True
    coords = np.array([(i / 4, j / 3) for i in range(5) for j in range(4)])
    found = int(inside(coords, largest_box(coords, is_good, start)).sum())
    largest = 0
    for first in coords:
        for last in coords:
            contained = inside(coords, (first, last))
            if contained[start] and is_good[contained].all():
                largest = max(largest, int(contained.sum()))
    assert found == largest


def test_a_grid_of_two_thousand_configurations_is_quick():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in (20, 10, 10))), axis=-1)
    coords = grid.reshape(-1, 3)
    is_good = (coords[:, 0] < 0.6) & (coords[:, 1] > 0.3)
    box = largest_box(coords, is_good, int(rng.choice(np.flatnonzero(is_good))))
    assert int(inside(coords, box).sum()) == int(is_good.sum())


def test_a_wide_region_beside_the_winner_is_preferred_to_a_narrow_one_around_it():
    axes = (lr_axis(0.001, 0.01, 0.1, 1.0, 10.0),)
    losses = {0.001: 0.51, 0.01: 0.51, 0.1: 0.51, 1.0: None, 10.0: 0.5}

    def outcome(point):
        loss = losses[point["lr"]]
        return DIVERGED if loss is None else Outcome(losses=(loss, loss + 0.001))

    region = region_of(axes, config_table(axes, outcome)).region
    assert region.axes[0].values == (0.001, 0.01, 0.1)

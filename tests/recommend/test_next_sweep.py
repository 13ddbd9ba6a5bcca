from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.plotting._text import distinct_labels
from sweepdiag.recommend import Budget, next_sweep, recommend_region
from sweepdiag.recommend._words import value_text
from sweepdiag.recommend._zoom import AxisPlan, thinner
from sweepdiag.records import Axis, Scale, StopEpoch, SweepFacts
from sweepdiag.wording import format_value
from tests.recommend.tables import Outcome, config_table, int_axis, lr_axis

LRS = (0.001, 0.01, 0.1, 1.0, 10.0)
DIVERGED = Outcome(losses=(9.0, 9.0), verdict="diverging")
STUCK = Outcome(losses=(2.3, 2.3), verdict="not_learning")
GOOD = Outcome(losses=(0.5, 0.501))
WORSE = Outcome(losses=(0.9, 0.901), verdict="underfit")


def following(axes, outcome_of, *, epochs=30, n_seeds=2, n_train=1200, **others):
    table = config_table(axes, outcome_of)
    outcome = recommend_region(
        axes=axes, configurations=table, monitor="val_loss", metric_mode=None
    )
    return next_sweep(
        axes=axes,
        outcome=outcome,
        configurations=table,
        stop=others.pop("stop", None),
        facts=SweepFacts(workload="w", n_train=n_train),
        epochs=epochs,
        n_seeds=n_seeds,
        **others,
    )


def by_lr(**outcomes):
    return lambda point: outcomes.get(f"at_{point['lr']:g}".replace(".", "_"), WORSE)


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        ((32, 64), [16, 32]),
        ((32, 64, 96), [16, 23, 32, 45]),
        ((100, 200, 300), [50, 71, 100, 141]),
    ],
)
def test_counts_are_widened_by_the_ratio_of_neighbours_however_close_they_lie(tried, expected):
    axis = Axis(name="batch_size", values=tried, scale=Scale.LINEAR, is_structural=True)
    result = following((axis,), lambda p: GOOD if p["batch_size"] == tried[0] else WORSE)
    assert result.parameters["batch_size"] == {"values": expected}


def test_a_learning_rate_zooms_to_the_region_and_half_a_step_beyond():
    result = following((lr_axis(*LRS),), by_lr(at_0_1=GOOD, at_1=DIVERGED, at_10=DIVERGED))
    assert result.parameters["lr"] == {
        "min": 0.0316,
        "max": 0.316,
        "distribution": "log_uniform_values",
        "n": 5,
    }
    assert result.settings == {}
    assert result.reasons == (
        "Learning rate zooms to 0.0316\N{EN DASH}0.316, the region and half a step beyond.",
    )


def test_an_axis_is_widened_where_its_best_value_is_the_last_one_tried():
    result = following((lr_axis(*LRS),), by_lr(at_10=GOOD))
    assert result.parameters["lr"]["min"] == 3.16
    assert result.parameters["lr"]["max"] == 100.0  # a decade up at most, and two steps down
    down = following((lr_axis(*LRS),), by_lr(at_0_001=GOOD))
    assert (down.parameters["lr"]["min"], down.parameters["lr"]["max"]) == (1e-5, 3.16e-3)
    assert "the best value is the highest tried (10)" in result.reasons[0]


def test_whole_learning_rates_are_no_counts():
    result = following((lr_axis(1.0, 10.0, 100.0),), by_lr(at_1=GOOD))
    assert result.parameters["lr"]["min"] == 0.01


def test_the_stability_edge_is_no_reason_to_widen():
    result = following((lr_axis(*LRS),), by_lr(at_1=GOOD, at_10=DIVERGED))
    assert result.parameters["lr"]["max"] == 3.16
    assert not any("widened" in reason for reason in result.reasons)


def test_a_batch_stays_within_the_training_set():
    axes = (int_axis("batch_size", 16, 64, 256),)
    result = following(axes, lambda p: GOOD if p["batch_size"] == 256 else WORSE, n_train=600)
    assert result.parameters["batch_size"] == {"values": [128, 256, 512]}


def test_a_batch_as_large_as_the_training_set_cannot_grow():
    axes = (int_axis("batch_size", 16, 64, 256),)
    result = following(axes, lambda p: GOOD if p["batch_size"] == 256 else WORSE, n_train=256)
    assert result.parameters["batch_size"] == {"values": [128, 256]}


def test_a_batch_does_not_shrink_below_one():
    axes = (int_axis("batch_size", 1, 4, 16),)
    result = following(axes, lambda p: GOOD if p["batch_size"] == 1 else WORSE)
    assert result.parameters["batch_size"] == {"values": [1, 2]}


def test_an_axis_that_makes_no_difference_is_not_widened():
    axes = (lr_axis(*LRS), int_axis("batch_size", 16, 64, 256))
    result = following(axes, by_lr(at_0_1=GOOD))
    assert result.parameters["batch_size"] == {"values": [16, 64, 256]}


def test_a_single_value_stays_except_for_the_learning_rate():
    axes = (Axis(name="lr", values=(0.01,), scale=Scale.LINEAR, is_structural=False),
            int_axis("capacity", 64))  # fmt: skip
    result = following(axes, lambda p: GOOD)
    assert result.parameters["capacity"] == {"value": 64}
    lr = result.parameters["lr"]
    assert (lr["min"], lr["max"], lr["distribution"]) == (0.0001, 1.0, "log_uniform_values")


@pytest.mark.parametrize("outcome", [GOOD, DIVERGED])
def test_a_sweep_of_drawn_points_stays_one(outcome):
    axes = (lr_axis(*np.geomspace(0.001, 1.0, 30)),)
    result = following(axes, lambda p: outcome, n_configurations=30)
    assert "n" not in result.parameters["lr"]
    assert "n_configurations" not in result.settings
    many = (lr_axis(*np.geomspace(0.001, 1.0, 300)),)
    one_seed = Outcome(losses=outcome.losses[:1], verdict=outcome.verdict)
    result = following(many, lambda p: one_seed, n_seeds=1, n_configurations=300)
    n_seeds = result.settings.get("seeds", 1)
    assert result.settings.get("n_configurations", 300) * n_seeds <= 600
    assert ("n_configurations" in result.settings) is (outcome is GOOD)


def test_momentum_stays_below_one():
    axes = (
        Axis(name="momentum", values=(0.0, 0.5, 0.9), scale=Scale.LINEAR, is_structural=False),
    )
    result = following(axes, lambda p: GOOD if p["momentum"] == 0.9 else WORSE)
    # Steps are ratios of 1 - m: 0.5, 0.1 and on to 0.02.
    assert result.parameters["momentum"] == {"values": [0.776, 0.9, 0.955, 0.98]}
    result = following(axes, lambda p: GOOD if p["momentum"] == 0.0 else WORSE)
    assert result.parameters["momentum"] == {"values": [0.0, 0.293]}


def decay_axis(*values):
    return Axis(name="weight_decay", values=values, scale=Scale.LINEAR, is_structural=False)


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ({0.01}, [3.16e-3, 0.01, 0.0316]),
        ({0.001}, [3.16e-4, 0.001, 3.16e-3]),  # 0 is worse, so look in between as well
        ({0.0}, [0.0, 3.16e-4]),
        ({0.0, 0.001}, [0.0, 3.16e-4, 0.001, 3.16e-3]),
        ({0.1}, [0.0316, 0.1, 0.316, 0.99]),
    ],
)
def test_a_weight_decay_list_goes_on_by_ratios_and_keeps_its_best_values(best, expected):
    axes = (decay_axis(0.0, 0.001, 0.01, 0.1),)
    result = following(axes, lambda p: GOOD if p["weight_decay"] in best else WORSE)
    assert result.parameters["weight_decay"] == {"values": expected}


def test_a_weight_decay_is_widened_by_a_decade_at_most():
    axes = (decay_axis(0.0, 0.01, 1.0),)
    result = following(axes, lambda p: GOOD if p["weight_decay"] == 1.0 else WORSE)
    assert result.parameters["weight_decay"] == {"values": [0.1, 1.0, 3.16, 10.0]}


def test_a_dropout_list_with_zero_stays_linear():
    axis = Axis(name="dropout", values=(0.0, 0.2, 0.4, 0.6), scale=Scale.LINEAR,
                is_structural=True)  # fmt: skip
    result = following((axis,), lambda p: GOOD if p["dropout"] == 0.2 else WORSE)
    assert result.parameters["dropout"] == {"values": [0.1, 0.2, 0.3]}


def test_drawn_weight_decays_stay_a_range():
    axes = (decay_axis(0.001, 0.004, 0.02, 0.1),)
    axes = (dataclasses.replace(axes[0], scale=Scale.LOG),)
    result = following(
        axes, lambda p: GOOD if p["weight_decay"] == 0.02 else WORSE, n_configurations=4
    )
    assert result.parameters["weight_decay"]["distribution"] == "log_uniform_values"


@pytest.mark.parametrize("n_configurations", [16, None])  # None: another program's random search
def test_drawn_points_zoom_by_the_distance_between_points_not_on_one_axis(n_configurations):
    # 16 points on two axes lie a quarter of the span apart; on one axis values are closer.
    rates = np.geomspace(1e-4, 1.0, 16).tolist()
    dropouts = (0.05 + np.arange(16) * 5 % 16 / 20).tolist()
    points = dict(zip(rates, dropouts, strict=True))
    axes = (
        lr_axis(*rates),
        Axis(name="dropout", values=tuple(sorted(dropouts)), scale=Scale.LOG,
             is_structural=True),
    )  # fmt: skip
    table = config_table(axes, lambda p: GOOD if p["lr"] == rates[8] else WORSE)
    table = table[[points[lr] == d for lr, d in zip(table["lr"], table["dropout"], strict=True)]]
    outcome = recommend_region(
        axes=axes, configurations=table, monitor="val_loss", metric_mode=None
    )
    result = next_sweep(
        axes=axes, outcome=outcome, configurations=table, stop=None,
        facts=SweepFacts(workload="w", n_train=1200), epochs=30, n_seeds=2,
        n_configurations=n_configurations,
    )  # fmt: skip
    lr, dropout = result.parameters["lr"], result.parameters["dropout"]
    assert math.log10(lr["max"] / lr["min"]) == pytest.approx(4.0 / 4, abs=0.01)
    assert dropout["max"] - dropout["min"] == pytest.approx(0.75 / 4, abs=0.01)
    assert dropout["distribution"] == "uniform"
    assert ("n" in lr) is (n_configurations is None)


def test_an_axis_of_0_and_1_is_a_switch():
    axis = int_axis("unfreeze", 0, 1)
    result = following((axis,), lambda p: GOOD if p["unfreeze"] == 1 else WORSE)
    assert result.parameters["unfreeze"] == {"value": 1}
    assert not any("widened" in reason for reason in result.reasons)


def test_categories_keep_those_that_train():
    axes = (Axis(name="act", values=("relu", "tanh", "gelu"), scale=Scale.CATEGORICAL,
                 is_structural=True),)  # fmt: skip
    result = following(axes, lambda p: WORSE if p["act"] == "tanh" else GOOD)
    assert result.parameters["act"] == {"values": ["relu", "gelu"]}
    assert result.reasons == ("Act tanh is left out: it trains worse.",)


def test_categories_that_are_as_good_elsewhere_are_kept():
    act = Axis(name="act", values=("relu", "tanh", "gelu", "elu"), scale=Scale.CATEGORICAL,
               is_structural=True)  # fmt: skip
    good = {("relu", 0.01), ("relu", 0.1), ("tanh", 1.0)}
    result = following(
        (act, lr_axis(*LRS)), lambda p: GOOD if (p["act"], p["lr"]) in good else WORSE
    )
    assert result.parameters["act"] == {"values": ["relu", "tanh"]}
    assert result.reasons[0] == "Act elu and gelu are left out: they train worse."


def test_a_tie_keeps_the_space_and_asks_for_seeds():
    rng = np.random.default_rng(0)
    result = following(
        (lr_axis(*LRS), int_axis("capacity", 4, 16)),
        lambda p: Outcome(losses=tuple(1 + 0.1 * rng.standard_normal(3))),
        n_seeds=3,
    )
    assert (result.parameters["lr"]["min"], result.parameters["lr"]["max"]) == (0.001, 10.0)
    assert result.parameters["capacity"] == {"values": [4, 16]}
    assert result.settings == {"seeds": 6}
    assert result.reasons[0] == "Learning rate keeps 1e-3\N{EN DASH}10."
    assert "tie within seed noise" in result.reasons[-1]


def test_one_seed_asks_for_more():
    result = following((lr_axis(*LRS),), lambda p: Outcome(losses=(0.5,)), n_seeds=1)
    assert result.settings == {"seeds": 3}


def stop_at_the_end(config_id="region", *, is_improving):
    return StopEpoch(
        config_id=config_id, epoch=30.0, budget_epochs=30.0, saved_fraction=0.0, regret=0.0,
        reason="in whatever words", is_improving=is_improving,
    )  # fmt: skip


def test_a_start_that_still_improves_asks_for_more_epochs():
    stop = stop_at_the_end(is_improving=True)
    result = following((lr_axis(*LRS),), by_lr(at_0_1=GOOD), stop=stop)
    assert result.settings == {"epochs": 60}
    text = "More epochs: the configuration to start at still improves at epoch 30."
    assert result.reasons[-1] == text


def test_a_region_that_still_improves_says_how_much_of_it_does():
    outcomes = by_lr(at_0_1=GOOD, at_0_01=GOOD)
    ids = config_table((lr_axis(*LRS),), outcomes)["config_id"]
    stops = [stop_at_the_end(config_id, is_improving=True) for config_id in ids]
    result = following(
        (lr_axis(*LRS),), outcomes, stop=stop_at_the_end(is_improving=True), stops=stops
    )
    assert result.settings == {"epochs": 60}
    assert "2 of the region's 2 configurations still improve at epoch 30" in result.reasons[-1]


def test_late_best_epochs_and_tags_ask_for_nothing_if_the_start_has_settled():
    late = Outcome(losses=(0.5, 0.501), best_epoch=28.0, tags=("still_improving",))
    stop = stop_at_the_end(is_improving=False)
    assert following((lr_axis(*LRS),), by_lr(at_0_1=late), stop=stop).settings == {}


@pytest.mark.parametrize("outcome", [GOOD, DIVERGED])
def test_what_a_finding_says_about_the_epochs_holds(outcome):
    late = dataclasses.replace(outcome, best_epoch=28.0, tags=("still_improving",))
    table = by_lr(at_0_1=late) if outcome is GOOD else lambda p: late
    short = Budget(epochs=8, title="The budget is far too long")
    result = following((lr_axis(*LRS),), table, budget=short)
    assert result.settings == {"epochs": 8}
    assert "Fewer epochs: the budget is far too long." in result.reasons


def test_if_all_diverge_the_learning_rate_goes_down():
    result = following((lr_axis(*LRS), int_axis("capacity", 4, 16)), lambda p: DIVERGED)
    lr = result.parameters["lr"]
    assert lr["max"] < 0.001
    assert lr["min"] == pytest.approx(lr["max"] / 1000)
    assert result.parameters["capacity"] == {"values": [4, 16]}
    assert "widened downwards" in result.reasons[0]


def test_if_nothing_learns_the_learning_rate_goes_up():
    result = following((lr_axis(1e-6, 1e-5),), lambda p: STUCK)
    assert result.parameters["lr"]["min"] > 1e-5
    assert "widened upwards" in result.reasons[0]


def test_if_nothing_learns_at_huge_rates_it_is_not_the_rate():
    result = following((lr_axis(1.0, 100.0),), lambda p: STUCK)
    assert result.parameters["lr"] == {"values": [1.0, 100.0]}
    assert "look for an error" in result.reasons[0]


def test_between_too_low_and_too_high_the_gap_is_searched():
    result = following((lr_axis(*LRS),), lambda p: STUCK if p["lr"] < 0.5 else DIVERGED)
    lr = result.parameters["lr"]
    assert (lr["min"], lr["max"]) == (0.1, 1.0)


def test_without_axes_there_is_no_next_sweep():
    assert following((), lambda p: GOOD) == ({}, {}, ())


def test_nothing_trained_repeats_the_same_sweep():
    result = following((lr_axis(*LRS),), lambda p: Outcome(n_failed=2))
    assert result.parameters["lr"] == {"values": list(LRS)}


def test_a_sampled_learning_rate_stays_a_range():
    lrs = tuple(float(x) for x in np.logspace(-4, 1, 64))
    result = following((lr_axis(*lrs),), lambda p: GOOD if 0.01 < p["lr"] < 0.1 else DIVERGED)
    lr = result.parameters["lr"]
    assert lr["min"] < 0.012
    assert lr["max"] > 0.08
    assert lr["n"] == 8


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    batch_sizes=st.sets(st.integers(1, 2000), min_size=1, max_size=5),
    capacities=st.sets(st.integers(1, 5000), min_size=1, max_size=4),
    n_lrs=st.integers(1, 4),
    n_train=st.integers(2000, 4000),
)
def test_the_next_sweep_is_always_legal(data, batch_sizes, capacities, n_lrs, n_train):
    axes = (
        lr_axis(*np.logspace(-3, 1, n_lrs).tolist()),
        int_axis("batch_size", *sorted(batch_sizes)),
        int_axis("capacity", *sorted(capacities)),
    )
    chosen = st.sampled_from([GOOD, GOOD, WORSE, DIVERGED, STUCK, Outcome(n_failed=2), Outcome()])
    n_points = math.prod(len(axis.values) for axis in axes)
    outcomes = data.draw(st.lists(chosen, min_size=n_points, max_size=n_points))
    drawn = iter(outcomes)
    result = following(axes, lambda point: next(drawn), n_train=n_train)
    repeated = iter(outcomes)
    assert result == following(axes, lambda point: next(repeated), n_train=n_train)
    assert set(result.parameters) == {"lr", "batch_size", "capacity"}
    for name, most in (("batch_size", n_train), ("capacity", math.inf)):
        block = result.parameters[name]
        values = block["values"] if "values" in block else [block["value"]]
        assert all(type(value) is int and 1 <= value <= most for value in values)
        assert values == sorted(set(values))
    lr = result.parameters["lr"]
    if "min" in lr:
        assert 0 < lr["min"] < lr["max"]
        assert lr["n"] >= 2
    assert all(reason.endswith(".") for reason in result.reasons)


def test_a_grid_grows_to_twice_the_trials_at_most():
    axes = (
        lr_axis(*(10.0**k for k in range(-4, 4))),
        int_axis("batch_size", 16, 64, 256),
        int_axis("capacity", 4, 16, 64),
        int_axis("depth", 1, 4, 16),
    )
    wanted = {"lr": 0.1, "batch_size": 256, "capacity": 64, "depth": 16}
    result = following(axes, lambda point: GOOD if point == wanted else WORSE, n_train=100_000)
    sizes = {
        name: block.get("n") or len(block["values"]) for name, block in result.parameters.items()
    }
    assert sizes == {"lr": 6, "batch_size": 4, "capacity": 4, "depth": 4}
    assert result.reasons[-1] == "The grid is thinned from 1024 trials to 768."
    # The best so far is tried again, so that it can be confirmed.
    lists = {name: block["values"] for name, block in result.parameters.items() if name != "lr"}
    assert all(wanted[name] in values for name, values in lists.items())


def test_a_long_list_is_thinned_around_its_best_value():
    axis = int_axis("capacity", *range(10, 22))
    best = Outcome(losses=(0.49, 0.491))
    result = following((axis,), lambda point: best if point["capacity"] == 11 else GOOD)
    values = result.parameters["capacity"]["values"]
    assert 11 in values
    assert len(values) < 12


def test_only_what_is_not_best_can_be_spared():
    plan = AxisPlan(block={"values": [0.0, 0.15, 0.3, 0.6]}, reasons=(), best=(0.15,))
    shorter = thinner(plan)
    assert shorter is not None
    assert shorter.block == {"values": [0.0, 0.15, 0.6]}
    assert thinner(shorter) is None
    assert thinner(AxisPlan(block=plan.block, reasons=(), best=(0.15, 0.3))) is None


@pytest.mark.parametrize("value", [0.00316, 0.316, 7.36e28, 100000, 1048576, "adam"])
def test_values_read_alike_in_sentences_and_in_figures(value):
    assert value_text(value) == format_value(value)
    assert value_text(value) == distinct_labels((value,), digits=3)[0]

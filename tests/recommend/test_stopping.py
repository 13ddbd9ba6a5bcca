from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.recommend import recommend_region, region_stop, stop_epochs
from sweepdiag.records import Region
from sweepdiag.testing.simulated import simulate_sweep
from tests.recommend.tables import configuration_table, verdict_table

EPOCHS = np.arange(31.0)


def tables(curves_of: dict[str, list[np.ndarray]], *, state: str = "finished"):
    """Return curves, trials and configurations for given curves per configuration and seed."""
    import pandas as pd

    curves, trials = [], []
    for config_id, seeds in curves_of.items():
        for seed, losses in enumerate(seeds):
            trial_id = f"{config_id}-{seed}"
            trials.append({"trial_id": trial_id, "config_id": config_id, "state": state})
            curves.append(
                pd.DataFrame(
                    {
                        "trial_id": trial_id,
                        "epoch": np.arange(len(losses), dtype=float),
                        "val_loss": losses,
                        "val_metric": -np.asarray(losses),
                        "train_loss": 1.0,
                    }
                )
            )
    return {
        "curves": pd.concat(curves, ignore_index=True),
        "trials": pd.DataFrame(trials),
        "configurations": pd.DataFrame({"config_id": list(curves_of)}),
    }


def stop_of(*seeds, monitor="val_loss", metric_mode=None, metric=None):
    losses = [np.asarray(seed, dtype=float) for seed in seeds]
    (stop,) = stop_epochs(
        **tables({"c": losses}), monitor=monitor, metric_mode=metric_mode, metric=metric
    )
    return stop


def u_shape(turn: float, *, rise: float = 0.02) -> np.ndarray:
    return 0.5 + np.where(turn > EPOCHS, 0.1, rise) * np.abs(EPOCHS - turn)


def test_a_u_shape_stops_where_it_turns_and_says_what_the_rest_costs():
    stop = stop_of(u_shape(12.0))
    assert stop.epoch == 12.0
    assert stop.budget_epochs == 30.0
    assert stop.saved_fraction == pytest.approx(0.6)
    assert stop.regret == 0.0
    assert "validation loss turns at epoch 12 and is" in stop.reason
    assert "% higher at epoch 30" in stop.reason


def test_steps_are_written_in_full():
    sweep = tables({"c": [u_shape(12.0)]})
    sweep["curves"]["epoch"] *= 123457
    (stop,) = stop_epochs(**sweep, monitor="val_loss", metric_mode=None)
    assert "validation loss turns at epoch 1,481,484 and is" in stop.reason
    assert stop.reason.endswith("at epoch 3,703,710")


def test_a_curve_that_still_falls_has_no_reason_to_stop():
    stop = stop_of(2.3 - 0.05 * EPOCHS)
    assert (stop.epoch, stop.saved_fraction, stop.regret) == (30.0, 0.0, 0.0)
    assert stop.reason == "still improving at epoch 30: no reason to stop earlier"


@pytest.mark.parametrize("seed", range(8))
def test_a_flat_curve_does_not_improve_by_its_noise(seed):
    rng = np.random.default_rng(seed)
    stop = stop_of((0.5 + 1.8 * np.exp(-EPOCHS / 4)) * (1 + 0.04 * rng.standard_normal(31)))
    assert not stop.is_improving


def test_a_rise_at_the_end_is_no_improvement():
    # Best at epoch 5 and above it ever since, also in the mean of neighbours.
    rises = np.array([2.3, 0.6, 0.3, 0.2, 0.12, 0.103, 0.125, 0.11, 0.124])
    falls_back = np.concatenate([np.geomspace(2.3, 0.1, 21), np.linspace(0.9, 0.4, 10)])
    assert not stop_of(rises).is_improving
    stop = stop_of(falls_back)
    assert not stop.is_improving
    assert stop.epoch == 20.0


def test_a_metric_that_still_rises_has_no_reason_to_stop():
    sweep = tables({"c": [1.0 - 0.9 * np.exp(-EPOCHS / 20)]})
    sweep["curves"]["val_metric"] = sweep["curves"]["val_loss"]
    (stop,) = stop_epochs(**sweep, monitor="val_metric", metric_mode="max")
    assert stop.is_improving


def test_a_curve_that_has_flattened_stops_once_nothing_more_comes():
    stop = stop_of(0.5 + 1.8 * np.exp(-EPOCHS))
    assert 4.0 <= stop.epoch <= 8.0
    assert stop.regret < 0.02
    assert "improves by less than" in stop.reason


def test_noise_does_not_postpone_the_stop_to_its_luckiest_evaluation():
    rng = np.random.default_rng(0)
    seeds = [(0.5 + 1.8 * np.exp(-EPOCHS)) * (1 + 0.02 * rng.standard_normal(31)) for _ in "abc"]
    assert stop_of(*seeds).epoch <= 12.0


def test_one_seed_of_three_that_diverges_does_not_decide():
    exploding = np.where(EPOCHS < 3, 2.0, np.nan)
    assert stop_of(u_shape(12.0), u_shape(12.0), exploding).epoch == 12.0


def test_a_diverging_curve_is_best_before_it_explodes():
    stop = stop_of(np.where(EPOCHS < 4, 2.3 - 0.1 * EPOCHS, np.nan))
    assert stop.epoch == 3.0
    assert stop.reason == "validation loss is not finite at epoch 4; it is best near epoch 3"


def test_training_that_only_harms_is_best_before_it_begins():
    stop = stop_of(1.0 + 0.1 * EPOCHS)
    assert (stop.epoch, stop.saved_fraction) == (0.0, 1.0)
    assert stop.reason == "validation loss is never better than at epoch 0"


def test_a_curve_without_a_finite_value_says_nothing():
    stop = stop_of(np.full(31, np.nan))
    assert (stop.epoch, stop.saved_fraction) == (30.0, 0.0)
    assert math.isnan(stop.regret)
    assert "no finite validation loss" in stop.reason


def test_one_evaluation_is_enough_to_answer():
    stop = stop_of([1.0])
    assert (stop.epoch, stop.saved_fraction, stop.regret) == (0.0, 0.0, 0.0)


def test_regret_compares_with_the_best_of_the_whole_curve():
    # The minimum is spread over a long flat valley: stopping early loses next to nothing.
    losses = np.maximum(2.0 - 0.3 * EPOCHS, 0.5) - 0.0001 * EPOCHS
    stop = stop_of(losses)
    until = losses[stop.epoch >= EPOCHS].min()
    assert stop.regret == pytest.approx((until - losses.min()) / losses.min())
    assert 0 < stop.regret < 0.01


def test_seeds_that_ended_early_count_while_they_last():
    stop = stop_of(u_shape(12.0), u_shape(12.0)[:20], u_shape(12.0)[:20])
    # Beyond epoch 19 only one of three seeds is left.
    assert (stop.epoch, stop.budget_epochs) == (12.0, 19.0)


def test_seeds_evaluated_at_different_epochs_are_put_on_one_axis():
    import pandas as pd

    given_tables = tables({"c": [u_shape(12.0)]})
    sparse = given_tables["curves"].iloc[::2].assign(trial_id="c-1")
    given_tables["curves"] = pd.concat([given_tables["curves"], sparse], ignore_index=True)
    given_tables["trials"] = pd.DataFrame(
        {"trial_id": ["c-0", "c-1"], "config_id": "c", "state": "finished"}
    )
    (stop,) = stop_epochs(**given_tables, monitor="val_loss", metric_mode=None)
    assert stop.epoch == 12.0


def test_a_metric_that_should_be_high_stops_at_its_peak():
    stop = stop_of(u_shape(12.0), monitor="val_metric", metric_mode="max", metric="val_acc")
    assert stop.epoch == 12.0
    assert "val_acc turns at epoch 12 and is 0.3" in stop.reason
    assert stop.reason.endswith("worse at epoch 30")


def test_adding_a_constant_to_a_loss_without_a_floor_changes_little():
    assert stop_of(u_shape(12.0) + 1000.0).epoch == 12.0
    assert stop_of(u_shape(12.0) - 1000.0).epoch == 12.0


def test_failed_trials_have_no_stop():
    stops = stop_epochs(
        **tables({"c": [u_shape(12.0)]}, state="failed"), monitor="val_loss", metric_mode=None
    )
    assert stops == ()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.floats(-10, 10) | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=30
        ),
        min_size=1,
        max_size=3,
    )
)
def test_the_stop_is_within_the_budget_and_costs_nothing_negative(seeds):
    stop = stop_of(*seeds)
    assert 0.0 <= stop.epoch <= stop.budget_epochs
    assert 0.0 <= stop.saved_fraction <= 1.0
    assert math.isnan(stop.regret) or stop.regret >= 0.0


def region_and_stop(**options):
    sweep = simulate_sweep(**options)
    table = configuration_table(sweep, verdict_table(sweep))
    region = recommend_region(
        axes=sweep.plan.axes, configurations=table, monitor="val_loss", metric_mode=None
    ).region
    given_tables = {"curves": sweep.curves, "trials": sweep.trials, "configurations": table}
    stops = stop_epochs(**given_tables, monitor="val_loss", metric_mode=None)
    stop = region_stop(region=region, stops=stops)
    return region, stops, stop


def test_the_region_stops_when_its_centre_does():
    region, stops, stop = region_and_stop()
    (centre,) = [s for s in stops if s.config_id == region.centre_config_id]
    assert stop.config_id == "region"
    assert (stop.epoch, stop.regret) == (centre.epoch, centre.regret)
    assert stop.reason.startswith(centre.reason)
    assert stop.epoch < 12.0
    assert stop.regret <= 0.03


def region_around(centre: str, *others: str) -> Region:
    return Region(axes=(), config_ids=(centre, *others), centre_config_id=centre, reasons=())


def test_a_slow_member_does_not_postpone_the_stop_of_the_region():
    given_tables = tables({"turns": [u_shape(12.0)], "slow": [2.3 - 0.05 * EPOCHS]})
    stops = stop_epochs(**given_tables, monitor="val_loss", metric_mode=None)
    stop = region_stop(region=region_around("turns", "slow"), stops=stops)
    assert (stop.epoch, stop.regret) == (12.0, 0.0)
    assert stop.reason.endswith("12\N{EN DASH}30 across the region; keep the best checkpoint")
    assert not stop.is_improving
    slow = region_stop(region=region_around("slow", "turns"), stops=stops)
    assert slow.epoch == 30.0
    assert slow.is_improving


def test_a_stop_that_would_cost_too_much_is_postponed_and_says_so():
    # A flat, noisy course whose best value comes late: the smoothed curve is at its minimum early.
    losses = np.full(31, 1.0)
    losses[:3] = (3.0, 2.0, 1.5)
    losses[4::2], losses[5::2] = 1.1, 0.99
    losses[20] = 0.9
    stop = stop_of(losses)
    assert stop.epoch == 20.0
    assert stop.regret <= 0.03
    assert "would cost 10 %, at epoch 20 at most 3 %" in stop.reason


def test_the_last_epoch_may_be_best_without_any_improvement():
    losses = np.full(31, 1.0)
    losses[:3] = (3.0, 2.0, 1.5)
    losses[4::2], losses[5::2] = 1.1, 0.99
    losses[30] = 0.9
    stop = stop_of(losses)
    assert stop.epoch == 30.0
    assert not stop.is_improving
    assert "more than 3 % at any other epoch before 30" in stop.reason


def test_every_judged_configuration_gets_a_stop():
    _, stops, _ = region_and_stop()
    assert len(stops) == 54
    assert len({stop.config_id for stop in stops}) == 54


def test_a_region_that_still_improves_has_no_reason_to_stop():
    _, _, stop = region_and_stop(lrs=(1e-4, 1e-3), batch_sizes=(16,))
    assert stop.epoch == 30.0
    assert "no reason to stop earlier" in stop.reason


def test_without_a_region_there_is_no_stop_for_it():
    assert region_stop(region=None, stops=()) is None
    assert region_stop(region=region_around("c"), stops=()) is None

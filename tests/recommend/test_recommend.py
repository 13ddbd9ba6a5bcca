from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import sweepdiag.recommend
from sweepdiag.recommend import Cause, recommend, recommend_region
from sweepdiag.records import SweepFacts, plain
from sweepdiag.testing.simulated import simulate_sweep
from tests.recommend.tables import (
    Outcome,
    config_table,
    configuration_table,
    lr_axis,
    recommend_for,
    verdict_table,
)


def test_the_answer_says_where_to_train_where_to_start_and_when_to_stop():
    answer = recommend_for(simulate_sweep()).answer
    assert answer == (
        "Train with learning rate 0.1, batch size 16\N{EN DASH}256, capacity 64 "
        "(start at batch size 64); stop at epoch 4 and keep the best checkpoint. "
        "As good outside this box: learning rate 1, batch size 256, capacity 64."
    )


def test_everything_that_belongs_to_a_recommendation_is_there():
    result = recommend_for(simulate_sweep())
    assert result.region is not None
    assert len(result.stop_epochs) == 54
    assert result.region_stop.epoch <= 30.0
    assert set(result.next_parameters) == {"lr", "batch_size", "capacity"}
    assert max(result.next_parameters["capacity"]["values"]) > 64
    assert plain(result)["region"]["centre_config_id"] == result.region.centre_config_id


def test_the_same_tables_give_the_same_recommendation():
    assert recommend_for(simulate_sweep()) == recommend_for(simulate_sweep())


def test_a_metric_as_monitor_finds_the_same_place():
    by_metric = recommend_for(simulate_sweep(), monitor="val_metric")
    by_loss = recommend_for(simulate_sweep())
    assert by_metric.region.config_ids == by_loss.region.config_ids


def test_one_seed_is_told_apart_from_certainty():
    result = recommend_for(simulate_sweep(n_seeds=1), n_seeds=1)
    assert result.answer.endswith("With one seed each, luck may have had a part in this.")
    assert result.next_settings["seeds"] == 3


def test_validation_that_never_beats_a_constant_prediction_is_no_region():
    sweep = simulate_sweep()
    hopeless = dataclasses.replace(sweep.facts, baseline_val_loss=0.01)
    result = recommend_for(sweep, facts=hopeless)
    assert (result.region, result.region_stop) == (None, None)
    assert result.answer.startswith(
        "Training loss falls, but validation never beats a constant prediction: check labels and"
    )
    assert "check labels and the split before another sweep" in result.next_reasons[0]


def test_nothing_trains_is_an_answer():
    result = recommend_for(simulate_sweep(lrs=(30.0, 100.0)))
    assert result.answer == (
        "Nothing here trains: every configuration diverges. Widen lr downwards, below 30."
    )
    assert (result.region, result.region_stop) == (None, None)
    assert result.next_parameters["lr"]["max"] < 30.0


CAUSE = Cause(code="SD303", title="Inputs off scale", action="Scale the inputs.")


def test_a_cause_that_no_settings_mend_is_the_answer_and_keeps_the_axes():
    lrs = (30.0, 100.0)
    result = recommend_for(simulate_sweep(lrs=lrs), cause=CAUSE)
    assert result.answer == "Nothing here trains: inputs off scale (SD303). Scale the inputs."
    assert result.next_parameters["lr"] == {"values": list(lrs)}
    text = "The axes stay as they are: run them again once SD303 is mended."
    assert result.next_reasons[0] == text


def test_a_cause_is_named_where_only_training_learns():
    sweep = simulate_sweep()
    hopeless = dataclasses.replace(sweep.facts, baseline_val_loss=0.01)
    result = recommend_for(sweep, facts=hopeless, cause=CAUSE)
    assert result.answer == (
        "Training loss falls, but validation never beats a constant prediction: inputs off scale "
        "(SD303). Scale the inputs."
    )


def test_a_region_is_the_answer_whatever_else_was_found():
    sweep = simulate_sweep()
    assert recommend_for(sweep, cause=CAUSE) == recommend_for(sweep)


def test_an_error_comes_before_a_region_and_keeps_the_sweep():
    sweep = simulate_sweep()
    error = Cause(code="SD903", title="The loss is broken", action="", is_error=True)
    usual, result = recommend_for(sweep), recommend_for(sweep, cause=error)
    start = "First mend SD903: the loss is broken. As things are: train with "
    assert result.answer == start + usual.answer.removeprefix("Train with ")
    assert (result.region, result.next_settings) == (usual.region, {})
    assert {name: block["values"] for name, block in result.next_parameters.items()} == {
        axis.name: list(axis.values) for axis in sweep.plan.axes
    }


def test_a_region_that_still_improves_is_trained_to_the_end():
    result = recommend_for(simulate_sweep(lrs=(1e-4, 1e-3), batch_sizes=(16,)))
    assert "train for all 30 epochs or longer" in result.answer
    assert result.next_settings["epochs"] == 60


def test_one_epoch_is_not_all_epochs_and_none_is_no_training():
    usual = recommend_for(simulate_sweep(lrs=(1e-4, 1e-3), batch_sizes=(16,)))
    one = dataclasses.replace(usual.region_stop, epoch=1.0, budget_epochs=1.0)
    axes, table = (lr_axis(0.01, 0.1),), config_table((lr_axis(0.01, 0.1),), lambda p: Outcome())
    outcome = recommend_region(
        axes=axes, configurations=table, monitor="val_loss", metric_mode=None
    )
    assert "; train for 1 epoch" in sweepdiag.recommend._answer(outcome, one, None)
    none = dataclasses.replace(one, epoch=0.0)  # a pretrained model
    answer = sweepdiag.recommend._answer(outcome, none, None)
    assert "where the model starts it is as good" in answer
    assert "stop at epoch 0" not in answer


def test_a_single_trial_is_answered():
    sweep = simulate_sweep(lrs=(0.01,), batch_sizes=(16,), capacities=(64,), n_seeds=1)
    result = recommend_for(sweep, n_seeds=1)
    assert result.answer.startswith("Only one configuration was tried, and it trains")
    assert len(result.stop_epochs) == 1


def test_runs_without_axes_get_stop_epochs_and_no_region():
    sweep = simulate_sweep(lrs=(0.01, 0.1), batch_sizes=(16,), n_seeds=1)
    axes = ["lr", "batch_size", "capacity"]
    verdicts = verdict_table(sweep)
    result = recommend(
        axes=(),
        facts=SweepFacts(workload="theirs"),
        trials=sweep.trials.drop(columns=axes),
        curves=sweep.curves,
        verdicts=verdicts.drop(columns=axes),
        configurations=configuration_table(sweep, verdicts).drop(columns=axes),
        monitor="val_loss",
        metric_mode=None,
        epochs=30,
        n_seeds=1,
    )
    assert result.region is None
    assert result.answer.startswith("No axes are known")
    assert len(result.stop_epochs) == 6
    assert result.next_parameters == {}


def test_a_sweep_without_a_single_judged_trial_is_answered():
    sweep = simulate_sweep(lrs=(0.01,), batch_sizes=(16,), n_seeds=1)
    verdicts = verdict_table(sweep)
    table = configuration_table(sweep, verdicts).assign(n_judged=0, n_failed=1, verdict=None)
    result = recommend(
        axes=sweep.plan.axes,
        facts=sweep.facts,
        trials=sweep.trials.assign(state="failed"),
        curves=sweep.curves.iloc[:0],
        verdicts=verdicts.iloc[:0],
        configurations=table,
        monitor="val_loss",
        metric_mode=None,
        epochs=30,
        n_seeds=1,
    )
    assert result.answer == "No region can be given: no training came to an end."
    assert result.stop_epochs == ()


@pytest.mark.parametrize("name", sweepdiag.recommend.__all__)
def test_every_public_name_exists(name):
    assert hasattr(sweepdiag.recommend, name)


def test_importing_loads_no_heavy_library():
    code = (
        "import sys, sweepdiag.recommend;"
        "print([m for m in ('pandas', 'optuna', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

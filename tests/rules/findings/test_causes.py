"""Checks that name one cause each, on small tables that a person can read."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from sweepdiag.records import DataFacts, Finding, FindingState, Severity, SweepFacts
from sweepdiag.rules import SweepView, check_sweep
from tests.rules.tables import axis, curves_table, view_of

FINDING, TIP = FindingState.FINDING, FindingState.TIP
PASSED, NOT_APPLICABLE = FindingState.PASSED, FindingState.NOT_APPLICABLE

FACTS = SweepFacts(
    workload="test",
    task="classification",
    loss="cross_entropy",
    metric="accuracy",
    metric_mode="max",
    n_train=1000,
    n_validation=400,
    baseline_train_loss=2.3,
    baseline_val_loss=2.3,
    baseline_metric=0.1,
    loss_floor=0.0,
)
CLEAN = DataFacts(
    n_classes=10,
    largest_class=0.1,
    input_size=1.0,
    feature_spread=1.5,
    copied_share=0.0,
    repeated_share=0.0,
    validation_shift=0.0,
    validation_spread=1.0,
    neighbour_accuracy=0.95,
    neighbour_val_accuracy=0.95,
    validation_neighbour_accuracy=0.93,
    label_noise=0.01,
    agreement=1.0,
)


def run(code: str, view: SweepView) -> Finding:
    return next(finding for finding in check_sweep(view) if finding.code == code)


def with_facts(
    view: SweepView,
    facts: SweepFacts | None = FACTS,
    data: DataFacts | None = CLEAN,
    **data_facts: Any,
) -> SweepView:
    if data is not None:
        data = dataclasses.replace(data, **data_facts)
    facts = None if facts is None else dataclasses.replace(facts, data=data)
    return dataclasses.replace(view, facts=facts, metric_mode="max")


def healthy(n: int = 4, **columns: Any) -> SweepView:
    row = {"best_val_loss": 0.5, "best_train_loss": 0.4, "best_val_metric": 0.9}
    return view_of([row | columns for _ in range(n)])


def with_curves(
    view: SweepView,
    train: list[float],
    validation: list[float],
    metrics: list[float] | None = None,
    **columns: list[float],
) -> SweepView:
    """Give every trial of a view the same curve."""
    ids = list(view.trials["trial_id"])
    curves = curves_table(
        dict.fromkeys(ids, (train, validation)),
        None if metrics is None else dict.fromkeys(ids, metrics),
    )
    for name, values in columns.items():
        curves[name] = values * len(ids)
    return dataclasses.replace(view, curves=curves)


@pytest.mark.parametrize(
    "code",
    ["SD304", "SD305", "SD306", "SD307", "SD308", "SD309", "SD302", "SD303"],
)
def test_clean_data_and_healthy_curves_pass(code: str) -> None:
    assert run(code, with_facts(healthy())).state is PASSED


@pytest.mark.parametrize("code", ["SD304", "SD305", "SD306", "SD309", "SD203", "SD303"])
def test_what_is_not_known_is_not_checked(code: str) -> None:
    finding = run(code, with_facts(healthy(), facts=None))
    assert finding.state is NOT_APPLICABLE
    assert finding.evidence


# SD103


BATCHES = axis("batch_size", 2, 64)
RATES = axis("lr", 0.01, 0.1, 1.0)


def by_batch(small: list[str], large: list[str], small_loss: float) -> SweepView:
    rows = [
        {"lr": float(lr), "batch_size": batch, "verdict": verdict, "best_val_loss": loss}
        for batch, verdicts, loss in ((2, small, small_loss), (64, large, 0.5))
        for lr, verdict in zip(RATES.values, verdicts, strict=True)
    ]
    return view_of(rows, RATES, BATCHES)


def test_a_batch_that_fails_where_a_larger_one_trains_is_too_small() -> None:
    view = by_batch(["healthy", "diverging", "diverging"], ["healthy"] * 3, 1.0)
    finding = run("SD103", view)
    assert finding.state is FINDING
    assert finding.numbers["too_small"] == [2.0]
    assert "100 % at batch 2" in finding.evidence


def test_a_batch_with_one_good_rate_is_not_too_small() -> None:
    view = by_batch(["healthy", "diverging", "diverging"], ["healthy"] * 3, 0.5)
    assert run("SD103", view).state is PASSED


def test_rates_that_fail_with_every_batch_are_no_fault_of_the_batch() -> None:
    view = by_batch(["diverging"] * 3, ["healthy", "diverging", "diverging"], 1.0)
    assert run("SD103", view).state is NOT_APPLICABLE


# SD203


def test_units_that_are_dead_from_the_start_are_an_error() -> None:
    view = with_curves(healthy(), [2.3] * 5, [2.3] * 5, dead_fraction=[0.95] * 5)
    finding = run("SD203", view)
    assert (finding.state, finding.severity) == (FINDING, Severity.ERROR)
    assert "95 %" in finding.evidence


def test_units_that_die_are_a_tip_and_few_dead_ones_pass() -> None:
    view = with_curves(healthy(), [2.3] * 5, [2.3] * 5, dead_fraction=[0.1, 0.2, 0.4, 0.6, 0.7])
    assert run("SD203", view).state is TIP
    view = with_curves(healthy(), [2.3] * 5, [2.3] * 5, dead_fraction=[0.1] * 5)
    assert run("SD203", view).state is PASSED


def test_constant_predictions_everywhere_are_inferred_where_data_tell_the_classes() -> None:
    idle = healthy(verdict="not_learning", best_train_loss=2.3, best_val_loss=2.3)
    assert run("SD203", with_facts(idle)).state is FINDING
    assert run("SD203", with_facts(idle, neighbour_accuracy=0.12)).state is NOT_APPLICABLE
    assert run("SD203", with_facts(healthy())).state is NOT_APPLICABLE


# SD302 and SD303, by the samples


def test_validation_labels_that_neighbours_know_better_are_easier() -> None:
    view = with_facts(healthy(), neighbour_accuracy=0.6, neighbour_val_accuracy=0.85)
    finding = run("SD302", view)
    assert finding.state is FINDING
    assert "85 %" in finding.evidence
    tiny = dataclasses.replace(FACTS, n_validation=10)
    view = with_facts(healthy(), tiny, neighbour_accuracy=0.6, neighbour_val_accuracy=0.85)
    assert run("SD302", view).state is PASSED


def test_validation_below_training_before_anything_is_memorised_is_easier() -> None:
    train = [2.0, 1.5, 1.0, 0.5, 0.01]
    view = with_facts(with_curves(healthy(), train, [2.0, 1.2, 0.6, 0.5, 0.5]))
    assert run("SD302", view).state is FINDING
    view = with_facts(with_curves(healthy(), train, [2.0, 1.5, 1.0, 0.7, 0.6]))
    assert run("SD302", view).state is PASSED


def test_augmentation_of_training_alone_makes_validation_easier_and_explains_nothing() -> None:
    train = [2.3, 2.0, 1.5, 1.2, 1.1]
    view = with_curves(healthy(tags=["validation_easier"]), train, [2.0, 1.5, 1.0, 0.7, 0.6])
    assert run("SD302", with_facts(view, only_train_is_random=False)).state is FINDING
    view = with_facts(view, only_train_is_random=True, neighbour_val_accuracy=0.99)
    finding = run("SD302", view)
    assert finding.state is TIP
    assert finding.action.startswith("Augmentation of the training samples alone explains this")
    assert run("SD302", with_facts(healthy(), only_train_is_random=True)).state is PASSED


def test_large_inputs_are_a_finding_unless_the_first_loss_is_in_order() -> None:
    custom = dataclasses.replace(FACTS, loss="own", baseline_train_loss=None)
    assert run("SD303", with_facts(healthy(), custom, input_size=100.0)).state is FINDING
    assert run("SD303", with_facts(healthy(), custom)).state is PASSED
    view = with_curves(healthy(), [2.3, 1.0], [2.3, 1.0])
    assert run("SD303", with_facts(view, input_size=100.0)).state is TIP
    assert run("SD303", with_facts(view, feature_spread=100.0)).state is TIP


def test_validation_inputs_that_vary_less_are_easier_if_neighbours_know_them() -> None:
    assert run("SD302", with_facts(healthy(), validation_spread=0.5)).state is FINDING
    wrong = {"validation_spread": 0.5, "neighbour_val_accuracy": 0.5}
    assert run("SD302", with_facts(healthy(), **wrong)).state is PASSED


# SD304


def test_labels_that_neighbours_contradict_everywhere_alike_are_noise() -> None:
    noisy = {"label_noise": 0.2, "neighbour_accuracy": 0.78, "neighbour_val_accuracy": 0.78}
    finding = run("SD304", with_facts(healthy(best_val_metric=0.78), **noisy))
    assert finding.state is FINDING
    assert "20 %" in finding.title


def test_overlapping_classes_are_no_noise() -> None:
    overlap = {"label_noise": 0.12, "neighbour_accuracy": 0.6}
    assert run("SD304", with_facts(healthy(), **overlap)).state is PASSED
    confused = overlap | {"noise_spread": 3.0, "sure_agreement": 0.8}
    assert run("SD304", with_facts(healthy(), **confused)).state is PASSED
    everywhere = {"label_noise": 0.6, "neighbour_accuracy": 0.35, "sure_agreement": 0.4}
    assert run("SD304", with_facts(healthy(best_val_metric=0.4), **everywhere)).state is PASSED


def test_labels_that_are_wrong_at_random_are_noise_although_classes_overlap() -> None:
    both = {"label_noise": 0.2, "neighbour_accuracy": 0.6, "noise_spread": 1.0}
    both |= {"sure_agreement": 0.7}
    assert run("SD304", with_facts(healthy(best_val_metric=0.65), **both)).state is FINDING
    unsure = both | {"sure_agreement": 0.6}
    assert run("SD304", with_facts(healthy(best_val_metric=0.65), **unsure)).state is PASSED


def test_networks_that_know_the_labels_refute_noise_unless_only_training_has_it() -> None:
    noisy = {"label_noise": 0.2, "neighbour_accuracy": 0.78, "neighbour_val_accuracy": 0.78}
    view = healthy(best_val_metric=0.97)
    assert run("SD304", with_facts(view, **noisy)).state is PASSED
    clean_validation = noisy | {"neighbour_val_accuracy": 0.95}
    assert run("SD304", with_facts(view, **clean_validation)).state is FINDING


def test_shuffled_labels_are_more_than_noise() -> None:
    shuffled = {"label_noise": 0.9, "neighbour_accuracy": 0.1}
    assert run("SD304", with_facts(healthy(best_val_metric=0.1), **shuffled)).state is PASSED


# SD305


def test_training_that_never_carries_over_has_unrelated_labels() -> None:
    view = healthy(best_train_loss=0.2, best_val_loss=2.29, best_val_metric=0.11)
    finding = run("SD305", with_facts(view, data=None))
    assert (finding.state, finding.severity) == (FINDING, Severity.ERROR)
    assert run("SD305", with_facts(view)).state is PASSED, "neighbours tell the labels"


def test_neighbours_at_chance_say_that_labels_are_unrelated() -> None:
    view = healthy(best_train_loss=2.25, best_val_loss=2.25, best_val_metric=0.11)
    chance = {"neighbour_accuracy": 0.1, "validation_neighbour_accuracy": 0.1}
    assert run("SD305", with_facts(view, **chance)).state is FINDING
    learned = healthy(best_train_loss=0.1, best_val_loss=0.3)
    assert run("SD305", with_facts(learned, **chance)).state is PASSED


def test_validation_labels_in_order_are_said_so() -> None:
    view = healthy(best_train_loss=0.1, best_val_loss=1.9)
    finding = run("SD305", with_facts(view, neighbour_accuracy=0.1))
    assert finding.state is FINDING
    assert "its labels are in order" in finding.evidence


def test_imbalanced_classes_cannot_tell_labels_from_chance() -> None:
    view = healthy(best_train_loss=0.2, best_val_loss=2.29)
    assert run("SD305", with_facts(view, largest_class=0.9)).state is NOT_APPLICABLE


def test_a_constant_that_does_better_on_narrower_targets_proves_nothing_of_labels() -> None:
    view = healthy(best_val_loss=0.35, best_train_loss=0.3)
    facts = dataclasses.replace(FACTS, task="regression", loss="mse", baseline_train_loss=1.2)
    alike = dataclasses.replace(facts, baseline_val_loss=0.35, baseline_train_loss=0.36)
    assert run("SD305", with_facts(view, alike, data=None)).state is FINDING
    narrower = dataclasses.replace(facts, baseline_val_loss=0.35)
    finding = run("SD305", with_facts(view, narrower, data=None))
    assert finding.state is TIP
    assert finding.evidence.endswith("a constant prediction has 0.35 there and 1.2 in training")
    few = dataclasses.replace(narrower, n_validation=12)
    assert run("SD305", with_facts(view, few, data=None)).state is FINDING


# SD306


def test_few_samples_learned_by_heart_are_a_finding_and_without_a_gap_a_tip() -> None:
    few = dataclasses.replace(FACTS, n_train=50)
    by_heart = healthy(best_train_loss=0.01)
    assert run("SD306", with_facts(by_heart, few)).state is FINDING
    assert run("SD306", with_facts(healthy(), few)).state is TIP
    no_worse = run("SD306", with_facts(healthy(best_train_loss=0.6), few))
    assert no_worse.action.startswith("Validation is no worse than training: more data")
    assert run("SD306", with_facts(by_heart)).state is PASSED
    many_classes = dataclasses.replace(FACTS, n_train=500)
    assert run("SD306", with_facts(by_heart, many_classes, n_classes=100)).state is FINDING


# SD307


def test_shifted_inputs_are_a_finding() -> None:
    finding = run("SD307", with_facts(healthy(), validation_shift=0.8))
    assert finding.state is FINDING
    assert "0.8 deviations" in finding.evidence


def test_a_shift_by_augmentation_of_training_alone_is_a_tip_unless_validation_is_worse() -> None:
    train = [2.0, 1.5, 1.0, 0.5, 0.01]
    facts = {"validation_shift": 0.8, "only_train_is_random": True}
    better = with_curves(healthy(), train, [1.9, 1.2, 0.8, 0.6, 0.5])
    tip = run("SD307", with_facts(better, **facts))
    assert tip.state is TIP
    assert tip.title.endswith("as augmentation makes them")
    worse = with_curves(healthy(), train, [2.5, 2.2, 1.9, 1.8, 1.8])
    assert run("SD307", with_facts(worse, **facts)).state is FINDING


def test_an_early_gap_is_a_tip_where_the_samples_were_not_seen() -> None:
    train = [2.0, 1.5, 1.0, 0.5, 0.01]
    view = with_curves(healthy(), train, [2.5, 2.2, 1.9, 1.8, 1.8])
    assert run("SD307", with_facts(view, data=None)).state is TIP
    view = with_curves(healthy(), train, [2.0, 1.5, 1.1, 0.8, 0.8])
    assert run("SD307", with_facts(view, data=None)).state is PASSED


# SD308


def test_copies_are_a_finding_and_an_error_where_they_are_many() -> None:
    assert run("SD308", with_facts(healthy(), copied_share=0.1)).severity is Severity.WARNING
    assert run("SD308", with_facts(healthy(), copied_share=0.9)).severity is Severity.ERROR


def test_inputs_that_repeat_themselves_are_no_copies() -> None:
    view = with_facts(healthy(), copied_share=0.3, repeated_share=0.3)
    assert run("SD308", view).state is PASSED


def test_validation_that_follows_what_was_memorised_is_a_tip_without_the_samples() -> None:
    close = healthy(best_train_loss=0.01, best_val_loss=0.0105)
    assert run("SD308", with_facts(close, data=None)).state is TIP
    behind = healthy(best_train_loss=0.01, best_val_loss=0.5)
    assert run("SD308", with_facts(behind, data=None)).state is PASSED
    assert run("SD308", with_facts(healthy(), data=None)).state is NOT_APPLICABLE


# SD309


def test_no_better_than_the_most_frequent_class_is_a_finding() -> None:
    facts = dataclasses.replace(FACTS, baseline_metric=0.95)
    useless = healthy(best_val_metric=0.952)
    assert run("SD309", with_facts(useless, facts, largest_class=0.95)).state is FINDING
    assert run("SD309", with_facts(useless, facts, data=None)).state is FINDING
    useful = healthy(best_val_metric=0.99)
    assert run("SD309", with_facts(useful, facts, largest_class=0.95)).state is TIP


# SD903


OWN_LOSS = dataclasses.replace(
    FACTS, loss="own", baseline_train_loss=None, baseline_val_loss=None, baseline_metric=None
)


def test_a_loss_that_falls_while_predictions_stay_at_chance_is_broken() -> None:
    view = with_curves(healthy(), [-2.3, -20, -1e6], [-2.3, -20, -1e6], [0.12, 0.08, 0.02])
    finding = run("SD903", with_facts(view, OWN_LOSS))
    assert (finding.state, finding.severity) == (FINDING, Severity.ERROR)
    better = with_curves(healthy(), [2.3, 1.0, 0.1], [2.3, 1.0, 0.2], [0.12, 0.6, 0.9])
    assert run("SD903", with_facts(better, OWN_LOSS)).state is PASSED


def test_a_lucky_evaluation_is_no_gain_of_the_metric() -> None:
    # Logits where log-probabilities belong: the loss falls for ever, accuracy wanders.
    falls, wanders = [-0.04, -15, -4e3, -1e6, -3e8, -9e10], [0.10, 0.19, 0.11, 0.09, 0.13, 0.08]
    view = with_curves(healthy(), falls, falls, wanders)
    finding = run("SD903", with_facts(view, OWN_LOSS))
    assert (finding.state, finding.severity) == (FINDING, Severity.ERROR)
    assert "log-probabilities" in finding.action


def test_trainings_that_explode_do_not_hide_what_others_learned() -> None:
    view = with_curves(healthy(), [2.3, 1.0, 0.1], [2.3, 1.0, 0.2], [0.12, 0.6, 0.9])
    exploding = view.curves["trial_id"].isin(view.trials["trial_id"].iloc[::2])
    values = {"train_loss": [2.3, 1.7, 90.0], "val_metric": [0.12, 0.1, 0.1]}
    curves = view.curves.copy()
    for name, numbers in values.items():
        curves.loc[exploding, name] = numbers * int(exploding.sum() / 3)
    view = dataclasses.replace(view, curves=curves)
    assert run("SD903", with_facts(view, OWN_LOSS)).state is PASSED


def test_a_loss_that_grows_with_the_batch_is_a_sum() -> None:
    better = with_curves(healthy(), [2.3, 1.0, 0.1], [2.3, 1.0, 0.2], [0.12, 0.6, 0.9])
    finding = run("SD903", with_facts(better, OWN_LOSS, loss_growth=2.0))
    assert finding.state is FINDING
    assert "mean over the batch" in finding.action


def test_losses_that_are_not_finite_say_nothing_of_the_metric() -> None:
    nan = float("nan")
    view = with_curves(healthy(), [2.3, nan, nan], [2.3, nan, nan], [0.12, 0.1, 0.1])
    assert run("SD903", with_facts(view, OWN_LOSS)).state is NOT_APPLICABLE


def test_named_losses_are_known_to_be_right() -> None:
    assert run("SD903", with_facts(healthy())).state is NOT_APPLICABLE


@pytest.mark.parametrize("facts", [None, dataclasses.replace(OWN_LOSS, loss="unknown")])
def test_a_loss_that_is_not_known_is_not_judged(facts: SweepFacts | None) -> None:
    view = with_curves(healthy(), [2.3, 1.0, 0.1], [2.3, 1.0, 0.2], [0.1, 0.1, 0.1])
    finding = run("SD903", with_facts(view, facts))
    assert finding.state is NOT_APPLICABLE
    assert finding.evidence == "the loss is not known"


def test_a_gain_of_an_accuracy_is_a_share_of_what_was_wrong() -> None:
    good = with_curves(healthy(), [0.15, 0.1, 0.02], [0.15, 0.1, 0.04], [0.955, 0.97, 0.99])
    assert run("SD903", with_facts(good, OWN_LOSS)).state is PASSED
    stuck = with_curves(healthy(), [0.15, 0.1, 0.02], [0.15, 0.1, 0.04], [0.955, 0.955, 0.956])
    finding = run("SD903", with_facts(stuck, OWN_LOSS))
    assert finding.numbers["typical_gain"] == pytest.approx(0.001 / 0.045)
    perfect = with_curves(healthy(), [0.15, 0.1, 0.02], [0.15, 0.1, 0.04], [1.0, 1.0, 1.0])
    assert run("SD903", with_facts(perfect, OWN_LOSS)).state is NOT_APPLICABLE


def test_a_metric_of_training_counts_only_where_it_has_numbers() -> None:
    losses = [2.3, 1.0, 0.1]
    for train_metric, state in (([float("nan")] * 3, PASSED), ([0.1, 0.1, 0.1], FINDING)):
        view = with_curves(healthy(), losses, losses, [0.1, 0.6, 0.9], train_metric=train_metric)
        assert run("SD903", with_facts(view, OWN_LOSS)).state is state


# losses without a floor


@pytest.mark.parametrize(("low", "floor"), [(-1.0, 0.0), (0.1, None)])
def test_ratios_of_losses_without_a_floor_say_nothing(low: float, floor: float | None) -> None:
    facts = dataclasses.replace(FACTS, loss="own", loss_floor=floor, n_train=60)
    view = with_curves(
        healthy(best_train_loss=low, best_val_loss=low + 0.1),
        [10.0, 0.05, low, low - 0.1],
        [10.2, 0.25, low + 0.2, low + 0.1],
    )
    assert run("SD307", with_facts(view, facts, data=None)).state is NOT_APPLICABLE
    finding = run("SD306", with_facts(view, facts))
    assert finding.state is NOT_APPLICABLE
    assert "no floor" in finding.evidence
    many = dataclasses.replace(facts, n_train=5000)
    assert run("SD306", with_facts(view, many)).evidence == "5000 training samples of 10 classes"


def test_ratios_are_of_what_lies_above_the_floor() -> None:
    facts = dataclasses.replace(FACTS, loss="own", loss_floor=-10.0)
    losses = [[2.0, 1.0, 0.5], [2.5, 1.9, 1.8]]
    view = with_curves(healthy(), *([v - 10 for v in part] for part in losses))
    assert run("SD307", with_facts(view, facts, data=None)).numbers["early_gap"] == pytest.approx(
        0.9
    )


# SD304, samples without classes


def test_why_labels_cannot_be_asked_is_told_apart() -> None:
    reasons = {
        run("SD304", with_facts(healthy(), data=data)).evidence
        for data in (
            None,
            DataFacts(input_size=1.0),
            DataFacts(n_classes=2, largest_class=0.5),
        )
    }
    assert len(reasons) == 3
    assert "the samples were not seen, only curves" in reasons
    assert "the samples have no class each" in reasons


# the settings' findings, where they were widened


def test_an_axis_that_lies_too_high_is_a_finding() -> None:
    rows = [
        {"lr": 0.01, "verdict": "underfit", "best_val_loss": 1.0},
        {"lr": 0.1, "verdict": "diverging", "best_val_loss": np.nan},
        {"lr": 1.0, "verdict": "diverging", "best_val_loss": np.nan},
    ]
    finding = run("SD101", view_of(rows, RATES))
    assert finding.state is FINDING
    assert "67 %" in finding.evidence


def test_the_highest_rate_that_is_best_and_still_improves_is_too_low() -> None:
    rows = [
        {"lr": lr, "verdict": "underfit", "best_val_loss": loss, "tags": ["still_improving"]}
        for lr, loss in zip((0.01, 0.1, 1.0), (2.0, 1.5, 1.0), strict=True)
    ]
    assert run("SD102", view_of(rows, RATES)).state is FINDING
    rows[2]["tags"] = []
    assert run("SD102", view_of(rows, RATES)).title != "The highest learning rate is still too low"


def test_more_capacity_is_no_fault_where_smaller_networks_fit_the_training_set() -> None:
    capacities = axis("capacity", 8, 64)
    rows = [
        {"capacity": 8, "best_val_loss": 1.0, "best_train_loss": 0.8},
        {"capacity": 64, "best_val_loss": 0.5, "best_train_loss": 0.1},
    ]
    assert run("SD201", with_facts(view_of(rows, capacities))).state is FINDING
    rows[0]["best_train_loss"] = 0.05
    rows[1]["best_train_loss"] = 0.01
    finding = run("SD201", with_facts(view_of(rows, capacities)))
    assert finding.state is TIP
    assert "fit the training set" in finding.evidence


def test_a_capacity_at_which_nothing_is_learned_is_too_small() -> None:
    rows = [
        {"capacity": 1, "verdict": "not_learning", "best_val_loss": 2.3, "best_train_loss": 2.3},
        {"capacity": 4, "best_val_loss": 1.5, "best_train_loss": 1.4},
    ]
    finding = run("SD201", with_facts(view_of(rows, axis("capacity", 1, 4))))
    assert finding.state is FINDING
    assert finding.numbers["too_small"] == [1.0]


def test_larger_networks_may_overfit_farther_rather_than_more_often() -> None:
    rows = [
        {"capacity": c, "verdict": "u_shaped", "best_val_loss": 0.5, "last_val_loss": last}
        for c, last in ((8, 0.55), (256, 1.5))
    ]
    finding = run("SD202", view_of(rows, axis("capacity", 8, 256)))
    assert finding.state is FINDING
    assert "200 %" in finding.evidence
    rows[1]["last_val_loss"] = 0.6
    assert run("SD202", view_of(rows, axis("capacity", 8, 256))).state is TIP


def test_only_the_highest_capacity_at_an_end_is_a_tip() -> None:
    capacities = axis("capacity", 8, 16, 64)
    rows = [{"capacity": c, "best_val_loss": loss} for c, loss in ((8, 1.0), (16, 0.8), (64, 0.5))]
    assert run("SD501", view_of(rows, capacities)).state is TIP
    rows = [{"capacity": c, "best_val_loss": loss} for c, loss in ((8, 0.5), (16, 0.8), (64, 1.0))]
    assert run("SD501", view_of(rows, capacities)).state is FINDING


def test_a_budget_is_too_short_where_nothing_has_converged() -> None:
    rows = [
        {"lr": 0.1, "verdict": "underfit", "tags": ["still_improving"], "best_val_loss": 1.5},
        {"lr": 1.0, "verdict": "inconclusive", "best_val_loss": 1.0},
    ]
    finding = run("SD401", view_of(rows, RATES))
    assert finding.state is FINDING
    assert "no configuration has converged" in finding.evidence
    rows[1]["verdict"] = "healthy"
    assert run("SD401", view_of(rows, RATES)).state is PASSED


def test_one_that_is_about_to_overtake_the_best_says_that_the_budget_is_short() -> None:
    view = view_of([{"lr": 0.1, "best_val_loss": 0.45}, {"lr": 1.0, "best_val_loss": 0.4}], RATES)
    falling = [0.45 + 0.1 * (20 - i) for i in range(21)]
    flat = [2.0, *[0.4] * 20]
    curves = curves_table({"c0s0": (falling, falling), "c1s0": (flat, flat)})
    finding = run("SD401", dataclasses.replace(view, curves=curves))
    assert finding.state is FINDING
    assert "overtake" in finding.evidence


def test_a_tiny_validation_set_is_named_even_where_everything_is_right() -> None:
    facts = dataclasses.replace(FACTS, n_validation=30)
    assert run("SD301", with_facts(healthy(best_val_metric=1.0), facts)).state is FINDING
    assert run("SD301", with_facts(healthy(best_val_metric=1.0))).state is PASSED

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepdiag.records import Finding, FindingState, Scale, Severity
from sweepdiag.rules import FINDINGS, SweepView, check_sweep
from sweepdiag.rules.findings.sd301_noisy_validation import _trend
from sweepdiag.testing.simulated import simulate_sweep
from tests.rules.tables import FACTS, axis, judged_view, view_of

LRS = axis("lr", 0.001, 0.01, 0.1, 1.0)
CAPACITIES = axis("capacity", 8, 64, 512)


def run(code: str, view: SweepView) -> Finding:
    return next(finding for finding in check_sweep(view) if finding.code == code)


def by_lr(*verdicts: str, **columns: list[Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, verdict in enumerate(verdicts):
        row = {"lr": float(LRS.values[i]), "verdict": verdict}
        rows.append(row | {name: values[i] for name, values in columns.items()})
    return rows


def by_capacity(*rows: tuple[int, str, float]) -> list[dict[str, Any]]:
    return [{"capacity": c, "verdict": v, "best_val_loss": loss} for c, v, loss in rows]


# every check


def test_every_code_is_unique_and_has_its_page() -> None:
    codes = [check.code for check in FINDINGS]
    assert codes == sorted(set(codes))
    for check in FINDINGS:
        page = type(check).__doc__ or ""
        for part in ("checks:", "matters:", "needs:", "detected:", "false alarms:", "to do:"):
            assert part in page, (check.code, part)


def test_the_costs_of_a_configuration_are_those_of_its_judged_trials() -> None:
    view = judged_view(simulate_sweep(lrs=(1e-3, 1e-2), batch_sizes=(16, 64), epochs=5))
    shuffled = view.curves.sample(frac=1, random_state=0).sort_values("epoch", kind="stable")
    judged = view.verdicts.drop(index=[3])
    for monitor, sign in (("val_loss", 1), ("val_metric", -1)):
        view = dataclasses.replace(view, curves=shuffled, verdicts=judged, monitor=monitor)
        for config_id in view.configurations["config_id"]:
            trials = view.trials[view.trials["config_id"] == config_id]["trial_id"]
            expected = [
                view.curves[view.curves["trial_id"] == trial_id]
                for trial_id in view.curves["trial_id"].unique()
                if trial_id in set(trials) & set(judged["trial_id"])
            ]
            found = view.monitored_costs(config_id)
            assert len(found) == len(expected)
            for (epochs, costs), curve in zip(found, expected, strict=True):
                np.testing.assert_array_equal(epochs, curve["epoch"])
                np.testing.assert_array_equal(costs, sign * curve[monitor])
    assert view.monitored_costs("no such configuration") == []


def test_no_check_fails_on_an_empty_sweep() -> None:
    view = view_of([{"verdict": None, "n_judged": 0, "best_val_loss": np.nan}])
    empty = dataclasses.replace(
        view,
        axes=(),
        trials=view.trials.iloc[:0],
        curves=view.curves.iloc[:0],
        verdicts=view.verdicts.iloc[:0],
        configurations=view.configurations.iloc[:0],
        facts=None,
    )
    for one in (view, empty):
        findings = check_sweep(one)
        assert [finding.code for finding in findings] == [check.code for check in FINDINGS]
        states = {f.state for f in findings if f.code != "SD902"}
        assert states == {FindingState.NOT_APPLICABLE}
        assert all(f.evidence for f in findings)


def test_no_check_fails_without_axes() -> None:
    states = {f.code: f.state for f in check_sweep(view_of([{}, {}]))}
    needing_axes = ("SD101", "SD102", "SD201", "SD202", "SD501")
    assert {states[code] for code in needing_axes} == {FindingState.NOT_APPLICABLE}


def test_a_categorical_axis_is_no_learning_rate() -> None:
    rows = [{"lr": "low"}, {"lr": "high"}]
    words = dataclasses.replace(axis("lr"), values=("low", "high"), scale=Scale.CATEGORICAL)
    assert run("SD101", view_of(rows, words)).state is FindingState.NOT_APPLICABLE


def test_checks_can_be_ignored_by_code_or_name() -> None:
    view = view_of([{}, {}])
    codes = [f.code for f in check_sweep(view, ignore=["SD901", "trials-failed"])]
    assert "SD901" not in codes
    assert "SD902" not in codes


def test_a_judged_sweep_gives_every_finding() -> None:
    findings = {f.code: f for f in check_sweep(judged_view(simulate_sweep()))}
    assert findings["SD101"].state is FindingState.TIP
    assert findings["SD101"].numbers["slope"] == pytest.approx(0.83, abs=0.02)
    assert findings["SD102"].numbers["too_low"] == [1e-4, 1e-3]
    assert findings["SD201"].state is FindingState.FINDING
    assert findings["SD202"].state is FindingState.TIP
    assert findings["SD901"].state is FindingState.PASSED


# SD101


def test_the_edge_is_the_highest_rate_below_the_first_that_diverges() -> None:
    finding = run("SD101", view_of(by_lr("underfit", "healthy", "healthy", "diverging"), LRS))
    assert finding.state is FindingState.TIP
    assert finding.numbers["edges"] == [{"edge": 0.1, "lowest_diverging": 1.0}]


def test_chance_at_a_higher_rate_than_one_that_learns_is_beyond_the_edge() -> None:
    rows = by_lr("not_learning", "healthy", "not_learning", "not_learning")
    edges = run("SD101", view_of(rows, LRS)).numbers["edges"]
    assert edges == [{"edge": 0.01, "lowest_diverging": 0.1}]


def test_a_configuration_with_one_diverging_seed_is_beyond_the_edge() -> None:
    rows = by_lr(
        "underfit", "healthy", "healthy", "healthy", tags=[[], [], ["unstable"], ["unstable"]]
    )
    assert run("SD101", view_of(rows, LRS)).numbers["edges"][0]["edge"] == 0.01


def test_a_tip_does_not_lead_away_from_a_best_rate_on_the_edge() -> None:
    rows = by_lr("healthy", "healthy", "healthy", "not_learning", best_val_loss=[3, 2, 1, 4])
    finding = run("SD101", view_of(rows, LRS))
    assert finding.title == "The highest learning rates do not train"
    assert "just below" in finding.action
    rows[1]["best_val_loss"] = rows[1]["best_monitor"] = 0.5
    assert "factor of two" in run("SD101", view_of(rows, LRS)).action


def test_an_edge_that_was_not_reached_is_said_so() -> None:
    finding = run("SD101", view_of(by_lr("underfit", "healthy", "healthy", "healthy"), LRS))
    assert finding.state is FindingState.PASSED
    assert "was not reached" in finding.evidence


def test_divergence_everywhere_is_an_error() -> None:
    finding = run("SD101", view_of(by_lr(*["diverging"] * 4), LRS))
    assert (finding.state, finding.severity) == (FindingState.FINDING, Severity.ERROR)


@pytest.mark.parametrize("power", [0, 1])
def test_the_slope_of_the_edge_is_measured_in_log_log(power: int) -> None:
    rows = [
        {
            "lr": lr,
            "batch_size": batch,
            "verdict": "diverging" if float(lr) > 0.02 * (batch / 10) ** power else "healthy",
        }
        for lr in LRS.values
        for batch in (10, 100)
    ]
    finding = run("SD101", view_of(rows, LRS, axis("batch_size", 10, 100)))
    assert finding.numbers["slope"] == pytest.approx(power)
    assert ("at every batch" if power == 0 else "at batch 10,") in finding.evidence


def test_edges_are_told_by_the_axes_that_there_are() -> None:
    rows = by_lr(*["healthy"] * 3, "diverging", best_val_loss=[1.0, 0.5, 1.0, 9.0])
    finding = run("SD101", view_of(rows, LRS))
    assert finding.evidence == "highest learning rate that trains with every seed: 0.1"
    assert finding.action == "Stay a factor of two below the edge."
    rows = [
        {**row, "batch_size": 64, "capacity": capacity}
        for capacity, healthy in ((4, 3), (8, 4))
        for row in by_lr(*["healthy"] * healthy, *["diverging"] * (4 - healthy))
    ]
    axes = (LRS, axis("batch_size", 64), axis("capacity", 4, 8))
    finding = run("SD101", view_of(rows, *axes))
    assert finding.title == "The highest learning rates do not train with some settings"
    assert finding.evidence.endswith("every seed: 0.1 at capacity 4, 1 or more at capacity 8")
    assert finding.action == "Stay a factor of two below the edge of the capacity that you train."
    rows = [{**row, "dropout": d, "batch_size": b} for row in rows for d in (0.0, 0.5)
            for b in (16, 64) if (d, b) == (0.0, 16) or row["lr"] < 0.1]  # fmt: skip
    axes = (LRS, axis("batch_size", 16, 64), axis("capacity", 4, 8), axis("dropout", 0.0, 0.5))
    action = run("SD101", view_of(rows, *axes)).action
    assert "the edge of the batch size, capacity and dropout that you train" in action


# SD102


def test_many_rates_are_counted_not_listed() -> None:
    rates = [float(rate) for rate in np.geomspace(1e-4, 0.1, 30)]
    rows = [
        {"lr": rate, "verdict": "not_learning" if i < 20 else "healthy"}
        for i, rate in enumerate(rates)
    ]
    finding = run("SD102", view_of(rows, axis("lr", *rates)))
    assert finding.numbers["too_low"] == rates[:20]
    assert finding.evidence.startswith("at lr 20 rates from 1e-4 to 9.24e-3: 20 conf")


def test_lowest_rates_that_do_not_learn_are_a_tip() -> None:
    rows = by_lr(
        "not_learning",
        "underfit",
        "healthy",
        "healthy",
        tags=[[], ["still_improving"], [], []],
        best_val_loss=[1.0, 0.9, 0.5, 0.5],
    )
    finding = run("SD102", view_of(rows, LRS))
    assert finding.state is FindingState.TIP
    assert finding.numbers["too_low"] == [0.001, 0.01]


def test_rates_that_are_all_too_low_are_a_finding() -> None:
    rows = by_lr("not_learning", "not_learning", "diverging", "diverging")
    assert run("SD102", view_of(rows, LRS)).state is FindingState.FINDING


def test_a_rate_that_reaches_about_the_best_is_not_too_low() -> None:
    rows = by_lr(
        "underfit",
        "healthy",
        "healthy",
        "healthy",
        tags=[["still_improving"], [], [], []],
        best_val_loss=[0.54, 0.5, 0.5, 0.5],
    )
    assert run("SD102", view_of(rows, LRS)).state is FindingState.PASSED


@pytest.mark.parametrize("verdict", ["diverging", "not_learning"])
def test_no_rate_is_too_low_where_nothing_trains(verdict: str) -> None:
    finding = run("SD102", view_of(by_lr(*[verdict] * 4), LRS))
    assert finding.state is FindingState.NOT_APPLICABLE
    assert "no configuration trains" in finding.evidence


def test_classes_are_written_in_words() -> None:
    finding = run("SD102", view_of(by_lr("not_learning", *["healthy"] * 3), LRS))
    assert finding.evidence == "at lr 1e-3: 1 configuration not learning"


def test_plateaus_are_no_sign_of_a_low_rate() -> None:
    rows = by_lr("underfit", "underfit", "healthy", "healthy")
    assert run("SD102", view_of(rows, LRS)).state is FindingState.PASSED


# SD201, SD202


def test_capacities_beaten_in_both_losses_are_too_small() -> None:
    rows = by_capacity((8, "underfit", 0.9), (64, "healthy", 0.5), (512, "healthy", 0.5))
    finding = run("SD201", view_of(rows, CAPACITIES))
    assert finding.state is FindingState.TIP
    assert finding.numbers["too_small"] == [8.0]


def test_a_largest_capacity_that_is_the_best_by_far_asks_for_more() -> None:
    rows = by_capacity((8, "underfit", 0.9), (64, "underfit", 0.5), (512, "healthy", 0.2))
    assert run("SD201", view_of(rows, CAPACITIES)).state is FindingState.FINDING


def test_equal_capacities_pass() -> None:
    rows = by_capacity((8, "healthy", 0.5), (64, "healthy", 0.5), (512, "diverging", 9.0))
    assert run("SD201", view_of(rows, CAPACITIES)).state is FindingState.PASSED


def test_overfitting_that_grows_with_capacity_for_nothing_is_a_finding() -> None:
    rows = by_capacity((8, "healthy", 0.5), (64, "healthy", 0.4), (512, "u_shaped", 0.4))
    finding = run("SD202", view_of(rows, CAPACITIES))
    assert finding.state is FindingState.FINDING
    assert finding.action == "Prefer capacity 64."


def test_overfitting_of_the_best_capacity_is_a_tip() -> None:
    rows = by_capacity((8, "healthy", 0.5), (64, "healthy", 0.4), (512, "overfit", 0.2))
    assert run("SD202", view_of(rows, CAPACITIES)).state is FindingState.TIP


def test_more_overfitting_that_rises_less_far_does_not_grow_with_capacity() -> None:
    rows = by_capacity((8, "healthy", 0.1), (512, "u_shaped", 0.1))
    rows[0]["last_val_loss"], rows[1]["last_val_loss"] = 0.3, 0.2
    assert run("SD202", view_of(rows, CAPACITIES)).state is FindingState.PASSED


def test_overfitting_everywhere_is_not_about_capacity() -> None:
    rows = by_capacity((8, "overfit", 0.5), (64, "overfit", 0.4), (512, "overfit", 0.4))
    finding = run("SD202", view_of(rows, CAPACITIES))
    assert finding.title == "Overfitting at every capacity"


def test_overfitting_is_compared_at_equal_settings() -> None:
    """The small network learns only where the large one does not overfit."""
    rows: list[dict[str, Any]] = [
        {"lr": lr, "capacity": capacity, "best_val_loss": 0.5}
        for lr in LRS.values
        for capacity in (8, 512)
    ]
    for row in rows:
        if row["capacity"] == 512 and row["lr"] >= 0.1:
            row["verdict"] = "overfit"
        if row["capacity"] == 8 and row["lr"] >= 0.1:
            row["verdict"] = "diverging"
    finding = run("SD202", view_of(rows, LRS, axis("capacity", 8, 512)))
    assert finding.state is FindingState.PASSED
    assert "at 2 common settings" in finding.evidence


def test_capacities_without_a_common_setting_are_not_compared() -> None:
    rows: list[dict[str, Any]] = [
        {"lr": 0.001, "capacity": 8},
        {"lr": 1.0, "capacity": 512, "verdict": "overfit"},
    ]
    finding = run("SD202", view_of(rows, LRS, axis("capacity", 8, 512)))
    assert finding.state is FindingState.NOT_APPLICABLE


def test_a_capacity_that_is_better_within_seed_noise_only_is_not_clearly_better() -> None:
    rows = by_capacity((8, "healthy", 0.60), (512, "healthy", 0.5))
    seeds = {"c0": [0.5, 0.7], "c1": [0.42, 0.58]}
    view = view_of(rows, axis("capacity", 8, 512), seed_losses=seeds)
    assert run("SD201", view).state is FindingState.PASSED
    assert run("SD502", view).numbers["n_tied"] == 2
    quiet = {"c0": [0.59, 0.61], "c1": [0.49, 0.51]}
    view = view_of(rows, axis("capacity", 8, 512), seed_losses=quiet)
    assert run("SD201", view).title == "The largest capacity is the best"


def test_capacities_are_compared_in_the_monitored_metric() -> None:
    rows = by_capacity((8, "healthy", 0.6), (512, "healthy", 0.5))
    rows[0]["best_monitor"], rows[1]["best_monitor"] = 0.9, 0.8
    view = dataclasses.replace(
        view_of(rows, axis("capacity", 8, 512)), monitor="val_metric", metric_mode="max"
    )
    assert run("SD201", view).state is FindingState.PASSED


def test_one_wild_configuration_does_not_set_the_noise_between_seeds() -> None:
    rows = [{"best_val_loss": loss} for loss in (0.5, 0.51, 0.52, 0.53)]
    seeds = {f"c{i}": [0.5, 0.51] for i in range(3)} | {"c3": [0.01, 9.0]}
    assert view_of(rows, seed_losses=seeds).seed_deviation() == pytest.approx(0.007, rel=0.1)


# SD301, SD302, SD303


def with_facts(view: SweepView, **facts: Any) -> SweepView:
    return dataclasses.replace(view, facts=dataclasses.replace(FACTS, **facts))


def test_ten_samples_cannot_rank_configurations_that_get_them_all_right() -> None:
    view = view_of(by_lr(*["healthy"] * 4, best_val_metric=[1.0, 1.0, 0.9, 0.5]), LRS)
    finding = run("SD301", with_facts(view, metric="accuracy", n_validation=10))
    assert finding.state is FindingState.FINDING
    assert "with 10 samples" in finding.evidence
    many = run("SD301", with_facts(view, metric="accuracy", n_validation=1000))
    assert many.state is FindingState.PASSED


def test_noise_that_falls_with_the_batch_is_said_to_fall() -> None:
    assert _trend("batch_size", -1.39) == "falls with batch_size (to the power of -1.39)"
    assert _trend("lr", 0.5) == "grows with lr (to the power of 0.50)"
    assert _trend("lr", 0.01) == "hardly depends on lr"


def test_configurations_near_chance_do_not_count_as_easier() -> None:
    tags = [["validation_easier"]] * 2 + [[]] * 2
    rows = by_lr(*["healthy"] * 4, tags=tags, best_train_loss=[1.38, 1.37, 0.3, 0.2])
    view = with_facts(view_of(rows, LRS), baseline_train_loss=1.386)
    assert run("SD302", view).state is FindingState.PASSED
    near = with_facts(view_of(rows[:2], LRS), baseline_train_loss=1.386)
    assert run("SD302", near).state is FindingState.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("first", "state"), [(1.45, FindingState.PASSED), (5.8, FindingState.FINDING)]
)
def test_a_first_loss_far_above_a_guess_is_off_scale(first: float, state: FindingState) -> None:
    view = with_losses(view_of([{}]), c0=[first, *[0.5] * 30])
    facts = {"loss": "cross_entropy", "baseline_train_loss": 1.386}
    assert run("SD303", with_facts(view, **facts)).state is state
    assert run("SD303", view).state is FindingState.NOT_APPLICABLE


def test_imbalanced_classes_are_not_taken_for_unscaled_inputs() -> None:
    view = with_losses(view_of([{}]), c0=[1.4, *[0.1] * 30])
    entropy = float(-0.95 * np.log(0.95) - 0.05 * np.log(0.05 / 3))
    facts = {"loss": "cross_entropy", "baseline_train_loss": entropy}
    imbalanced = with_facts(view, **facts, metric="accuracy", baseline_metric=0.95)
    assert run("SD303", imbalanced).state is FindingState.PASSED


def _noisy_view(power: float) -> SweepView:
    rng = np.random.default_rng(0)
    rates = axis("lr", 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
    view = view_of(
        [{"lr": lr, "tags": ["noisy_validation"], "best_val_loss": 0.5} for lr in rates.values],
        rates,
    )
    rate = view.curves["trial_id"].map(view.trials.set_index("trial_id")["lr"]).astype(float)
    noise = 0.05 * (rate / 0.01) ** power * rng.standard_normal(len(view.curves))
    return dataclasses.replace(view, curves=view.curves.assign(val_loss=0.5 + 0.1 * noise))


def test_noise_that_grows_with_the_rate_is_the_optimisers() -> None:
    finding = run("SD301", _noisy_view(0.5))
    assert finding.state is FindingState.TIP
    assert finding.numbers["slopes"]["lr"] == pytest.approx(0.5, abs=0.15)


def test_noise_that_stays_is_the_validation_sets() -> None:
    finding = run("SD301", _noisy_view(0.0))
    assert finding.state is FindingState.FINDING
    assert "400 samples" in finding.evidence


@pytest.mark.parametrize(
    ("axes", "told"),
    [((LRS,), "with fewer than 6 configurations"), ((), "without an lr or batch_size axis")],
)
def test_noise_of_few_configurations_has_no_known_cause(axes: Any, told: str) -> None:
    rows = by_lr(*["healthy"] * 4, tags=[["noisy_validation"]] * 4)
    finding = run(
        "SD301", view_of(rows, *axes, seed_losses={f"c{i}": [1.0, 1.0] for i in range(4)})
    )
    assert finding.state is FindingState.TIP
    assert told in finding.evidence


def test_quiet_validation_passes() -> None:
    assert run("SD301", view_of(by_lr(*["healthy"] * 4), LRS)).state is FindingState.PASSED


@pytest.mark.parametrize(
    ("n_easier", "state"),
    [(0, FindingState.PASSED), (1, FindingState.TIP), (4, FindingState.FINDING)],
)
def test_easier_validation_counts_by_its_share(n_easier: int, state: FindingState) -> None:
    tags = [["validation_easier"] if i < n_easier else [] for i in range(4)]
    assert run("SD302", view_of(by_lr(*["healthy"] * 4, tags=tags), LRS)).state is state


# SD401, SD402


def with_losses(view: SweepView, **curves: list[float]) -> SweepView:
    """Replace both losses of every trial of the given configurations."""
    configs = view.curves["trial_id"].map(view.trials.set_index("trial_id")["config_id"])
    table = view.curves.astype({"train_loss": float, "val_loss": float})
    for config_id, losses in curves.items():
        n_trials = int((view.trials["config_id"] == config_id).sum())
        for column in ("train_loss", "val_loss"):
            table.loc[configs == config_id, column] = losses * n_trials
    return dataclasses.replace(view, curves=table)


def decay(speed: float, floor: float = 0.0) -> list[float]:
    return [floor + 2.0 * float(np.exp(-speed * epoch)) for epoch in range(31)]


def test_good_configurations_that_still_improve_at_the_end_need_a_longer_budget() -> None:
    view = view_of(by_lr(*["healthy"] * 4, best_val_loss=[1.0, 0.5, 2.0, 3.0]), LRS)
    finding = run("SD401", with_losses(view, c1=decay(0.046)))
    assert finding.state is FindingState.FINDING
    assert finding.numbers["late_gain"] == pytest.approx(1 - np.exp(-0.046 * 5), rel=0.05)
    assert "by 21 % of val_loss" in finding.evidence
    assert finding.action == "Train for 60 epochs."
    assert finding.numbers["train_epochs"] == 60


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_losses_of_any_size_still_improve_by_the_same_share(size: float) -> None:
    best = [size * loss for loss in (1.0, 0.5, 2.0, 3.0)]
    view = view_of(by_lr(*["healthy"] * 4, best_val_loss=best), LRS)
    losses = [size * (loss + 0.002 * (i % 3)) for i, loss in enumerate(decay(0.046))]
    finding = run("SD401", with_losses(view, c1=losses))
    assert finding.state is FindingState.FINDING
    assert finding.numbers["late_gain"] == pytest.approx(1 - np.exp(-0.046 * 5), rel=0.05)


def test_others_than_the_good_configurations_do_not_ask_for_a_longer_budget() -> None:
    view = view_of(by_lr(*["underfit"] * 4, best_val_loss=[1.0, 0.5, 2.0, 3.0]), LRS)
    finding = run("SD401", with_losses(view, c0=decay(0.023), c2=decay(0.01)))
    assert finding.state is FindingState.PASSED


def test_a_late_best_epoch_on_a_plateau_is_no_reason_to_train_longer() -> None:
    rows = by_lr(*["healthy"] * 4, best_epoch=[30.0] * 4, tags=[["still_improving"]] * 4)
    view = with_losses(view_of(rows, LRS), c0=decay(0.3, 1.0), c1=decay(0.4, 1.0))
    assert run("SD401", view).state is FindingState.PASSED


def test_noise_at_the_end_is_no_improvement() -> None:
    noise = 1.0 + 0.2 * np.random.default_rng(0).standard_normal(31)
    view = with_losses(view_of([{}]), c0=[float(v) for v in noise])
    assert run("SD401", view).state is FindingState.PASSED


def test_a_budget_is_too_long_where_most_good_ones_arrive_early() -> None:
    view = view_of(
        by_lr(*["u_shaped"] * 4, best_val_loss=[1, 1, 1, 2], best_epoch=[30.0] * 4), LRS
    )
    fast = with_losses(view, **{f"c{i}": decay(3.0, 1.0) for i in range(3)}, c3=decay(0.1))
    finding = run("SD402", fast)
    assert finding.state is FindingState.FINDING
    assert finding.action == "Train for 4 epochs."
    assert finding.numbers["train_epochs"] == 4
    slow = with_losses(fast, c0=decay(0.1, 1.0), c1=decay(0.1, 1.0))
    assert run("SD402", slow).state is FindingState.PASSED


def test_sweeps_with_too_few_evaluations_are_not_judged() -> None:
    rows: list[dict[str, Any]] = [
        {"lr": lr, "capacity": capacity, "verdict": "inconclusive", "n_evaluations": 4}
        for lr in LRS.values
        for capacity in CAPACITIES.values
    ]
    rows[-1] |= {"verdict": "diverging"}
    view = view_of(rows, LRS, CAPACITIES, epochs=3)
    finding = run("SD401", view)
    assert finding.title == "Too few evaluations to judge"
    assert finding.action.startswith("Train for 4 epochs, or set evaluation.every_steps")
    assert finding.numbers["train_epochs"] == 4
    for code in ("SD101", "SD102", "SD201", "SD202", "SD402"):
        other = run(code, view)
        assert other.state is FindingState.NOT_APPLICABLE, code
        assert "11 of 12 configurations have fewer than 5 evaluations" in other.evidence


# shares of what is left


def with_accuracies(view: SweepView, accuracies: list[float]) -> SweepView:
    """Monitor an accuracy that every trial has."""
    n_trials = view.curves["trial_id"].nunique()
    return dataclasses.replace(
        view,
        curves=view.curves.assign(val_metric=accuracies * n_trials),
        configurations=view.configurations.assign(
            best_val_metric=max(accuracies), best_monitor=max(accuracies)
        ),
        monitor="val_metric",
        metric_mode="max",
    )


def test_an_accuracy_near_1_still_improves_while_errors_fall() -> None:
    view = view_of(by_lr(*["healthy"] * 4), LRS, epochs=100)
    slow = [0.989 - 0.6 * np.exp(-e / 1.2) - 0.02 * np.exp(-e / 30) for e in range(101)]
    assert run("SD402", with_accuracies(view, slow)).state is FindingState.PASSED
    fast = [0.989 - 0.8 * float(np.exp(-e / 1.2)) for e in range(101)]
    assert run("SD402", with_accuracies(view, fast)).state is FindingState.FINDING
    late = [0.98 + 0.0001 * e for e in range(101)]
    finding = run("SD401", with_accuracies(view, late))
    assert finding.state is FindingState.FINDING
    assert "of what val_metric lacks of 1" in finding.evidence


def test_accuracies_tie_by_their_errors() -> None:
    view = with_accuracies(view_of(by_lr(*["healthy"] * 4), LRS), [0.5] * 31)
    table = view.configurations.assign(best_monitor=[0.97, 0.98, 0.99, 0.9899])
    view = dataclasses.replace(view, configurations=table)
    assert view.tied(2.0, least_share=0.02)["best_monitor"].tolist() == [0.99, 0.9899]


@pytest.mark.parametrize("level", [-1000.0, -50.0])
def test_a_loss_without_a_floor_is_judged_alike_at_any_level(level: float) -> None:
    view = view_of(by_lr(*["healthy"] * 4), LRS)
    view = with_losses(view, **{f"c{i}": [v + level for v in decay(0.1, -2.0)] for i in range(4)})
    table = view.configurations.assign(best_monitor=level - 2.0 + np.array([0.1, 0.2, 0.3, 0.12]))
    finding = run("SD401", dataclasses.replace(view, configurations=table))
    # From 0.164 to 0.1 over the last six of a fall by 2, of which 0.13 is left.
    assert finding.numbers["late_gain"] == pytest.approx(0.064 / 1.87, rel=0.02)
    assert finding.numbers["n_good"] == 2
    assert "of all that was learned" in finding.evidence


# SD501, SD502


def test_a_best_value_at_the_end_of_an_axis_is_a_finding() -> None:
    rows = by_lr(*["healthy"] * 4, best_val_loss=[1.0, 0.9, 0.8, 0.5])
    finding = run("SD501", view_of(rows, LRS))
    assert finding.state is FindingState.FINDING
    assert finding.numbers["edges"] == {"lr": "highest"}


@pytest.mark.parametrize(
    ("name", "values", "best", "state"),
    [
        ("weight_decay", (0.0, 1e-4, 1e-3), 0, FindingState.PASSED),
        ("weight_decay", (1e-5, 1e-4, 1e-3), 0, FindingState.FINDING),
        ("dropout", (0.0, 0.2, 0.5), 0, FindingState.PASSED),
        ("dropout", (0.0, 0.2, 0.5), 2, FindingState.FINDING),
        ("batch_size", (1, 4, 16), 0, FindingState.PASSED),
        ("batch_size", (16, 64, 600), 2, FindingState.PASSED),
        ("lr", (1.0, 10.0, 100.0), 0, FindingState.FINDING),
    ],
)
def test_an_end_beyond_which_there_is_nothing_is_no_edge(
    name: str, values: tuple[float, ...], best: int, state: FindingState
) -> None:
    rows = [
        {name: value, "verdict": "healthy", "best_val_loss": 0.5 if index == best else 1.0}
        for index, value in enumerate(values)
    ]
    view = view_of(rows, axis(name, *values, scale=Scale.LINEAR))
    view = dataclasses.replace(view, facts=dataclasses.replace(FACTS, n_train=600))
    assert run("SD501", view).state is state


def test_a_best_rate_next_to_divergence_sits_on_the_stability_edge() -> None:
    rows = by_lr("healthy", "healthy", "healthy", "diverging", best_val_loss=[1.0, 0.9, 0.5, 9.0])
    finding = run("SD501", view_of(rows, LRS))
    assert finding.state is FindingState.TIP
    assert "the next higher rate does not train" in finding.evidence


def test_a_best_value_inside_passes() -> None:
    rows = by_lr(*["healthy"] * 4, best_val_loss=[1.0, 0.5, 0.8, 0.9])
    assert run("SD501", view_of(rows, LRS)).state is FindingState.PASSED


def test_a_tie_with_an_inner_value_is_no_edge() -> None:
    rows = by_lr(*["healthy"] * 4, best_val_loss=[1.0, 0.9, 0.51, 0.5])
    seeds = {"c3": [0.48, 0.52], "c2": [0.49, 0.53]}
    assert run("SD501", view_of(rows, LRS, seed_losses=seeds)).state is FindingState.PASSED


def test_configurations_within_seed_noise_are_tied() -> None:
    rows = by_lr(*["healthy"] * 4, best_val_loss=[1.0, 0.9, 0.51, 0.5])
    seeds = {"c3": [0.48, 0.52], "c2": [0.49, 0.53]}
    finding = run("SD502", view_of(rows, LRS, seed_losses=seeds))
    assert finding.state is FindingState.TIP
    assert finding.numbers["n_tied"] == 2


def test_one_seed_each_says_nothing_about_noise() -> None:
    finding = run("SD502", view_of(by_lr(*["healthy"] * 4), LRS))
    assert finding.state is FindingState.NOT_APPLICABLE
    assert "one seed" in finding.evidence


# SD901, SD902


def test_nothing_learned_anywhere_is_an_error() -> None:
    finding = run("SD901", view_of(by_lr(*["not_learning"] * 3, "diverging"), LRS))
    assert (finding.state, finding.severity) == (FindingState.FINDING, Severity.ERROR)
    assert finding.numbers["n_bad"] == 4


def chance_view(train: float, val: float) -> SweepView:
    rows = by_lr(*["u_shaped"] * 4, best_val_loss=[val] * 4, best_train_loss=[train] * 4)
    return with_facts(view_of(rows, LRS), baseline_train_loss=1.386, baseline_val_loss=1.386)


def test_training_that_learns_what_validation_never_confirms_is_an_error() -> None:
    finding = run("SD901", chance_view(0.7, 1.38))
    assert (finding.state, finding.severity) == (FindingState.FINDING, Severity.ERROR)
    assert finding.title == "Training learns, validation never beats a constant prediction"
    assert run("SD901", chance_view(0.7, 1.2)).state is FindingState.PASSED
    assert run("SD901", chance_view(1.37, 1.38)).state is FindingState.PASSED


def test_slow_curves_are_told_from_flat_ones() -> None:
    view = view_of(by_lr(*["not_learning"] * 4), LRS)
    assert run("SD901", view).title == "Nothing was learned anywhere"
    slow = with_losses(view, **{f"c{i}": decay(0.0001) for i in range(4)})
    finding = run("SD901", slow)
    assert finding.title == "Every curve only starts to fall"
    assert finding.action.startswith("Raise the learning rates")
    assert run("SD102", slow).state is FindingState.FINDING
    settled = with_losses(view, **{f"c{i}": decay(1.0, 1.4) for i in range(4)})
    assert run("SD901", settled).title == "Nothing was learned anywhere"


def test_failed_trials_are_counted_with_their_most_frequent_reason() -> None:
    rows = by_lr(*["healthy"] * 4)
    view = view_of(rows, LRS, states=["finished", "failed", "failed", "out_of_memory"])
    reasons = pd.Series(["", "Traceback\nValueError: bad", "ValueError: bad", None])
    finding = run("SD902", dataclasses.replace(view, trials=view.trials.assign(reason=reasons)))
    assert finding.state is FindingState.FINDING
    assert finding.numbers["states"] == {"failed": 2, "out_of_memory": 1}
    assert finding.evidence.endswith("ValueError: bad")
    assert "--retry failed --retry out_of_memory (" in finding.action


@pytest.mark.parametrize(
    ("states", "evidence"),
    [
        (["finished"] * 4, "all 4 trials were executed"),
        (["finished", "stopped", "pending", "pending"], "2 of 4 trials are done, none failed"),
        (["finished", "lost", "lost", "running"], "1 of 4 trials are done, none failed"),
    ],
)
def test_trials_of_an_interrupted_sweep_have_not_failed(states: list[str], evidence: str) -> None:
    finding = run("SD902", view_of(by_lr(*["healthy"] * 4), LRS, states=states))
    assert finding.state is FindingState.PASSED
    assert finding.evidence == evidence

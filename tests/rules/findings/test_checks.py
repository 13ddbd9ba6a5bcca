from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepdiag.records import Finding, FindingState, Scale, Severity
from sweepdiag.rules import FINDINGS, SweepView, check_sweep
from sweepdiag.testing.simulated import simulate_sweep
from tests.rules.tables import axis, judged_view, view_of

LRS = axis("lr", 0.001, 0.01, 0.1, 1.0)


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
            "verdict": "diverging" if lr > 0.02 * (batch / 10) ** power else "healthy",
        }
        for lr in LRS.values
        for batch in (10, 100)
    ]
    finding = run("SD101", view_of(rows, LRS, axis("batch_size", 10, 100)))
    assert finding.numbers["slope"] == pytest.approx(power)
    assert "at batch 10" in finding.evidence


# SD102


def test_lowest_rates_that_do_not_learn_are_a_tip() -> None:
    rows = by_lr(
        "not_learning",
        "underfit",
        "healthy",
        "healthy",
        tags=[[], ["still_improving"], [], []],
    )
    finding = run("SD102", view_of(rows, LRS))
    assert finding.state is FindingState.TIP
    assert finding.numbers["too_low"] == [0.001, 0.01]


def test_rates_that_are_all_too_low_are_a_finding() -> None:
    rows = by_lr("not_learning", "not_learning", "diverging", "diverging")
    assert run("SD102", view_of(rows, LRS)).state is FindingState.FINDING


def test_plateaus_are_no_sign_of_a_low_rate() -> None:
    rows = by_lr("underfit", "underfit", "healthy", "healthy")
    assert run("SD102", view_of(rows, LRS)).state is FindingState.PASSED


# SD201, SD202

CAPACITIES = axis("capacity", 8, 64, 512)


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


def test_overfitting_everywhere_is_not_about_capacity() -> None:
    rows = by_capacity((8, "overfit", 0.5), (64, "overfit", 0.4), (512, "overfit", 0.4))
    finding = run("SD202", view_of(rows, CAPACITIES))
    assert finding.title == "Overfitting at every capacity"


# SD301, SD302


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


def test_good_configurations_that_still_improve_at_the_end_need_a_longer_budget() -> None:
    rows = by_lr(
        *["healthy"] * 4,
        best_val_loss=[1.0, 0.5, 2.0, 3.0],
        best_epoch=[10.0, 30.0, 10.0, 10.0],
        tags=[[], ["still_improving"], [], []],
    )
    finding = run("SD401", view_of(rows, LRS))
    assert finding.state is FindingState.FINDING
    assert finding.action == "Train for 60 epochs."


def test_a_late_best_epoch_on_a_plateau_is_no_reason_to_train_longer() -> None:
    rows = by_lr(*["healthy"] * 4, best_epoch=[30.0] * 4)
    assert run("SD401", view_of(rows, LRS)).state is FindingState.PASSED


def test_best_epochs_that_are_all_early_ask_for_a_shorter_budget() -> None:
    rows = by_lr(*["u_shaped"] * 4, best_epoch=[2.0, 3.0, 1.0, 25.0], best_val_loss=[1, 1, 1, 2])
    assert run("SD402", view_of(rows, LRS)).state is FindingState.FINDING
    rows[0]["best_epoch"] = 12.0
    assert run("SD402", view_of(rows, LRS)).state is FindingState.PASSED


# SD501, SD502


def test_a_best_value_at_the_end_of_an_axis_is_a_finding() -> None:
    rows = by_lr(*["healthy"] * 4, best_val_loss=[1.0, 0.9, 0.8, 0.5])
    finding = run("SD501", view_of(rows, LRS))
    assert finding.state is FindingState.FINDING
    assert finding.numbers["edges"] == {"lr": "highest"}


def test_a_best_rate_next_to_divergence_sits_on_the_stability_edge() -> None:
    rows = by_lr("healthy", "healthy", "healthy", "diverging", best_val_loss=[1.0, 0.9, 0.5, 9.0])
    finding = run("SD501", view_of(rows, LRS))
    assert finding.state is FindingState.TIP
    assert "the next higher rate diverges" in finding.evidence


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


def test_failed_trials_are_counted_with_their_most_frequent_reason() -> None:
    rows = by_lr(*["healthy"] * 4)
    view = view_of(rows, LRS, states=["finished", "failed", "failed", "out_of_memory"])
    reasons = pd.Series(["", "Traceback\nValueError: bad", "ValueError: bad", None])
    finding = run("SD902", dataclasses.replace(view, trials=view.trials.assign(reason=reasons)))
    assert finding.state is FindingState.FINDING
    assert finding.numbers["states"] == {"failed": 2, "out_of_memory": 1}
    assert finding.evidence.endswith("ValueError: bad")

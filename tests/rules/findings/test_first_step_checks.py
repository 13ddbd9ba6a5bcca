"""Checks that rest on the first step and on targets, on small tables that a person can read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from sweepdiag.records import DataFacts, Finding, FindingState, Severity, StepFacts, SweepFacts
from sweepdiag.rules import SweepView, check_sweep
from sweepdiag.rules.findings.ranking import rank_findings
from tests.rules.tables import axis, curves_table, view_of

FINDING, TIP = FindingState.FINDING, FindingState.TIP
PASSED, NOT_APPLICABLE = FindingState.PASSED, FindingState.NOT_APPLICABLE
HEALTHY = StepFacts(n_outputs=10, outputs="free", loss_expects="logits", n_trainable=100)


def view_with(step: StepFacts | None, *, task: str = "classification", **facts: Any) -> SweepView:
    rows = [{"best_val_loss": 0.5, "best_train_loss": 0.4, "best_val_metric": 0.9}] * 4
    known = SweepFacts(workload="test", task=task, step=step, **facts)
    return dataclasses.replace(view_of(rows), facts=known)


def run(code: str, view: SweepView) -> Finding:
    return next(finding for finding in check_sweep(view) if finding.code == code)


def outputs(kind: str, *, expects: str | None = "logits", n: int = 10, **others: Any) -> Finding:
    step = StepFacts(n_outputs=n, outputs=kind, loss_expects=expects)
    return run("SD904", view_with(step, **others))


def test_without_a_first_step_nothing_is_checked() -> None:
    for code in ("SD904", "SD905"):
        finding = run(code, view_with(None))
        assert (finding.state, finding.evidence) == (
            NOT_APPLICABLE,
            "no first step was looked at before the sweep",
        )
    unknown = StepFacts(n_outputs=1, outputs=None)
    assert run("SD904", view_with(unknown)).state is NOT_APPLICABLE


@pytest.mark.parametrize(
    ("kind", "distance"), [("probabilities", 1), ("unit", 1), ("signed_unit", 2)]
)
def test_bounded_outputs_bound_the_loss(kind: str, distance: int) -> None:
    finding = outputs(kind)
    assert finding.state is FINDING
    # The right class as high as can be, the nine others as low.
    e = math.exp(distance)
    assert finding.numbers["least_loss"] == pytest.approx(-math.log(e / (e + 9)))
    is_error = kind != "signed_unit"
    assert (finding.severity is Severity.ERROR) is is_error


def test_of_two_classes_zeros_are_told() -> None:
    finding = outputs("unit", n=1, task="binary")
    assert "the loss of a target 0 cannot fall below 0.693" in finding.evidence
    assert finding.evidence.startswith("the output of a sample stays within 0 and 1")


@pytest.mark.parametrize(
    ("kind", "expects", "state"),
    [
        ("free", "logits", PASSED),
        ("log_probabilities", "logits", PASSED),  # a second log_softmax changes nothing
        ("not_negative", "logits", FINDING),
        ("log_probabilities", "log_probabilities", PASSED),
        ("probabilities", "log_probabilities", FINDING),
        ("free", "log_probabilities", FINDING),
        ("probabilities", "probabilities", PASSED),
        ("probabilities", None, PASSED),
    ],
)
def test_outputs_are_held_against_what_the_loss_expects(
    kind: str, expects: str | None, state: FindingState
) -> None:
    assert outputs(kind, expects=expects).state is state


def test_accuracy_of_probabilities_is_the_mistake_and_not_the_loss() -> None:
    step = StepFacts(
        n_outputs=1, outputs="unit", loss_expects="probabilities", metric_expects="logits"
    )
    view = view_with(step, task="binary", loss="BCELoss", metric="accuracy", metric_mode="max")
    falling = [0.7, 0.5, 0.3, 0.1]
    curves = curves_table({f"c{i}s0": (falling, falling) for i in range(4)})
    curves["val_metric"] = 0.6  # each output is above 0, whatever is learned
    view = dataclasses.replace(view, curves=curves, metric_mode="max")
    assert run("SD904", view).title == "Accuracy takes probabilities for logits"
    assert run("SD903", view).state is NOT_APPLICABLE
    right = dataclasses.replace(step, metric_expects=None)
    facts = dataclasses.replace(view.facts, step=right)  # type: ignore[type-var]
    assert run("SD903", dataclasses.replace(view, facts=facts)).state is FINDING


def test_a_class_that_does_not_count_is_named() -> None:
    step = dataclasses.replace(HEALTHY, ignored_classes=(0,))
    finding = run("SD903", view_with(step, loss="CrossEntropyLoss"))
    assert finding.state is FINDING
    assert "class 0 occur in training and never count" in finding.evidence
    assert run("SD903", view_with(HEALTHY, loss="CrossEntropyLoss")).state is NOT_APPLICABLE


@pytest.mark.parametrize(
    ("field", "words", "severity"),
    [
        ("cut_off", "cut off from the loss", Severity.ERROR),
        ("zero_gradient", "exactly zero", Severity.ERROR),
        ("alike", "the same and stay so", Severity.ERROR),
        ("unused", "not used", Severity.WARNING),
    ],
)
def test_parameters_that_training_cannot_reach_are_named(
    field: str, words: str, severity: Severity
) -> None:
    names = tuple(f"block.{i}" for i in range(6))
    finding = run("SD905", view_with(dataclasses.replace(HEALTHY, **{field: names})))
    assert (finding.state, finding.severity) == (FINDING, severity)
    assert words in finding.title
    assert "'block.3' and 2 more" in finding.evidence


def test_what_is_frozen_on_purpose_is_a_tip() -> None:
    assert run("SD905", view_with(HEALTHY)).state is PASSED
    finding = run("SD905", view_with(dataclasses.replace(HEALTHY, n_frozen=300)))
    assert finding.state is TIP
    assert "75 % of 400 parameters" in finding.evidence


def regression(size: float, deviation: float, first: float, verdict: str = "healthy") -> Finding:
    rows = [{"best_val_loss": 0.5, "best_train_loss": 0.4, "verdict": verdict}] * 4
    losses = [first, 0.5 * first]
    facts = SweepFacts(
        workload="test",
        task="regression",
        loss="mse",
        baseline_train_loss=deviation**2,
        data=DataFacts(target_size=size, target_deviation=deviation),
    )
    view = view_of(rows)
    curves = curves_table({f"c{i}s0": (losses, losses) for i in range(4)})
    return run("SD310", dataclasses.replace(view, facts=facts, curves=curves))


def test_targets_off_scale_are_a_finding_where_training_suffers() -> None:
    assert regression(1.0, 1.0, first=1.2).state is PASSED
    finding = regression(170.0, 77.0, first=28912.5)
    assert finding.state is FINDING
    assert "the first training loss is 2.89e4 in the median" in finding.evidence
    assert regression(1e-4, 1e-4, first=0.01).state is FINDING
    # A network that turns its outputs back to the targets' size.
    assert regression(170.0, 77.0, first=77.0**2).state is TIP
    assert regression(170.0, 77.0, first=77.0**2, verdict="diverging").state is FINDING


def test_other_tasks_have_no_size_of_targets() -> None:
    assert run("SD310", view_with(HEALTHY)).evidence == "the task is no regression"
    assert run("SD310", view_with(None, task="regression")).evidence == "the targets are not known"


def test_a_mistake_of_the_workload_comes_before_rates_and_capacity() -> None:
    rows = [
        {"capacity": c, "best_val_loss": loss, "best_train_loss": loss - 0.1}
        for c, loss in ((8, 1.0), (64, 0.5))
    ]
    view = view_of(rows, axis("capacity", 8, 64))
    for step, code in (
        (dataclasses.replace(HEALTHY, outputs="probabilities"), "SD904"),
        (dataclasses.replace(HEALTHY, unused=("spare",)), "SD905"),
    ):
        facts = SweepFacts(workload="test", task="classification", step=step)
        found = rank_findings(check_sweep(dataclasses.replace(view, facts=facts)))
        assert found[0].code == code
        assert "SD201" in found[0].explains

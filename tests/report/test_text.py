from __future__ import annotations

import dataclasses
import math

import pytest

from sweepdiag.records import Finding, FindingState, Severity
from sweepdiag.report import render_text
from sweepdiag.report.summary import CriterionRow
from tests.sample_report import NASTY_NAME, foreign_curves, sample_report, without_axes


def replace_advice(data, **fields):
    advice = dataclasses.replace(data.recommendation, **fields)
    return dataclasses.replace(data, recommendation=advice)


def make_finding(code: str, state: FindingState, severity: Severity) -> Finding:
    return Finding(
        code=code,
        name="name",
        state=state,
        severity=severity,
        title=f"title of {code}",
        evidence="evidence",
        action="action",
    )


def test_the_answer_comes_first(sweep):
    lines = render_text(sweep).splitlines()
    counts = "simulated: 54 configurations: 108 trials, 108 judged"
    assert lines[0] == f"{counts}; peak memory 300 MB per worker"
    assert lines[2].startswith(sweep.recommendation.answer[:40])


@pytest.mark.parametrize(
    ("metric", "value", "expected"),
    [
        ("accuracy", 0.98714, ", best accuracy 0.987)"),
        ("mae", 0.25, ", best mean absolute error 0.25)"),
        ("auc", 0.9, ", best auc 0.9)"),
        ("custom", 0.9, ", best metric 0.9)"),  # a lambda has no name
        (None, math.nan, ")"),
    ],
)
def test_the_best_metric_stands_beside_the_best_loss(sweep, metric, value, expected):
    data = dataclasses.replace(
        sweep,
        facts=dataclasses.replace(sweep.facts, metric=metric),
        configurations=sweep.configurations.assign(best_val_metric=value),
    )
    text = " ".join(render_text(data, width=200).split())
    start = text.index("Best validation loss 0.103 (last ")
    assert text[start : text.index(":", start)].partition(" (last ")[2].lstrip("0123456789.") == (
        expected
    )


def test_a_normal_sweep_takes_at_most_45_lines_of_88_characters(sweep):
    lines = render_text(sweep).splitlines()
    assert len(lines) <= 45
    assert max(len(line) for line in lines) <= 88
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [10, 40, 60, 120])
def test_lines_keep_to_the_width(sweep, width):
    longest = max(len(line) for line in render_text(sweep, width=width).splitlines())
    assert longest <= max(width, 40)


def test_classes_are_counted_with_bars(sweep):
    text = render_text(sweep)
    assert "Classes (configurations)" in text
    assert "  D diverging     15   28 %  ########################\n" in text
    assert "overfit" not in text


def test_the_map_shows_letters_region_and_best(sweep):
    lines = render_text(sweep).splitlines()
    start = lines.index("Map: lr across, batch_size down")
    assert lines[start + 1].split("capacity")[1:] == [" = 4                         ", " = 16"]
    assert lines[start + 2].split()[:6] == ["1e-4", "1e-3", "0.01", "0.1", "1", "10"]
    assert " ".join(lines[start + 3].split()) == "256 N U U U U D 256 N U [H] [H] [H] D"
    assert "   64   N    U    V    V *  D    D" in lines
    assert "  [ ] recommended; * best validation loss" in lines


def test_failed_and_pending_cells_are_marked():
    text = render_text(sample_report(failed=(0, 1), pending=(2, 3)))
    assert "x failed to run; . not judged yet" in text
    assert "2 failed, 2 not done" in text
    assert "Interrupted: what follows rests on the trials that are done." in text


def test_findings_come_before_tips_and_the_severe_first(sweep):
    findings = tuple(
        make_finding(code, state, severity)
        for code, state, severity in (
            ("SD1", FindingState.TIP, Severity.ERROR),
            ("SD2", FindingState.FINDING, Severity.INFO),
            ("SD3", FindingState.FINDING, Severity.ERROR),
            ("SD4", FindingState.PASSED, Severity.ERROR),
            ("SD5", FindingState.FINDING, Severity.WARNING),
        )
    )
    text = render_text(dataclasses.replace(sweep, findings=findings))
    places = [text.index(f"  {code}") for code in ("SD3 error", "SD5 warn", "SD2 info", "SD1 tip")]
    assert places == sorted(places)
    assert "SD4" not in text
    assert "Checks: 3 findings, 1 tip, 1 passed\n" in text
    assert "      -> action\n" in text


def test_findings_beyond_the_fifth_are_named(sweep):
    findings = tuple(
        make_finding(f"SD{k}", FindingState.FINDING, Severity.INFO) for k in range(100, 108)
    )
    text = render_text(dataclasses.replace(sweep, findings=findings))
    assert "  and 3 more: SD105, SD106, SD107\n" in text


def test_the_stop_epoch_says_what_it_saves_and_costs(sweep):
    text = " ".join(render_text(sweep).split())
    assert (
        "Stop at epoch 12 of 30: saves 60 % of the training, costs 0.3 % of the best validation "
        "loss (the smoothed validation loss no longer falls after epoch 12)." in text
    )


def test_a_stop_epoch_without_regret_costs_nothing(sweep):
    stop = dataclasses.replace(sweep.recommendation.region_stop, regret=0.0, reason="")
    text = " ".join(render_text(replace_advice(sweep, region_stop=stop)).split())
    assert "saves 60 % of the training, the best validation loss stays the same." in text


def test_the_next_sweep_is_told_in_words(sweep):
    text = render_text(sweep)
    assert "Next sweep (next_sweep.yaml)\n  lr: 3e-3 to 0.3, log scale, 7 values; batch" in text
    assert "batch_size: 16, 64, 256; capacity: 16, 32;\n  epochs: 15\n" in text
    assert "  - zooms in on the region, one step beyond each edge\n" in text


def test_every_reason_of_the_next_sweep_is_told_up_to_six(sweep):
    told = [f"Reason {number}." for number in range(8)]
    text = render_text(replace_advice(sweep, next_reasons=tuple(told[:6])))
    assert all(f"  - {reason}\n" in text for reason in told[:6])
    text = render_text(replace_advice(sweep, next_reasons=tuple(told)))
    assert "  - Reason 5.\n  - and 2 more in next_sweep.yaml\n" in text


def test_without_advice_its_blocks_are_left_out():
    text = render_text(sample_report(lrs=(10.0, 100.0)))
    assert "Stop at" not in text
    assert "Next sweep" not in text
    assert "Best" not in text
    assert "[" not in text


def test_names_cannot_steer_the_terminal(sweep):
    nasty = f"\x1b[2J\r\n{NASTY_NAME}"
    finding = dataclasses.replace(sweep.findings[0], title=nasty, evidence=nasty, action=nasty)
    data = replace_advice(sweep, answer=nasty)
    data = dataclasses.replace(data, findings=(finding,), title=nasty)
    text = render_text(data)
    assert "\x1b" not in text
    assert "\r" not in text


def test_one_trial_has_no_map():
    text = render_text(sample_report(lrs=(0.01,), batch_sizes=(16,), capacities=(16,), n_seeds=1))
    assert "simulated: 1 configuration: 1 trial, 1 judged" in text
    assert "Map" not in text


def test_nothing_judged_is_said():
    text = render_text(sample_report(pending=tuple(range(108))))
    assert "No curve has been judged." in text
    assert "108 trials, 0 judged, 108 not done" in text


@pytest.mark.parametrize("missing", [["batch_size"], ["capacity"], ["lr"], ["lr", "capacity"]])
def test_missing_axes_are_no_obstacle(sweep, missing):
    assert "Map: " in render_text(without_axes(sweep, *missing))


def test_a_map_that_is_too_large_is_left_to_the_figure():
    data = sample_report(
        lrs=tuple(10 ** (k / 6) for k in range(-24, 6)), batch_sizes=(16,), capacities=(16,),
        n_seeds=1, epochs=6,
    )  # fmt: skip
    assert "Map: lr across, batch_size down: too large for text" in render_text(data)


def test_curves_from_elsewhere_are_counted_as_curves():
    text = render_text(foreign_curves(sample_report(n_seeds=1)))
    assert text.startswith("simulated: 54 curves, 54 judged; ")
    assert "Classes (curves)" in text
    assert "Map" not in text


def test_a_long_title_is_cut_and_never_lost(sweep):
    lines = render_text(dataclasses.replace(sweep, title="a" * 100), width=88).splitlines()
    assert lines[0].startswith("a" * 43 + "…: 54 configurations")


def test_costs_beyond_all_measure_are_told_as_such():
    row = CriterionRow(name="patience 5", used=0.1, median_cost=9.99, mean_cost=math.inf)
    assert row.cells == ("10 %", "999 %", "> 999 %")

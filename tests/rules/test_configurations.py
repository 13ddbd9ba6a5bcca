from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.rules import judge_configurations
from sweepdiag.rules.configurations import majority_class
from tests.rules.tables import curves_table, trials_table, verdicts_table

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = [
    "config_id", "lr", "n_seeds", "n_judged", "n_failed", "verdict", "share", "tags",
    "confidence", "best_val_loss", "worst_val_loss", "last_val_loss", "best_train_loss",
    "best_val_metric", "best_monitor", "worst_monitor", "best_epoch", "turning_epoch", "evidence",
    "n_evaluations",
]  # fmt: skip
NAN, INF = float("nan"), float("inf")


def judge(
    verdicts: list[dict[str, Any]], monitor: str = "val_loss", mode: str | None = "max"
) -> pd.DataFrame:
    trials = trials_table(
        [{"trial_id": f"t{i}", "config_id": "a", "lr": 0.1, "seed": i} for i in range(3)]
        + [{"trial_id": "u0", "config_id": "b", "lr": 1.0, "state": "failed"}]
    )
    curves = curves_table(
        {
            "t0": ([3.0, 2.0, 1.0], [3.0, 1.0, 2.0]),
            "t1": ([3.0, 2.0, 1.5], [3.0, 1.2, 1.1]),
            "t2": ([3.0, 9.0, NAN], [3.0, INF, NAN]),
        },
        {"t0": [0.1, 0.8, 0.9], "t1": [0.1, 0.7, 0.6], "t2": [0.2, 0.1, NAN]},
    )
    return judge_configurations(
        trials=trials,
        curves=curves,
        verdicts=verdicts_table(verdicts),
        axis_names=["lr"],
        monitor=monitor,  # type: ignore[arg-type]
        metric_mode=mode,  # type: ignore[arg-type]
    )


def three(*classes: str, **extra: Any) -> list[dict[str, Any]]:
    return [{"trial_id": f"t{i}", "verdict": name, **extra} for i, name in enumerate(classes)]


def test_the_columns_are_the_contract() -> None:
    table = judge(three("healthy", "healthy", "diverging"))
    assert list(table.columns) == COLUMNS
    assert table["config_id"].tolist() == ["a", "b"]


def test_the_majority_wins_and_a_diverging_seed_makes_it_unstable() -> None:
    row = judge(three("healthy", "healthy", "diverging")).iloc[0]
    assert row["verdict"] == "healthy"
    assert row["share"] == pytest.approx(2 / 3)
    assert row["confidence"] == pytest.approx(2 / 3)
    assert row["tags"] == ["unstable"]
    assert (row["n_seeds"], row["n_judged"], row["n_failed"]) == (3, 3, 0)


def test_ties_go_to_the_worse_class() -> None:
    assert judge(three("healthy", "u_shaped", "underfit")).iloc[0]["verdict"] == "underfit"
    assert majority_class(["healthy", "diverging", "diverging", "healthy"]) == "diverging"


def test_tags_of_half_of_the_seeds_are_kept() -> None:
    verdicts = three("healthy", "healthy", "healthy")
    verdicts[0]["tags"] = ["plateaued", "oscillating"]
    verdicts[1]["tags"] = ["plateaued"]
    assert judge(verdicts).iloc[0]["tags"] == ["plateaued"]


def test_best_values_are_medians_over_seeds_of_finite_values() -> None:
    row = judge(three("healthy", "healthy", "healthy")).iloc[0]
    assert row["best_val_loss"] == 1.1
    assert row["worst_val_loss"] == 3.0
    assert row["last_val_loss"] == pytest.approx(1.55)
    assert row["best_train_loss"] == 1.5
    assert row["best_val_metric"] == 0.7
    assert row["best_epoch"] == 1.0
    assert (row["best_monitor"], row["worst_monitor"]) == (1.1, 3.0)
    assert row["n_evaluations"] == 3


def test_a_monitored_metric_decides_what_best_means() -> None:
    row = judge(three("healthy", "healthy", "healthy"), "val_metric").iloc[0]
    assert (row["best_monitor"], row["worst_monitor"], row["best_epoch"]) == (0.7, 0.2, 1.0)
    row = judge(three("healthy", "healthy", "healthy"), "val_metric", "min").iloc[0]
    assert (row["best_monitor"], row["worst_monitor"], row["best_epoch"]) == (0.1, 0.1, 0.0)


def test_evidence_is_that_of_the_worst_seed_of_the_class() -> None:
    verdicts = three("healthy", "healthy", "diverging")
    for i, verdict in enumerate(verdicts):
        verdict["evidence"] = f"seed {i}"
    assert judge(verdicts).iloc[0]["evidence"] == "seed 1"


def test_a_configuration_without_a_judged_seed_has_no_verdict() -> None:
    row = judge(three("healthy", "healthy", "healthy")).iloc[1]
    assert row["verdict"] is None
    assert (row["n_seeds"], row["n_judged"], row["n_failed"]) == (1, 0, 1)
    assert math.isnan(row["best_val_loss"])
    assert row["tags"] == []


def test_nothing_judged_at_all_still_gives_the_columns() -> None:
    table = judge([])
    assert list(table.columns) == COLUMNS
    assert table["verdict"].tolist() == [None, None]


def test_monitoring_a_metric_needs_its_direction() -> None:
    with pytest.raises(ConfigError, match="needs metric_mode 'max' or 'min', got None"):
        judge([], "val_metric", None)


def test_seeds_that_disagree_on_flat_or_improving_leave_neither_tag() -> None:
    verdicts = three("healthy", "healthy")
    verdicts[0]["tags"], verdicts[1]["tags"] = ["plateaued"], ["still_improving"]
    assert judge(verdicts).iloc[0]["tags"] == []

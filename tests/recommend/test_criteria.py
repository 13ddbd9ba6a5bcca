from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweepdiag.errors import ConfigError
from sweepdiag.recommend.criteria import (
    DEFAULT_CRITERIA,
    compare_criteria,
    generalization_loss,
    patience,
    progress_quotient,
    smoothed_generalization_loss,
    successive_rises,
)

FLAT_TRAIN = np.full(12, 1.0)


def curve_frame(val_losses: dict[str, list[float]], *, first_epoch: int = 1):
    import pandas as pd

    return pd.concat(
        [
            pd.DataFrame(
                {
                    "trial_id": trial_id,
                    "epoch": np.arange(first_epoch, first_epoch + len(losses), dtype=float),
                    "val_loss": losses,
                    "val_metric": 1.0 - np.array(losses) / 10.0,
                    "train_loss": 1.0,
                }
            )
            for trial_id, losses in val_losses.items()
        ],
        ignore_index=True,
    )


def test_patience_stops_at_the_kth_evaluation_without_improvement():
    # Best at index 2; indices 3 and 4 bring nothing.
    assert patience([3.0, 2.0, 1.0, 1.5, 1.0, 0.5], k=2) == 4
    assert patience([3.0, 2.0, 1.0, 1.5, 1.0, 0.5], k=3) == 5


def test_patience_ignores_improvements_smaller_than_min_delta():
    losses = [1.0, 0.95, 0.9, 0.85, 0.5]
    assert patience(losses, k=2) == 4
    # 0.95 and 0.9 are not more than 0.12 below 1.0; index 2 is the second in a row.
    assert patience(losses, k=2, min_delta=0.12) == 2


def test_patience_counts_values_that_are_not_finite_as_no_improvement():
    assert patience([1.0, np.nan, np.inf, 0.1], k=2) == 2


def test_patience_refuses_what_it_cannot_count():
    with pytest.raises(ConfigError, match="k must be at least 1, got 0"):
        patience([1.0], k=0)
    with pytest.raises(ConfigError, match=r"min_delta must be at least 0, got -0\.5"):
        patience([1.0], k=1, min_delta=-0.5)


def test_generalization_loss_stops_once_alpha_percent_above_the_best():
    # 2.08 is 4 % above the best of 2.0; 2.12 is 6 % above it.
    assert generalization_loss([3.0, 2.0, 2.08, 2.12, 1.0], alpha=5.0) == 3
    assert generalization_loss([3.0, 2.0, 2.08, 2.12, 1.0], alpha=7.0) == 4


def test_generalization_loss_stops_at_a_value_that_is_not_finite():
    assert generalization_loss([3.0, 2.0, np.nan, 1.0], alpha=5.0) == 2


def test_generalization_loss_does_not_hold_where_the_best_is_not_positive():
    assert generalization_loss([-1.0, 5.0, 9.0], alpha=5.0) == 2


def test_smoothed_generalization_loss_forgives_a_single_spike():
    losses = [1.0, 1.0, 1.2, 1.0, 1.0, 2.0, 2.0]
    assert generalization_loss(losses, alpha=5.0) == 2
    # Means with decay 0.8: 1, 1, 1.04, 1.032, 1.0256, 1.22.
    assert smoothed_generalization_loss(losses, alpha=5.0) == 5


def test_smoothed_generalization_loss_refuses_a_decay_of_one():
    with pytest.raises(ConfigError, match=r"decay must be in \[0, 1\), got 1"):
        smoothed_generalization_loss([1.0], alpha=5.0, decay=1.0)


def test_progress_quotient_weighs_the_rise_against_training_progress():
    train = np.array([1.2, 1.1, 1.0, 1.2, 1.1, 1.0])
    val = np.array([2.0, 2.0, 2.0, 2.0, 2.1, 2.2])
    # Second strip: GL = 10 %, P_3 = 1000 * (1.1 / 1.0 - 1) = 100, so PQ = 0.1.
    assert progress_quotient(np.append(val, 9.0), np.append(train, 1.0), alpha=0.09, k=3) == 5
    assert progress_quotient(np.append(val, 9.0), np.append(train, 1.0), alpha=0.11, k=3) == 6


def test_progress_quotient_looks_only_at_the_ends_of_strips():
    val = [1.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0]
    assert progress_quotient(val, FLAT_TRAIN[:7], alpha=0.75, k=3) == 2


def test_progress_quotient_stops_when_training_stands_still_and_validation_rises():
    assert progress_quotient([1.0, 1.1, 1.2, 1.3], np.ones(4), alpha=0.75, k=2) == 1
    # No rise: 0 / 0 is no reason to stop.
    assert progress_quotient([1.0, 1.0, 1.0, 1.0], np.ones(4), alpha=0.75, k=2) == 3


def test_successive_rises_needs_s_strips_in_a_row():
    # Ends of strips of 2: 1.0, 1.1, 1.2, 0.9, 1.0, 1.1.
    val = [2.0, 1.0, 2.0, 1.1, 2.0, 1.2, 2.0, 0.9, 2.0, 1.0, 2.0, 1.1, 0.0]
    assert successive_rises(val, s=1, k=2) == 3
    assert successive_rises(val, s=2, k=2) == 5
    assert successive_rises(val, s=3, k=2) == 12


def test_successive_rises_counts_a_loss_that_stays_infinite_as_rising():
    assert successive_rises([1.0, np.nan, np.nan, np.nan, 0.5], s=2, k=1) == 2


def test_many_curves_at_once_equal_each_alone():
    rng = np.random.default_rng(0)
    val, train = rng.random((40, 30)) + 0.5, rng.random((40, 30)) + 0.5
    for name, criterion in DEFAULT_CRITERIA.items():
        if name.startswith("siblings"):
            continue  # the one that looks at the others
        alone = [int(criterion(v, t)) for v, t in zip(val, train, strict=True)]
        assert criterion(val, train).tolist() == alone, name


@given(arrays(float, (3, 14), elements=st.floats(0.01, 100.0)), st.sampled_from([0.125, 4.0]))
def test_positive_scaling_never_moves_a_stop(losses, scale):
    for criterion in DEFAULT_CRITERIA.values():
        before, after = criterion(losses, losses[::-1]), criterion(losses * scale, losses[::-1])
        assert (before == after).all()


def test_comparison_gives_epochs_regret_and_reason():
    frame = compare_criteria(
        curve_frame({"a": [4.0, 2.0, 3.0, 3.0, 1.0]}),
        criteria={"patience 2": lambda val, train: patience(val, train, k=2)},
    )
    row = frame.iloc[0]
    assert (row["trial_id"], row["criterion"], row["epochs_used"]) == ("a", "patience 2", 4.0)
    assert row["used_fraction"] == pytest.approx(0.8)
    assert row["regret"] == pytest.approx(1.0)  # 2.0 was seen, 1.0 was there
    assert row["reason"] == "patience 2 held at epoch 4"


def test_a_shorter_curve_ends_at_its_own_end():
    frame = compare_criteria(
        curve_frame({"long": [5.0, 4.0, 3.0, 2.0, 1.0], "short": [2.0, 1.0]}),
        criteria={"GL 5": DEFAULT_CRITERIA["GL 5"]},
    )
    assert frame["epochs_used"].tolist() == [5.0, 2.0]
    assert frame["reason"].str.contains("did not stop").all()


def test_the_evaluation_before_training_is_left_out():
    criteria = {"patience 3": DEFAULT_CRITERIA["patience 3"]}
    losses = [1.0, 2.0, 1.9, 1.8, 1.7]
    with_start = compare_criteria(curve_frame({"a": losses}, first_epoch=0), criteria=criteria)
    assert with_start["epochs_used"].tolist() == [4.0]


def test_a_metric_where_higher_is_better_is_turned_round():
    frame = compare_criteria(
        curve_frame({"a": [5.0, 4.0, 6.0, 7.0, 8.0]}), monitor="val_metric", metric_mode="max"
    ).set_index("criterion")
    assert frame.loc["patience 3", "epochs_used"] == 5.0
    assert frame.loc["patience 3", "regret"] == pytest.approx(0.0)
    # Ratios of negated metrics mean nothing.
    assert "did not stop" in frame.loc["GL 5", "reason"]


def test_a_curve_without_a_finite_value_has_no_regret():
    frame = compare_criteria(curve_frame({"a": [np.nan, np.nan]}))
    assert frame["regret"].isna().all()


def test_no_curves_give_an_empty_table_with_its_columns():
    empty = curve_frame({"a": [1.0]}).iloc[:0]
    assert list(compare_criteria(empty).columns)[:2] == ["trial_id", "criterion"]
    assert compare_criteria(empty).empty


def test_an_unknown_monitor_is_answered_with_the_valid_ones():
    with pytest.raises(ConfigError, match=r"unknown monitor 'val_los'.*Did you mean 'val_loss'"):
        compare_criteria(curve_frame({"a": [1.0]}), monitor="val_los")


def test_ten_thousand_curves_are_compared():
    import pandas as pd

    rng = np.random.default_rng(0)
    n_curves, n_points = 10_000, 31
    curves = pd.DataFrame(
        {
            "trial_id": np.repeat([f"{i:016x}" for i in range(n_curves)], n_points),
            "epoch": np.tile(np.arange(n_points, dtype=float), n_curves),
            "val_loss": rng.random(n_curves * n_points) + 1.0,
            "train_loss": rng.random(n_curves * n_points) + 1.0,
        }
    )
    frame = compare_criteria(curves)
    assert len(frame) == n_curves * len(DEFAULT_CRITERIA)

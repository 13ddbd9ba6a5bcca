from __future__ import annotations

import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.records import VerdictClass
from sweepdiag.rules import Thresholds
from tests.rules.curves import judge, u_shaped


def test_overrides_replace_and_the_rest_stays() -> None:
    thresholds = Thresholds.from_overrides({"u_shape_rise": 1})
    assert thresholds.u_shape_rise == 1.0
    assert thresholds.min_evaluations == Thresholds().min_evaluations


def test_an_override_changes_the_verdict() -> None:
    lax = Thresholds.from_overrides({"u_shape_rise": 2.0})
    assert judge(u_shaped()).verdict is VerdictClass.U_SHAPED
    assert judge(u_shaped(), thresholds=lax).verdict is not VerdictClass.U_SHAPED


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'u_shape_rise'"):
        Thresholds.from_overrides({"u_shape_rize": 0.1})


@pytest.mark.parametrize("value", [-0.1, float("nan"), True, "0.1"])
def test_a_value_that_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="must be a number >= 0"):
        Thresholds.from_overrides({"u_shape_rise": value})  # type: ignore[dict-item]

from __future__ import annotations

import importlib.metadata
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sweepdiag.records import Finding, VerdictClass
from sweepdiag.rules import check_sweep, judge
from sweepdiag.rules.findings import Check, registry
from tests.rules.curves import healthy
from tests.rules.curves import judge as judge_losses
from tests.rules.tables import view_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class EverythingIsOverfit:
    verdict = VerdictClass.OVERFIT
    priority = 15

    def margin(self, features: Any, _thresholds: Any, _context: Any) -> np.ndarray:
        return np.ones(features.n_curves)

    def matches(self, features: Any, _thresholds: Any, _context: Any) -> np.ndarray:
        return np.ones(features.n_curves, dtype=bool)

    def evidence(self, row: Any) -> str:
        return f"it ended at {row['train_last']:.1f}"


class Greeting(Check):
    code = "XX001"
    name = "greeting"

    def check(self, _view: Any, _thresholds: Any) -> Finding:
        return self.passed("Hello", "said hello")


class Raising(Greeting):
    code = "XX002"

    def check(self, _view: Any, _thresholds: Any) -> Finding:
        message = "cannot look"
        raise RuntimeError(message)


class FakeEntry:
    def __init__(self, name: str, target: Any) -> None:
        self.name, self.target = name, target

    def load(self) -> Any:
        if isinstance(self.target, Exception):
            raise self.target
        return self.target


@pytest.fixture(autouse=True)
def _fresh_registries() -> Iterator[None]:
    judge.active_rules.cache_clear()
    registry.active_checks.cache_clear()
    yield
    judge.active_rules.cache_clear()
    registry.active_checks.cache_clear()


def install(monkeypatch: pytest.MonkeyPatch, group: str, *targets: Any) -> None:
    entries = [FakeEntry(f"plugin{i}", target) for i, target in enumerate(targets)]
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda *, group: entries if group == wanted else [],
    )
    wanted = group


def test_a_rule_of_another_package_takes_its_place_by_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, "sweepdiag.rules", EverythingIsOverfit)
    verdict = judge_losses(healthy())
    assert (verdict.verdict, verdict.evidence) == (VerdictClass.OVERFIT, "it ended at 0.1")


def test_a_broken_rule_is_logged_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, "sweepdiag.rules", ImportError("no module"), object())
    with caplog.at_level(logging.WARNING):
        assert judge_losses(healthy()).verdict is VerdictClass.HEALTHY
    assert "plugin0 of sweepdiag.rules was left out: no module" in caplog.text
    assert "plugin1 of sweepdiag.rules was left out: it is no Rule" in caplog.text


def test_a_check_of_another_package_is_run_and_a_broken_one_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, "sweepdiag.findings", Greeting(), Raising)
    with caplog.at_level(logging.WARNING):
        codes = [finding.code for finding in check_sweep(view_of([{}]))]
    assert codes[-1] == "XX001"
    assert "plug-in check XX002 was left out" in caplog.text

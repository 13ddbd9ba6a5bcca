"""All checks of a sweep, and how they are run."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

from sweepdiag.rules.findings.base import FindingCheck
from sweepdiag.rules.findings.ranking import link_findings
from sweepdiag.rules.findings.sd101_learning_rate_too_high import LearningRateTooHigh
from sweepdiag.rules.findings.sd102_learning_rate_too_low import LearningRateTooLow
from sweepdiag.rules.findings.sd103_batch_too_small import BatchTooSmall
from sweepdiag.rules.findings.sd201_capacity_too_small import CapacityTooSmall
from sweepdiag.rules.findings.sd202_capacity_too_large import CapacityTooLarge
from sweepdiag.rules.findings.sd203_dead_activations import DeadActivations
from sweepdiag.rules.findings.sd301_noisy_validation import NoisyValidation
from sweepdiag.rules.findings.sd302_validation_easier import ValidationEasier
from sweepdiag.rules.findings.sd303_inputs_off_scale import InputsOffScale
from sweepdiag.rules.findings.sd304_label_noise import LabelNoise
from sweepdiag.rules.findings.sd305_labels_unrelated import LabelsUnrelated
from sweepdiag.rules.findings.sd306_training_set_tiny import TrainingSetTiny
from sweepdiag.rules.findings.sd307_validation_shifted import ValidationShifted
from sweepdiag.rules.findings.sd308_validation_leaks import ValidationLeaks
from sweepdiag.rules.findings.sd309_class_imbalance import ClassImbalance
from sweepdiag.rules.findings.sd310_targets_off_scale import TargetsOffScale
from sweepdiag.rules.findings.sd401_budget_too_short import BudgetTooShort
from sweepdiag.rules.findings.sd402_budget_too_long import BudgetTooLong
from sweepdiag.rules.findings.sd501_best_at_edge import BestAtEdge
from sweepdiag.rules.findings.sd502_within_seed_noise import WithinSeedNoise
from sweepdiag.rules.findings.sd901_nothing_learned import NothingLearned
from sweepdiag.rules.findings.sd902_trials_failed import TrialsFailed
from sweepdiag.rules.findings.sd903_loss_broken import LossBroken
from sweepdiag.rules.findings.sd904_outputs_not_expected import OutputsNotExpected
from sweepdiag.rules.findings.sd905_no_gradient import NoGradient
from sweepdiag.rules.plugins import load_plugins
from sweepdiag.rules.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Collection

    from sweepdiag.records import Finding
    from sweepdiag.rules.findings.base import SweepView

__all__ = ["FINDINGS", "active_checks", "check_sweep"]

logger = logging.getLogger(__name__)

FINDINGS: tuple[FindingCheck, ...] = (
    LearningRateTooHigh(),
    LearningRateTooLow(),
    BatchTooSmall(),
    CapacityTooSmall(),
    CapacityTooLarge(),
    DeadActivations(),
    NoisyValidation(),
    ValidationEasier(),
    InputsOffScale(),
    LabelNoise(),
    LabelsUnrelated(),
    TrainingSetTiny(),
    ValidationShifted(),
    ValidationLeaks(),
    ClassImbalance(),
    TargetsOffScale(),
    BudgetTooShort(),
    BudgetTooLong(),
    BestAtEdge(),
    WithinSeedNoise(),
    NothingLearned(),
    TrialsFailed(),
    LossBroken(),
    OutputsNotExpected(),
    NoGradient(),
)
"""The built-in checks in the order of their codes."""


@functools.cache
def active_checks() -> tuple[FindingCheck, ...]:
    """Return the built-in checks and those of installed plug-ins, by code."""
    plugins: tuple[FindingCheck, ...] = load_plugins("sweepdiag.findings", FindingCheck)
    return tuple(sorted((*FINDINGS, *plugins), key=lambda check: check.code))


def check_sweep(
    view: SweepView, *, thresholds: Thresholds | None = None, ignore: Collection[str] = ()
) -> tuple[Finding, ...]:
    """Return what every check has to say about a sweep.

    A check that lacks an axis or any curve says so (``not_applicable``). A plug-in that raises is
    logged and left out.

    Args:
        view: The sweep.
        thresholds: The limits; ``None`` takes the defaults.
        ignore: Codes or names of checks to leave out.

    Returns:
        One finding per check, in the order of their codes; each finding names those it explains.
    """
    limits = thresholds or Thresholds()
    findings = []
    for check in active_checks():
        if check.code in ignore or check.name in ignore:
            continue
        if check in FINDINGS:
            findings.append(check.check(view, limits))
            continue
        try:
            findings.append(check.check(view, limits))
        except Exception:
            logger.warning("plug-in check %s was left out", check.code, exc_info=True)
    return link_findings(findings)

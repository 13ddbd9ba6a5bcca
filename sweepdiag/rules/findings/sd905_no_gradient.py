"""SD905: parameters that are to be trained, and that training cannot reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweepdiag.records import Severity
from sweepdiag.rules.findings.base import Check
from sweepdiag.wording import clean, percent, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.records import Finding, StepFacts
    from sweepdiag.rules.findings.base import SweepView
    from sweepdiag.rules.thresholds import Thresholds

__all__ = ["GradientMistake", "NoGradient", "gradient_mistake"]

_MOST_NAMED = 4
"""Parameters or modules that a sentence names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GradientMistake:
    """What is wrong with gradients, in the words of a finding."""

    title: str
    evidence: str
    action: str
    severity: Severity


class NoGradient(Check):
    """Parameters require a gradient and get none, or all units of a layer get the same one.

    What it checks: in the first steps of one model, which parameters that require a gradient
    get none, get one that is exactly zero, or get the same one for each of their equal units.

    Why it matters: such parameters stay what they were. The network trains as one that is
    smaller, or not at all, and curves look like too little capacity, a low rate or a short budget.

    What it needs: a first step that was looked at before the sweep.

    How it is detected: by the gradients themselves. Where one is missing or zero, up to ten steps
    are taken: a layer that begins at zero gets its gradient in the second one. Parameters without
    a gradient are changed: if that changes the outputs, they are cut off from the loss, otherwise
    they are not used. Parameters that are frozen (requires_grad is False) are a tip.

    Known false alarms: parts that are kept from training on purpose by detach or no_grad; say so
    with requires_grad_(False). Layers that are used only where a condition on the data holds. Of a
    layer that is left out at random in more than half of the steps the gradient may be missed.

    What to do: look for detach(), .data, torch.no_grad() and conversions to NumPy between these
    layers and the loss; where gradients are zero, for argmax, round, sign and comparisons, for
    weights that begin at zero, and for units that are dead (SD203). Start weights at random.

    References:
        Karpathy, "A Recipe for Training Neural Networks", 2019; Goodfellow et al., "Deep
        Learning", section 8.4 (units must differ at the start).
    """

    code = "SD905"
    name = "no-gradient"

    def check(self, view: SweepView, thresholds: Thresholds) -> Finding:
        """Return whether gradients reach all parameters that are to be trained."""
        del thresholds
        step = view.step
        if step is None:
            return self.not_applicable("no first step was looked at before the sweep")
        mistake = gradient_mistake(step)
        if mistake is not None:
            return self.finding(
                mistake.title,
                mistake.evidence,
                mistake.action,
                severity=mistake.severity,
                cut_off=list(step.cut_off),
                unused=list(step.unused),
                zero_gradient=list(step.zero_gradient),
                alike=list(step.alike),
                n_steps=step.n_steps,
            )
        if step.n_frozen:
            share = step.n_frozen / (step.n_frozen + step.n_trainable)
            return self.tip(
                "Part of the network is frozen",
                f"{percent(share)} of {plural(step.n_frozen + step.n_trainable, 'parameter')} do "
                "not require a gradient",
                "Nothing, if that is meant.",
                n_frozen=step.n_frozen,
                n_trainable=step.n_trainable,
            )
        return self.passed(
            "Gradients reach all parameters",
            f"all {plural(step.n_trainable, 'parameter')} get one",
            n_trainable=step.n_trainable,
        )


def gradient_mistake(step: StepFacts) -> GradientMistake | None:
    """Return what is wrong with the gradients; ``None`` if nothing is known to be.

    Args:
        step: What the first step told.
    """
    steps = f"in each of {plural(step.n_steps, 'step')}"
    if step.cut_off:
        return GradientMistake(
            title="Parameters are cut off from the loss",
            evidence=f"no gradient reaches {_names(step.cut_off)}, and the outputs change with "
            "them",
            action="Look for detach(), .data, torch.no_grad() and NumPy between them and the "
            "loss; if they are to stay as they are, say requires_grad_(False).",
            severity=Severity.ERROR,
        )
    if step.zero_gradient:
        return GradientMistake(
            title="Gradients are exactly zero",
            evidence=f"the gradient of {_names(step.zero_gradient)} is zero {steps}",
            action="Look behind them for argmax, round, sign or a comparison, for weights that "
            "begin at zero, and for units that are dead.",
            severity=Severity.ERROR,
        )
    if step.alike:
        return GradientMistake(
            title="All units of a layer are the same and stay so",
            evidence=f"the rows of {_names(step.alike)} are all equal, and get the same gradient "
            f"{steps}",
            action="Start these weights at random (PyTorch's own start, or torch.nn.init).",
            severity=Severity.ERROR,
        )
    if step.unused:
        return GradientMistake(
            title="Parameters are not used",
            evidence=f"no gradient reaches {_names(step.unused)}, and the outputs do not change "
            "with them",
            action="Call these layers in forward, or leave them out of the model.",
            severity=Severity.WARNING,
        )
    return None


def _names(names: Sequence[str]) -> str:
    shown = [f"'{clean(name)}'" for name in names[:_MOST_NAMED]]
    n_others = len(names) - len(shown)
    return ", ".join(shown) + (f" and {n_others} more" if n_others else "")

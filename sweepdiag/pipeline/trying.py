"""Refusing a sweep whose trainings cannot even begin, before anything of it is recorded."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError, TrainingError, WorkloadError
from sweepdiag.rules.findings.sd904_outputs_not_expected import output_mistake
from sweepdiag.rules.findings.sd905_no_gradient import gradient_mistake
from sweepdiag.space import MEMBER_AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.pipeline.resolve import ResolvedSweep
    from sweepdiag.records import Plan, SweepFacts, Trial
    from sweepdiag.workloads import PreparedWorkload

__all__ = ["check_that_some_trial_begins"]

logger = logging.getLogger(__name__)

_OF_A_DEVICE = ("cuda", "device", "not implemented for")
"""What errors say of a model that was made for a GPU only."""


def check_that_some_trial_begins(sweep: ResolvedSweep, *, kind: str) -> ResolvedSweep:
    """Take the first step of the sweep's first, smallest and largest models, until one works.

    It is taken here and on the CPU, so not where trainings were asked to be kept apart from this
    process: under Ray, or with deadlines. A sweep of which only some trials fail is trained.

    Args:
        sweep: What is to be trained.
        kind: Where it will be: ``cpu`` or ``cuda``.

    Returns:
        The sweep with what the step told among its facts. A mistake that raises no error is
        warned of, so that nobody has to wait for the report.

    Raises:
        WorkloadError: If each of these models fails: what was done, where, and with which error.
    """
    from sweepdiag.training import check_first_step

    worker = sweep.worker
    is_apart = sweep.config.execution.executor == "ray" or bool(worker.deadlines)
    if worker.prepared is None or is_apart:
        return sweep
    failures: list[str] = []
    trials = _tried(sweep.plan)
    for trial in trials:
        try:
            step = check_first_step(trial, prepared=worker.prepared, settings=worker.settings)
        except TrainingError as error:
            if kind == "cuda" and any(word in str(error).lower() for word in _OF_A_DEVICE):
                logger.info("a step on the CPU says nothing of this model: %s", error)
                return sweep
            failures.append(str(error))
        else:
            _note_metric(trial, worker.prepared, monitor=sweep.config.monitor)
            facts = dataclasses.replace(sweep.facts, step=step)
            _warn_of_mistakes(facts)
            return dataclasses.replace(sweep, facts=facts)
    raise WorkloadError(_told(failures))


def _warn_of_mistakes(facts: SweepFacts) -> None:
    gradients = None if facts.step is None else gradient_mistake(facts.step)
    for code, mistake in (("SD904", output_mistake(facts)), ("SD905", gradients)):
        if mistake is not None:
            logger.warning("%s: %s: %s. %s", code, mistake.title, mistake.evidence, mistake.action)


def _note_metric(trial: Trial, prepared: PreparedWorkload, *, monitor: str) -> None:
    """Say that the task's metric is left out because outputs are not what it compares.

    Raises:
        ConfigError: If trials are to be ranked by it.
    """
    from sweepdiag.training import output_shape
    from sweepdiag.workloads import FittingMetric

    metric = prepared.metric_fn
    if not isinstance(metric, FittingMetric):
        return
    outputs, targets = output_shape(trial, prepared), tuple(prepared.train.targets.shape[1:])
    if metric.fits(outputs, targets):
        return
    if metric.task == "classification":
        why = f"accuracy needs one output per class, {metric.n_classes} of them"
    else:
        why = f"{metric.task} needs outputs of the targets' shape, {targets}"
    why = f"{why}, and outputs of a sample have shape {outputs}"
    own = "metric=function, metric_mode='max' or 'min' gives one of your own"
    if monitor == "val_metric":
        message = f"monitor must be val_loss, since no metric is measured: {why}; {own}"
        raise ConfigError(message)
    logger.warning("no metric is measured: %s; %s, metric=None none without this note", why, own)


def _tried(plan: Plan) -> list[Trial]:
    """Return the first trial, and those of the smallest and the largest values of its axes."""
    names = [axis.name for axis in plan.axes if axis.name not in MEMBER_AXES]

    def size(trial: Trial) -> tuple[float, ...]:
        values = (trial.axes[name] for name in names)
        return tuple(float(value) for value in values if isinstance(value, int | float))

    chosen = [plan.trials[0], min(plan.trials, key=size), max(plan.trials, key=size)]
    structures = {tuple(trial.axes[name] for name in names): trial for trial in reversed(chosen)}
    return list(reversed(structures.values()))


def _told(failures: Sequence[str]) -> str:
    n_tried = len(failures)
    tried = "the configuration that was" if n_tried == 1 else f"each of {n_tried} configurations"
    return f"the first training step fails in {tried} tried, so nothing was trained\n{failures[0]}"

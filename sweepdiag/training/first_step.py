"""The first step of a training, taken before a sweep begins: an error in it is every trial's.

Mistakes that raise no error are looked for as well: what outputs, loss and gradients tell is
recorded with the sweep. No model is kept. Models and samples come from streams of random numbers
of their own, so no curve depends on whether the step was taken.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import SweepdiagError, TrainingError
from sweepdiag.messages import clean_message, describe_error, is_users_file, place_of_error
from sweepdiag.records import StepFacts
from sweepdiag.training.idle_parameters import N_STEPS, idle_parameters
from sweepdiag.training.measures import EVALUATION_CHUNK
from sweepdiag.training.members import (
    build_model,
    check_model_outputs,
    common_timetable,
    model_arguments,
)
from sweepdiag.training.memory import is_out_of_memory
from sweepdiag.training.numerics import reproducible_cpu
from sweepdiag.training.output_kinds import (
    check_pairing,
    expected_outputs,
    ignored_classes,
    kind_of_outputs,
)
from sweepdiag.training.seeds import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from sweepdiag.records import TrainingSettings, Trial
    from sweepdiag.workloads import PreparedWorkload, Samples
    from sweepdiag.workloads.samples import Batch

__all__ = ["check_first_step"]

logger = logging.getLogger(__name__)

_MOST_SAMPLES = 16
"""Enough for a named loss, and cheap for any model; a loss of the user's own gets a minibatch."""
_MESSAGE_BYTES = 600
_NO_METRIC = (
    "If the metric does not fit what the model returns: give one of your own (metric=function, "
    "metric_mode='max' or 'min'), or metric=None for none."
)
_HINTS = {
    ("out of bounds", "out of range"): (
        "Class numbers must be below the number of outputs, and token ids below num_embeddings; "
        "both begin at 0."
    ),
    ("same dtype", "expected scalar type", "but found Double"): (
        "Inputs are float32 (integers: int64), so the model must be float32: leave .double() out."
    ),
    ("cannot be multiplied", "size mismatch", "must match", "batch_size", "weight of size"): (
        "Compare these shapes with what the layer or the loss expects."
    ),
}
"""What is usually wrong where an error has one of these words."""


def check_first_step(
    trial: Trial, *, prepared: PreparedWorkload, settings: TrainingSettings
) -> StepFacts | None:
    """Take the first step of a trial, but for the update, and measure as an evaluation would.

    A named loss gets a few samples only. Samples that cannot be read and memory that does not
    suffice are left for the training to report, which goes on without them. An error is told as
    a ``TrainingError``: what was done with which shapes, what was raised and where, and what is
    usually wrong then.

    Args:
        trial: Any trial of the sweep.
        prepared: The data, on the CPU.
        settings: How to train.

    Returns:
        What the step tells; ``None`` where samples or memory did not suffice.
    """
    own = prepared.to("cpu")  # a loss that is a module is a copy, and may change
    try:
        with reproducible_cpu(), seeded(trial.seed, "first step"):
            model = _built(trial, own)
            minibatches = _Minibatches(trial, own, settings)
            outputs = _take_step(model, minibatches, own)
            if own.named_loss is None or own.sample_metric_fn is None:
                _measure(model, own)
            return None if outputs is None else _step_facts(model, minibatches, own, outputs)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return None


def _built(trial: Trial, prepared: PreparedWorkload) -> torch.nn.Module:
    """Return a model of the trial whose outputs have been looked at.

    Raises:
        TrainingError: If it cannot be built, is not built anew each time, or cannot be trained.
    """
    arguments = [f"{name}={value!r}" for name, value in model_arguments(trial).items()]
    told = f"building the model with {', '.join(arguments) or 'no arguments'}"
    with _translated(told, prepared.model):
        model = build_model(trial, prepared)
        if model is build_model(trial, prepared):
            message = "model must build a fresh module each time, and returned one a second time"
            raise TrainingError(message)
        if not any(parameter.requires_grad for parameter in model.parameters()):
            message = (
                "model has no parameter to train: it has none at all, or requires_grad is False "
                "for each of them"
            )
            raise TrainingError(message)
    with _translated(_forward(prepared.train_eval.examples), prepared.model):
        check_model_outputs(model, prepared)
    return model


class _Minibatches:
    """The minibatches of a trial's first steps: of a named loss, a few samples of each."""

    def __init__(
        self, trial: Trial, prepared: PreparedWorkload, settings: TrainingSettings
    ) -> None:
        timetable = common_timetable([trial], prepared, settings)
        n_steps = min(N_STEPS, timetable.evaluations[-1])
        n_samples = timetable.batch_size if prepared.named_loss is None else _MOST_SAMPLES
        self._samples = prepared.train
        self._indices = timetable.indices(trial.seed, 0, n_steps)[:, :n_samples]
        self._first: Batch | None = None

    def first(self, model: torch.nn.Module) -> Batch | None:
        """Return the first step's, where the model is; ``None`` if it cannot be read."""
        if self._first is None:
            self._first = _read(self._samples, self._indices[0], model)
        return self._first

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, step: int) -> Batch:
        if step == 0 and self._first is not None:
            return self._first
        return self._samples.take(self._indices[step])


def _take_step(
    model: torch.nn.Module, minibatches: _Minibatches, prepared: PreparedWorkload
) -> torch.Tensor | None:
    """Go forward and backward with the first minibatch; return the outputs.

    Raises:
        TrainingError: If that fails, or compares outputs with the targets of others.
    """
    batch = minibatches.first(model)
    if batch is None:
        return None
    inputs, targets = batch
    model.train()
    with _translated(_forward(inputs), prepared.model):
        outputs: torch.Tensor = model(inputs)
    pair = f"outputs {_described(outputs)} and targets {_described(targets)}"
    blamed = prepared.loss_fn if prepared.named_loss is None else prepared.model
    with _translated(f"loss of {pair}", blamed):
        loss: Any = prepared.loss_fn(outputs, targets)
        _check_loss(loss)
        if prepared.named_loss is None and prepared.facts.task != "classification":
            mistake = check_pairing(prepared.loss_fn, outputs, targets)
            if mistake:
                raise TrainingError(mistake)
    with _translated(f"backward pass from the loss of {pair}", prepared.model):
        loss.backward()
    return outputs.detach()


def _step_facts(
    model: torch.nn.Module,
    minibatches: _Minibatches,
    prepared: PreparedWorkload,
    outputs: torch.Tensor,
) -> StepFacts | None:
    """Return what outputs, loss and gradients of a first step tell; the model changes.

    It may be asked for more than training asks of it. So no error in it is told.
    """
    batch = minibatches.first(model)
    if batch is None:
        return None
    model.train()
    try:
        expected = expected_outputs(prepared, outputs, batch[1])
        counts_signs = prepared.facts.task == "binary" and prepared.sample_metric_fn is not None
        is_asked = expected is not None or counts_signs
        return StepFacts(
            n_outputs=outputs[0].numel(),
            outputs=kind_of_outputs(model, batch[0], outputs) if is_asked else None,
            loss_expects=expected,
            metric_expects="logits" if counts_signs else None,
            ignored_classes=(
                ignored_classes(prepared, outputs, batch[1])
                if expected in {"logits", "log_probabilities"}
                else ()
            ),
            **idle_parameters(model, minibatches, prepared.loss_fn),
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise
        logger.debug("nothing is known of the first step: %s", error)
        return None


def _measure(model: torch.nn.Module, prepared: PreparedWorkload) -> None:
    """Measure loss and metric of the user's own as the first evaluation would."""
    import torch

    n_samples = min(EVALUATION_CHUNK, len(prepared.validation))
    batch = _read(prepared.validation, torch.arange(n_samples), model)
    if batch is None:
        return
    inputs, targets = batch
    model.eval()
    with torch.no_grad():
        with _translated(f"evaluation, {_forward(inputs)}", prepared.model):
            outputs = model(inputs)
        pair = f"outputs {_described(outputs)} and targets {_described(targets)}"
        with _translated(f"evaluation, loss of {pair}", prepared.loss_fn):
            prepared.loss_fn(outputs, targets)
        if prepared.metric_fn is not None:
            with _translated(f"metric of {pair}", prepared.metric_fn, hint=_NO_METRIC):
                float(prepared.metric_fn(outputs, targets))


def _read(
    samples: Samples, indices: torch.Tensor, model: torch.nn.Module
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return samples where the model's parameters are; ``None`` if they cannot be read."""
    device = next(model.parameters()).device
    try:
        inputs, targets = samples.take(indices)
    except Exception:  # noqa: BLE001 - the user's data set may raise anything; training tells it
        return None
    return inputs.to(device), targets.to(device)


def _check_loss(loss: object) -> None:
    """Refuse what no gradient can be taken of.

    Raises:
        TrainingError: If the loss is no single number that depends on a parameter.
    """
    import torch

    if not isinstance(loss, torch.Tensor):
        message = (
            f"loss must return a tensor with one number, got {type(loss).__name__}: .item() and "
            "float() cut it off from the model"
        )
        raise TrainingError(message)
    if loss.numel() != 1:
        message = (
            "loss must return the mean over the minibatch, one number, got shape "
            f"{tuple(loss.shape)}: leave reduction='none' out, or add .mean()"
        )
        raise TrainingError(message)
    if not loss.requires_grad:
        message = (
            "the loss does not depend on any parameter that requires a gradient: look for "
            "torch.no_grad(), .detach() or .item() in the model and in the loss"
        )
        raise TrainingError(message)


@contextlib.contextmanager
def _translated(doing: str, blamed: Callable[..., Any], *, hint: str = "") -> Iterator[None]:
    """Tell what was done when an error came up; memory that does not suffice is raised as it is.

    Args:
        doing: What is done.
        blamed: The user's function that does it, named where no line of it is known.
        hint: What to do about it; empty: what the error suggests.

    Yields:
        Nothing.

    Raises:
        TrainingError: For any other error of the block.
    """
    try:
        yield
    except BaseException as error:
        is_memory = isinstance(error, Exception) and is_out_of_memory(error)
        if is_memory or not isinstance(error, Exception | SystemExit):
            raise
        told = str(error) if isinstance(error, SweepdiagError) else describe_error(error)
        place = place_of_error(error) or _defined_at(blamed)
        lines = [
            f"{doing}: {clean_message(told, max_bytes=_MESSAGE_BYTES)}",
            f"at {place}" if place else "",
            hint or _hint(told),
        ]
        raise TrainingError("\n".join(line for line in lines if line)) from error


def _hint(told: str) -> str:
    """Return what is usually wrong where an error says so; empty if nothing is known."""
    return next((hint for words, hint in _HINTS.items() if any(w in told for w in words)), "")


def _forward(inputs: torch.Tensor) -> str:
    return f"forward pass of the model with inputs {_described(inputs)}"


def _described(value: torch.Tensor) -> str:
    """Return the shape and type of a tensor."""
    return f"of shape {tuple(value.shape)}, {str(value.dtype).removeprefix('torch.')}"


def _defined_at(function: object) -> str:
    """Return where a function or class of the user's is defined; empty if it is not known."""
    is_named = inspect.isroutine(function) or inspect.isclass(function)
    definition: Any = function if is_named else type(function)
    try:
        file = inspect.getsourcefile(definition) or ""
        line = inspect.getsourcelines(definition)[1]
    except (OSError, TypeError):
        return ""
    return f"{Path(file).name}:{line}" if is_users_file(file) else ""

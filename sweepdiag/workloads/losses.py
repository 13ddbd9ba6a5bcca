"""Losses, metrics, and what the best constant prediction reaches.

All losses and metrics return the mean over a batch and work under ``torch.func.vmap``.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ConfigError, WorkloadError, unknown_name
from sweepdiag.workloads.base import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import NDArray

    from sweepdiag.workloads.base import BatchFunction

__all__ = [
    "Baseline",
    "FittingMetric",
    "baseline",
    "check_outputs",
    "function_identity",
    "loss_floor",
    "loss_function",
    "loss_name",
    "metric_function",
    "sample_loss_function",
    "sample_metric_function",
]


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.cross_entropy(outputs, targets)


def _binary_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(_aligned(outputs, targets), targets)


def _mse(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.mse_loss(_aligned(outputs, targets), targets)


def _class_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    hits = (outputs.argmax(dim=1) == targets).to(outputs.dtype)
    return _mean_or_nan(hits, outputs)


def _binary_accuracy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    hits = ((_aligned(outputs, targets) > 0) == (targets > 0.5)).to(outputs.dtype)
    return _mean_or_nan(hits, outputs)


def _mae(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (_aligned(outputs, targets) - targets).abs().mean()


def _aligned(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return ``outputs`` in the shape of ``targets`` where they differ by a trailing 1 only.

    Without this, outputs ``(n, 1)`` and targets ``(n,)`` would be broadcast to ``(n, n)``.
    """
    if outputs.shape == (*targets.shape, 1) or targets.shape == (*outputs.shape, 1):
        return outputs.reshape(targets.shape)
    return outputs


def _mean_or_nan(hits: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Return the share of hits; NaN where any output is NaN, whose argmax means nothing."""
    import torch

    return torch.where(outputs.isnan().any(), torch.nan, hits.mean())


def _sample_cross_entropies(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # As functional.cross_entropy, but for its index to ignore, which costs a dozen operations in
    # a traced program and which targets of a named loss do not have.
    log_probabilities = outputs.log_softmax(dim=1)
    return -log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1)


def _sample_binary_cross_entropies(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.binary_cross_entropy_with_logits(
        _aligned(outputs, targets), targets, reduction="none"
    )


def _squared_errors(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    return functional.mse_loss(_aligned(outputs, targets), targets, reduction="none")


def _class_hits(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    # The largest output is NaN where any is.
    largest, classes = outputs.max(dim=1)
    return _hit_or_nan(classes == targets, largest)


def _binary_hits(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    outputs = _aligned(outputs, targets)
    return _hit_or_nan((outputs > 0) == (targets > 0.5), outputs)


def _absolute_errors(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (_aligned(outputs, targets) - targets).abs()


def _hit_or_nan(hits: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """Return 1 for hits and NaN for NaN outputs, so that a mean with any of them is NaN."""
    import torch

    return torch.where(outputs.isnan(), outputs, hits.to(outputs.dtype))


_LOSSES: dict[str, BatchFunction] = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "mse": _mse,
}
_SAMPLE_LOSSES: dict[str, BatchFunction] = {
    "cross_entropy": _sample_cross_entropies,
    "binary_cross_entropy": _sample_binary_cross_entropies,
    "mse": _squared_errors,
}
_SAMPLE_METRICS: dict[tuple[str, str], BatchFunction] = {
    ("classification", "accuracy"): _class_hits,
    ("binary", "accuracy"): _binary_hits,
    ("regression", "mae"): _absolute_errors,
}
_METRICS: dict[tuple[str, str], BatchFunction] = {
    ("classification", "accuracy"): _class_accuracy,
    ("binary", "accuracy"): _binary_accuracy,
    ("regression", "mae"): _mae,
}


def loss_function(source: Workload | str) -> BatchFunction:
    """Return a function of ``(outputs, targets)`` that gives the mean loss over the batch.

    Args:
        source: A workload, or the name of a loss.

    Returns:
        The function; the user's own where the workload brings one.

    Raises:
        ConfigError: If there is no loss of that name.
    """
    loss = source.resolved_loss() if isinstance(source, Workload) else source
    if not isinstance(loss, str):
        return loss
    if loss not in _LOSSES:
        raise ConfigError(unknown_name("loss", loss, _LOSSES))
    return _LOSSES[loss]


def metric_function(workload: Workload, *, n_classes: int = 0) -> BatchFunction | None:
    """Return a function of ``(outputs, targets)`` that gives the metric over the batch.

    Accuracy is NaN where any output is NaN: a diverged model has none.

    Args:
        workload: The workload.
        n_classes: How many classes its targets have.

    Returns:
        The function, or ``None`` where the workload has no metric.
    """
    metric = workload.resolved_metric()
    if not isinstance(metric, str):
        return metric
    function = _METRICS[workload.task, metric]
    return _where_it_fits(function, workload, n_classes, is_per_sample=False)


def _where_it_fits(
    function: BatchFunction, workload: Workload, n_classes: int, *, is_per_sample: bool
) -> BatchFunction:
    """Return a metric that nobody asked for by name as one that may be left out."""
    if workload.metric != "auto" or not callable(workload.loss):
        return function
    return FittingMetric(
        function=function, task=workload.task, n_classes=n_classes, is_per_sample=is_per_sample
    )


def sample_loss_function(loss: str | BatchFunction) -> BatchFunction | None:
    """Return a function of ``(outputs, targets)`` that gives the loss of each sample.

    Its mean is the mean loss, up to rounding; targets of several numbers have several losses.

    Args:
        loss: Name of a loss, or the user's own.

    Returns:
        The function; ``None`` for the user's own, which only gives means.
    """
    return _SAMPLE_LOSSES[loss] if isinstance(loss, str) else None


def sample_metric_function(workload: Workload, *, n_classes: int = 0) -> BatchFunction | None:
    """Return a function of ``(outputs, targets)`` that gives the metric of each sample.

    Args:
        workload: The workload.
        n_classes: How many classes its targets have.

    Returns:
        The function; ``None`` for the user's own, and where there is no metric.
    """
    metric = workload.resolved_metric()
    if not isinstance(metric, str):
        return None
    function = _SAMPLE_METRICS[workload.task, metric]
    return _where_it_fits(function, workload, n_classes, is_per_sample=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittingMetric:
    """A task's metric, left out where outputs are not what it compares with the targets.

    With a loss of the user's own outputs may be anything: embeddings, quantiles, several heads.
    The class of the largest of them then means nothing, and other shapes are broadcast or refused.

    Attributes:
        function: The metric, of a batch or of each sample.
        task: ``classification``, ``binary`` or ``regression``.
        n_classes: How many classes the targets have; 0 where they are no classes.
        is_per_sample: Whether the metric is that of each sample.
    """

    function: BatchFunction
    task: str
    n_classes: int
    is_per_sample: bool

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the metric; NaN where outputs and targets do not fit it."""
        import torch

        if self.fits(outputs.shape[1:], targets.shape[1:]):
            return self.function(outputs, targets)
        shape = outputs.shape[:1] if self.is_per_sample else ()
        return outputs.new_full(shape, torch.nan, dtype=torch.float32)

    def fits(self, outputs: Sequence[int], targets: Sequence[int]) -> bool:
        """Return whether the metric compares outputs and targets of these shapes of a sample."""
        sample, wanted = tuple(outputs), tuple(targets)
        if self.task == "classification":
            return not wanted and sample == (self.n_classes,)
        return sample == wanted or sample == (*wanted, 1) or wanted == (*sample, 1)


def loss_name(loss: str | BatchFunction) -> str:
    """Return the name of a loss or metric; ``custom`` for a callable without one."""
    if isinstance(loss, str):
        return loss
    name = getattr(loss, "__name__", type(loss).__name__)
    return "custom" if name in {"<lambda>", "partial"} else name


def loss_floor(workload: Workload, override: str | None = None) -> float | None:
    """Return the lowest value that the loss can take: 0 for named losses.

    Args:
        workload: The workload.
        override: Name of a loss from the sweep's settings.

    Returns:
        The floor; for a loss of the user's own what the workload says, or ``None``.
    """
    return 0.0 if isinstance(workload.resolved_loss(override), str) else workload.loss_floor


def function_identity(function: str | Callable[..., Any] | None) -> str:
    """Return a text that changes with a loss or metric and not with the process.

    Args:
        function: A name, a callable, or nothing.

    Returns:
        The name; for a function its qualified name and a hash of its source (of its byte code
        where the source is not known); for other callables their type and what they print.
    """
    if function is None or isinstance(function, str):
        return str(function)
    if not inspect.isroutine(function):
        text = repr(function)
        # The default repr holds a memory address, which is another one in every process.
        return f"{type(function).__qualname__}:{'' if ' at 0x' in text else text}"
    try:
        source = inspect.getsource(function).encode()
    except (OSError, TypeError):
        source = getattr(getattr(function, "__code__", None), "co_code", b"")
    return f"{function.__qualname__}:{hashlib.sha256(source).hexdigest()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What the best constant prediction reaches (the zero-rule baseline).

    Attributes:
        train_loss: On the training samples that are evaluated.
        val_loss: On the validation samples.
        metric: The metric on the validation samples.
    """

    train_loss: float | None
    val_loss: float | None
    metric: float | None


def baseline(
    task: str,
    train: NDArray[Any],
    train_eval: NDArray[Any],
    validation: NDArray[Any],
) -> Baseline:
    """Return the loss and metric of the constant prediction that fits the training targets best.

    The prediction is the class frequencies (classification, binary) or the mean (regression).
    Where validation has a class that training never showed, its frequency of 0 would make the
    loss infinite: the validation loss is then that of the frequencies with one count added per
    class (Laplace), and the training loss stays the entropy of the frequencies themselves.

    Args:
        task: ``classification``, ``binary`` or ``regression``.
        train: Targets of all training samples.
        train_eval: Targets of the training samples that are evaluated.
        validation: Targets of the validation samples.

    Returns:
        Cross-entropy in nats and accuracy, or squared and absolute error, of the task's named
        loss and metric.
    """
    functions = {
        "classification": _class_baseline,
        "binary": _binary_baseline,
        "regression": _mean_baseline,
    }
    return functions[task](train, train_eval, validation)


def _class_baseline(
    train: NDArray[Any], train_eval: NDArray[Any], validation: NDArray[Any]
) -> Baseline:
    classes = np.unique(np.concatenate([train.ravel(), validation.ravel()]))
    counts, eval_counts, val_counts = (
        np.bincount(np.searchsorted(classes, targets.ravel()), minlength=len(classes))
        for targets in (train, train_eval, validation)
    )
    return Baseline(
        train_loss=_mean_log_loss(counts, eval_counts),
        val_loss=_mean_log_loss(counts, val_counts),
        metric=float(val_counts[counts.argmax()] / val_counts.sum()),
    )


def _mean_log_loss(counts: NDArray[np.int64], evaluated: NDArray[np.int64]) -> float:
    """Return the cross-entropy of the frequencies of ``counts`` on the ``evaluated`` counts."""
    present = evaluated > 0
    if (counts[present] == 0).any():
        counts = counts + 1
    frequencies = counts[present] / counts.sum()
    return float(-(evaluated[present] * np.log(frequencies)).sum() / evaluated.sum()) + 0.0


def _binary_baseline(
    train: NDArray[Any], train_eval: NDArray[Any], validation: NDArray[Any]
) -> Baseline:
    """Average over the columns of the targets; each has its own constant."""
    columns = [
        _class_baseline(*(part.astype(np.int64) for part in parts))
        for parts in zip(
            *(_columns(part) for part in (train, train_eval, validation)), strict=True
        )
    ]
    return Baseline(
        train_loss=float(np.mean([column.train_loss for column in columns])),
        val_loss=float(np.mean([column.val_loss for column in columns])),
        metric=float(np.mean([column.metric for column in columns])),
    )


def _columns(targets: NDArray[Any]) -> NDArray[Any]:
    return targets.reshape(len(targets), -1).T


def _mean_baseline(
    train: NDArray[Any], train_eval: NDArray[Any], validation: NDArray[Any]
) -> Baseline:
    constant = train.mean(axis=0, dtype=np.float64)
    return Baseline(
        train_loss=float(np.square(train_eval - constant).mean()),
        val_loss=float(np.square(validation - constant).mean()),
        metric=float(np.abs(validation - constant).mean()),
    )


def check_outputs(task: str, outputs_shape: tuple[int, ...], targets: torch.Tensor) -> None:
    """Refuse a model whose outputs cannot be compared with the targets.

    On a GPU a class number beyond the outputs ends the process; here it is a message.

    Args:
        task: ``classification``, ``binary`` or ``regression``, with a named loss.
        outputs_shape: Shape of the model's outputs for a batch.
        targets: All targets (of any number of samples), for their shape and their largest class.

    Raises:
        WorkloadError: If the outputs have the wrong shape or too few classes.
    """
    sample, wanted = tuple(outputs_shape[1:]), tuple(targets.shape[1:])
    if task != "classification":
        if sample not in {wanted, (*wanted, 1)} and wanted != (*sample, 1):
            message = (
                f"model must return outputs of shape {_batch_shape(wanted)} as the "
                f"targets have, got {tuple(outputs_shape)}"
            )
            raise WorkloadError(message)
        return
    n_classes = int(targets.max()) + 1
    if len(sample) != 1 or sample[0] < n_classes:
        message = (
            f"model must return outputs of shape (n, n_classes) with n_classes of at least "
            f"{n_classes} (the largest target is {n_classes - 1}), got {tuple(outputs_shape)}"
        )
        raise WorkloadError(message)


def _batch_shape(sample: tuple[int, ...]) -> str:
    return f"(n, {', '.join(map(str, sample))})" if sample else "(n,)"

"""Operations that are taken member by member inside a fused step, so that every bit stays.

``vmap`` turns a layer norm, a batch norm or a convolution of many members into operations that
round unlike those of a single model, and refuses dropout. Here each of them calls, for one member
after the other, the very kernel that a single model calls; everything around them stays fused.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.training.dropout import dropout
from sweepdiag.training.graph_template import ANY_NUMBER, NotForAnyNumberError

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence

    import torch

    Function: TypeAlias = Callable[..., Sequence[torch.Tensor]]

__all__ = ["memberwise_mode"]


_N_DIFFERENTIABLE = 3
"""Arguments that have gradients come first: inputs, weight, bias."""


@dataclass(frozen=True, eq=False)
class _Operation:
    """A kernel and the kernel of its gradient.

    Attributes:
        forward: From the arguments to a tuple of tensors, of which the first is the result.
        backward: From which gradients are wanted, the gradient of the result, the first arguments
            (``n_kept`` of them) and the tuple without the result, which the model may change in
            place, to the gradients of inputs, weight and bias.
        is_elementwise: Whether all members are taken at once. Where that would round otherwise at
            the end of each member's part, the traced program sees to it.
        n_kept: How many of the arguments the gradient is taken from.
    """

    forward: Function
    backward: Function
    is_elementwise: bool = False
    n_kept: int = _N_DIFFERENTIABLE


def memberwise_mode() -> contextlib.AbstractContextManager[Any]:
    """Return a mode in which these operations are taken member by member under ``vmap``."""
    from torch.overrides import TorchFunctionMode

    replacements = _replacements()

    class Memberwise(TorchFunctionMode):
        def __torch_function__(
            self,
            function: Any,
            types: Any,
            args: tuple[Any, ...] = (),
            kwargs: dict[str, Any] | None = None,
        ) -> Any:
            del types
            return replacements.get(function, function)(*args, **(kwargs or {}))

    mode: contextlib.AbstractContextManager[Any] = Memberwise()
    return mode


@functools.cache
def _replacements() -> dict[Any, Callable[..., torch.Tensor]]:
    """Return what takes the place of PyTorch's functions, with the same arguments."""
    import torch
    from torch.nn import functional

    return {
        functional.layer_norm: _layer_norm,
        functional.group_norm: _group_norm,
        functional.batch_norm: _batch_norm,
        functional.dropout: dropout,
        functional.silu: _silu,
        functional.binary_cross_entropy_with_logits: _binary_cross_entropy,
        torch.conv1d: _convolution,
        torch.conv2d: _convolution,
        torch.conv3d: _convolution,
    }


# --- normalisation ---


def _layer_norm(
    input: torch.Tensor,  # noqa: A002 - arguments are called as PyTorch calls them
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    import torch

    aten, shape = torch.ops.aten, list(normalized_shape)

    def forward(x: torch.Tensor, w: Any, b: Any) -> Any:
        return aten.native_layer_norm(x, shape, w, b, eps)

    def backward(
        wanted: list[bool], gradient: torch.Tensor, x: torch.Tensor, w: Any, b: Any, outputs: Any
    ) -> Any:
        mean, scale = outputs
        return aten.native_layer_norm_backward(gradient, x, shape, mean, scale, w, b, wanted)

    return _apply(_Operation(forward, backward), input, weight, bias)


def _group_norm(
    input: torch.Tensor,  # noqa: A002
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    import torch

    aten = torch.ops.aten
    n, n_channels, *rest = input.shape
    sizes = (n, n_channels, math.prod(rest), num_groups)

    def forward(x: torch.Tensor, w: Any, b: Any) -> Any:
        return aten.native_group_norm(x.contiguous(), w, b, *sizes, eps)

    def backward(
        wanted: list[bool], gradient: torch.Tensor, x: torch.Tensor, w: Any, b: Any, outputs: Any
    ) -> Any:
        del b
        mean, scale = outputs
        return aten.native_group_norm_backward(
            gradient.contiguous(), x.contiguous(), mean, scale, w, *sizes, wanted
        )

    return _apply(_Operation(forward, backward), input, weight, bias)


def _batch_norm(
    input: torch.Tensor,  # noqa: A002
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    import torch

    aten = torch.ops.aten
    has_statistics = running_mean is not None and running_var is not None

    def forward(x: torch.Tensor, w: Any, b: Any, *running: Any) -> Any:
        if has_statistics:
            return aten._native_batch_norm_legit_functional(
                x, w, b, *running, training, momentum, eps
            )
        return aten._native_batch_norm_legit.no_stats(x, w, b, training, momentum, eps)

    def backward(
        wanted: list[bool], gradient: torch.Tensor, x: torch.Tensor, w: Any, b: Any, *rest: Any
    ) -> Any:
        del b
        *running, outputs = rest
        mean, scale = outputs[:2]
        means, variances = running or (None, None)
        return aten.native_batch_norm_backward(
            gradient, x, w, means, variances, mean, scale, training, eps, wanted
        )

    # Frozen, a batch norm takes its gradient from the running statistics. In training they have
    # no part in it, and change before it is taken.
    is_frozen = has_statistics and not training
    operation = _Operation(forward, backward, n_kept=5 if is_frozen else _N_DIFFERENTIABLE)
    if running_mean is None or running_var is None:
        return _apply(operation, input, weight, bias)
    result, _, _, new_mean, new_var = _outputs(
        operation, input, weight, bias, running_mean, running_var
    )
    if training:
        running_mean.copy_(new_mean)
        running_var.copy_(new_var)
    return result


# --- convolution ---


def _convolution(
    input: torch.Tensor,  # noqa: A002
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> torch.Tensor:
    import torch

    aten = torch.ops.aten
    n_dimensions = weight.dim() - 2

    def sizes(value: Any) -> list[int]:
        given = [value] if isinstance(value, int) else list(value)
        return given * n_dimensions if len(given) == 1 else given

    if padding == "valid":
        padding = 0
    elif padding == "same":
        added = [d * (k - 1) for d, k in zip(sizes(dilation), weight.shape[2:], strict=True)]
        if any(n % 2 for n in added):
            message = "cannot be split: padding='same' of a kernel of even size"
            raise NotImplementedError(message)
        padding = [n // 2 for n in added]
    settings = (sizes(stride), sizes(padding), sizes(dilation), False, [0] * n_dimensions, groups)

    def forward(x: torch.Tensor, w: torch.Tensor, b: Any) -> Any:
        return (aten.convolution(x, w, b, *settings),)

    def backward(
        wanted: list[bool], gradient: torch.Tensor, x: torch.Tensor, w: Any, b: Any, outputs: Any
    ) -> Any:
        del outputs
        bias_sizes = None if b is None else [len(w)]
        return aten.convolution_backward(gradient, x, w, bias_sizes, *settings, wanted)

    return _apply(_Operation(forward, backward), input, weight, bias)


# --- element by element ---


def _silu(input: torch.Tensor, inplace: bool = False) -> torch.Tensor:  # noqa: A002
    """Keep PyTorch's own gradient, of which ``vmap`` makes other operations."""
    import torch

    aten = torch.ops.aten

    def forward(x: torch.Tensor) -> Any:
        return (aten.silu(x),)

    def backward(wanted: Any, gradient: torch.Tensor, x: torch.Tensor, outputs: Any) -> Any:
        del wanted, outputs
        return (aten.silu_backward(gradient, x),)

    # Its gradient is taken from the input, which must not be what is written over.
    operation = _Operation(forward, backward, is_elementwise=True)
    result = _apply(operation, input.clone() if inplace else input)
    return input.copy_(result) if inplace else result


def _binary_cross_entropy(
    input: torch.Tensor,  # noqa: A002
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Keep PyTorch's own kernel and gradient, of which ``grad`` makes other operations."""
    import torch
    from torch.nn import functional

    is_plain = weight is None and pos_weight is None
    if reduction == "mean" and is_plain:
        call: Any = _mean_binary_cross_entropy().apply
        mean: torch.Tensor = call(input, target)
        return mean
    if reduction == "none" and is_plain:
        # Measured, not trained on.
        kernel = torch.ops.aten.binary_cross_entropy_with_logits.default
        operation = _Operation(
            lambda x, t: (kernel(x, t, None, None, 0),), _no_gradient, is_elementwise=True
        )
        return _apply(operation, input.detach(), target)
    return functional.binary_cross_entropy_with_logits(
        input, target, weight, size_average, reduce, reduction, pos_weight
    )


def _no_gradient(*_: Any) -> Any:
    message = "the gradient of this is never taken"
    raise NotImplementedError(message)


@functools.cache
def _mean_binary_cross_entropy() -> Any:
    import torch
    from torch.nn import functional

    class MeanBinaryCrossEntropy(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return functional.binary_cross_entropy_with_logits(inputs, targets)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            del output
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> Any:
            inputs, targets = ctx.saved_tensors
            return (inputs.sigmoid() - targets) * gradient / inputs.numel(), None

    return MeanBinaryCrossEntropy


# --- member by member ---


def _apply(operation: _Operation, *arguments: torch.Tensor | None) -> torch.Tensor:
    return _outputs(operation, *arguments)[0]


def _outputs(operation: _Operation, *arguments: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
    forward, _ = _functions()
    outputs: tuple[torch.Tensor, ...] = forward.apply(operation, *arguments)
    return outputs


@functools.cache
def _functions() -> tuple[Any, Any]:
    """Return an operation and its gradient as functions that ``vmap`` and ``grad`` know."""
    import torch

    class Backward(torch.autograd.Function):
        """From operation, wanted gradients, gradient, arguments and outputs to gradients."""

        @staticmethod
        def forward(
            operation: _Operation, wanted: list[bool], n_kept: int, gradient: Any, *tensors: Any
        ) -> Any:
            # A kernel has a place for each of the three, a bias that is not there included.
            mask = [*wanted, *[False] * (_N_DIFFERENTIABLE - len(wanted))]
            arguments, outputs = tensors[:n_kept], tensors[n_kept:]
            found = operation.backward(mask, gradient, *arguments, outputs)
            return tuple(g for g, is_wanted in zip(found, mask, strict=False) if is_wanted)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def vmap(
            info: Any,
            in_dims: Any,
            operation: _Operation,
            wanted: list[bool],
            n_kept: int,
            *tensors: Any,
        ) -> Any:
            function = functools.partial(Backward.forward, operation, wanted, n_kept)
            return _each(function, operation, info.batch_size, in_dims[3:], tensors)

    class Forward(torch.autograd.Function):
        @staticmethod
        def forward(operation: _Operation, *arguments: Any) -> Any:
            return tuple(operation.forward(*arguments))

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.operation, *arguments = inputs
            ctx.n_arguments = len(arguments)
            ctx.n_kept = min(len(arguments), ctx.operation.n_kept)
            ctx.save_for_backward(*arguments[: ctx.n_kept], *output[1:])
            ctx.mark_non_differentiable(*output[1:])

        @staticmethod
        def backward(ctx: Any, gradient: Any, *_: Any) -> Any:
            wanted = list(ctx.needs_input_grad[1 : 1 + _N_DIFFERENTIABLE])
            call: Any = Backward.apply
            found = iter(call(ctx.operation, wanted, ctx.n_kept, gradient, *ctx.saved_tensors))
            gradients = [next(found) if is_wanted else None for is_wanted in wanted]
            return (None, *gradients, *[None] * (ctx.n_arguments - len(wanted)))

        @staticmethod
        def vmap(info: Any, in_dims: Any, operation: _Operation, *arguments: Any) -> Any:
            return _each(operation.forward, operation, info.batch_size, in_dims[1:], arguments)

    return Forward, Backward


def _each(
    function: Function,
    operation: _Operation,
    n_members: int,
    dims: Sequence[int | None],
    arguments: Sequence[Any],
) -> tuple[tuple[torch.Tensor, ...], tuple[int, ...]]:
    """Return a function's outputs for each member, stacked, and the dimension of the members.

    Raises:
        NotForAnyNumberError: If a program for any number of members is being traced.
    """
    import torch

    if operation.is_elementwise and all(dim == 0 for dim in dims):
        outputs = tuple(function(*arguments))
        return outputs, (0,) * len(outputs)
    if n_members == ANY_NUMBER:
        raise NotForAnyNumberError
    of_members = [
        [argument] * n_members if dim is None else argument.unbind(dim)
        for argument, dim in zip(arguments, dims, strict=True)
    ]
    rows = [function(*row) for row in zip(*of_members, strict=True)]
    outputs = tuple(torch.stack(parts) for parts in zip(*rows, strict=True))
    return outputs, (0,) * len(outputs)

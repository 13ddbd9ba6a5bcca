"""Max pooling over windows that do not overlap, in traced programs on the CPU.

PyTorch's kernel looks at one number at a time, unless channels lie innermost in memory. Here the
numbers at the same place of all windows are compared at once: eleven times as fast for windows of
2 by 2 on one core. With the gradient it is twice as fast: PyTorch keeps the places of the largest
numbers, and here they are found again.

Results are those of PyTorch's kernel, where a window has several largest numbers as well: the
gradient goes to the first one. Two things differ, which nothing that is learned can depend on: the
sign of a zero, where zeros of both signs are the largest; and where in a window with NaN the
gradient goes.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.training.graph_nodes import behind_views, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from sweepdiag.training.graph_nodes import Graph, Node

__all__ = ["gradient_of_windows", "largest_of_windows", "pool_by_slices"]

Window: TypeAlias = "tuple[int, int]"
"""Rows and columns."""

_MOST_PLACES = 16
"""Places of a window, each of which is a pass over all windows."""
_MOST_AT_ONCE = 2**18
"""Numbers that are pooled at a time, so that all passes find them in the cache."""


def pool_by_slices(graph: Graph) -> None:
    """Replace PyTorch's max pooling where windows do not overlap, and its gradient.

    Belongs before results are written into arguments that nobody needs afterwards: the gradient
    needs the largest numbers, not only their places.
    """
    import torch

    backward = torch.ops.aten.max_pool2d_with_indices_backward.default
    gradients = [node for node in graph.nodes if node.target is backward]
    for node in graph.nodes:
        window = _window(node)
        if window is None:
            continue
        with graph.inserting_after(node):
            largest = graph.call_function(largest_of_windows, (node.args[0], window))
        largest.meta["val"] = value_of(node)[0]
        for user in list(node.users):
            if user.args[1] == 0:
                user.replace_all_uses_with(largest)
        for user in gradients:
            # Through views: members are taken apart and put together on the way.
            places, inputs = behind_views(user.args[-1]), user.args[1]
            if inputs is node.args[0] and places in node.users:
                with graph.inserting_before(user):
                    gradient = graph.call_function(
                        gradient_of_windows, (user.args[0], inputs, largest, window)
                    )
                gradient.meta = user.meta
                user.replace_all_uses_with(gradient)
    # Where the places are needed for something else, PyTorch's kernel stays as well.
    graph.eliminate_dead_code()


def _window(node: Node) -> Window | None:
    """Return the window of a pooling that can be replaced."""
    import torch

    if node.target is not torch.ops.aten.max_pool2d_with_indices.default:
        return None
    if any(user.target is not operator.getitem for user in node.users):
        return None
    kernel, stride, padding, dilation, is_ceiled = _settings(*node.args[1:])
    is_plain = stride in ([], kernel) and not any(padding) and set(dilation) == {1}
    is_float32 = value_of(node)[0].dtype is torch.float32
    if is_plain and is_float32 and not is_ceiled and kernel[0] * kernel[1] <= _MOST_PLACES:
        return kernel[0], kernel[1]
    return None


def _settings(
    kernel: Any,
    stride: Any = (),
    padding: Any = (0,),
    dilation: Any = (1,),
    is_ceiled: Any = False,
) -> tuple[list[int], list[int], list[int], list[int], bool]:
    """Return the settings of a pooling in full: PyTorch leaves out the last ones, or doubles."""
    pairs = [list(numbers) * (2 if len(numbers) == 1 else 1) for numbers in (kernel, stride)]
    return pairs[0], pairs[1], list(padding), list(dilation), bool(is_ceiled)


def largest_of_windows(inputs: torch.Tensor, window: Window) -> torch.Tensor:
    """Return the largest number of each window, NaN if there is one.

    Args:
        inputs: Shape ``(n, …, height, width)``, float32; what fills no window is left out.
        window: Size of the windows, which touch each other.
    """
    rows, columns = window
    height, width = _covered(inputs, window)
    shape = (*inputs.shape[:-2], height // rows, width // columns)
    largest = inputs.new_empty(shape)
    for part, of_part in _parts(inputs, largest):
        lines = _largest([part[..., row:height:rows, :] for row in range(rows)])
        of_part.copy_(_largest([lines[..., column:width:columns] for column in range(columns)]))
    return largest


def gradient_of_windows(
    gradients: torch.Tensor, inputs: torch.Tensor, largest: torch.Tensor, window: Window
) -> torch.Tensor:
    """Return the gradient with regard to the inputs: each window's goes to its largest number.

    Args:
        gradients: With regard to ``largest``, of the same shape.
        inputs: What was pooled.
        largest: What :func:`largest_of_windows` returned.
        window: Size of the windows.
    """
    import torch

    rows, columns = window
    height, width = _covered(inputs, window)
    # As bits, since what is not selected becomes zero by a mask, whatever it is.
    result = torch.zeros_like(inputs, dtype=torch.int32)
    bits = gradients.contiguous().view(torch.int32)
    *first, last = itertools.product(range(rows), range(columns))
    for part, of_largest, of_bits, of_result in _parts(inputs, largest, bits, result):
        left, mask = of_bits.clone(), torch.empty_like(of_bits)
        for row, column in first:
            numbers = part[..., row:height:rows, column:width:columns].contiguous()
            torch.eq(numbers, of_largest, out=mask)
            mask.neg_().bitwise_and_(left)
            of_result[..., row:height:rows, column:width:columns] = mask
            left.bitwise_xor_(mask)
        row, column = last
        of_result[..., row:height:rows, column:width:columns] = left
    return result.view(torch.float32)


def _largest(tensors: list[torch.Tensor]) -> torch.Tensor:
    import torch

    largest, *others = tensors
    for other in others:
        largest = torch.maximum(largest, other)
    return largest


def _covered(inputs: torch.Tensor, window: Window) -> tuple[int, int]:
    """Return the height and the width that whole windows fill."""
    rows, columns = window
    height, width = inputs.shape[-2:]
    return height // rows * rows, width // columns * columns


def _parts(inputs: torch.Tensor, *others: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Yield parts of tensors that share their first dimension, as many numbers as fit at once."""
    n = len(inputs)
    step = max(1, _MOST_AT_ONCE * n // max(inputs.numel(), 1))
    for start in range(0, n, step):
        yield tuple(tensor[start : start + step] for tensor in (inputs, *others))

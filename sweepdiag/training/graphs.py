"""A function of tensors, traced once into a flat list of operations that is cheaper to run.

``vmap`` and ``grad`` interpret a model anew at each step, which for small models costs more than
its arithmetic. The traced program calls the same kernels in the same order; the passes over it
leave out operations that do nothing, compute constants once, and reuse memory. None of them
changes a bit of the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.training.graph_cleanup import (
    fold_constants,
    remove_identities,
    remove_repetitions,
    reuse_memory,
)
from sweepdiag.training.graph_exactness import (
    add_biases_first,
    take_odd_sizes_one_by_one,
    take_short_softmax_by_columns,
    take_small_products_one_by_one,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from sweepdiag.training.graph_nodes import Graph

    Program: TypeAlias = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["trace"]


def trace(
    function: Callable[..., Sequence[torch.Tensor]],
    *inputs: torch.Tensor,
    replacements: Mapping[Any, Callable[..., Any]] | None = None,
    is_exact: bool = True,
) -> Program:
    """Return a program that computes what ``function`` does for inputs laid out like these.

    Args:
        function: Takes tensors, returns a sequence of tensors.
        replacements: Functions that the program calls in place of operations, by operation.
        is_exact: Whether to take what would round otherwise on the CPU member by member.
        inputs: Examples; neither read nor changed, only their shapes, strides and types count.

    Returns:
        The program. It takes the same inputs and returns a tuple. Whatever an operation that
        cannot be traced raises, such as a decision that depends on the data, is raised as it is.
    """
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad():
        module = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)(*inputs)
    graph = module.graph
    add_biases_first(graph)
    remove_identities(graph)
    remove_repetitions(graph)
    fold_constants(module)
    reuse_memory(graph)
    if inputs[0].device.type == "cpu":
        take_short_softmax_by_columns(module)
        if is_exact:
            take_small_products_one_by_one(graph)
            take_odd_sizes_one_by_one(graph, n_members=len(inputs[0]))
    # Before the last pass, after which in-place operations are not known as such any more.
    graph.eliminate_dead_code()
    _call_directly(graph, replacements or {})
    module.recompile()
    program: Program = module.forward
    return program


def _call_directly(graph: Graph, replacements: Mapping[Any, Callable[..., Any]]) -> None:
    """Call the most frequent operations by PyTorch's own Python functions, which is quicker."""
    import torch

    aten = torch.ops.aten
    direct: dict[Any, Callable[..., Any]] = {
        aten.bmm.default: torch.bmm,
        aten.baddbmm.default: torch.baddbmm,
        aten.gather.default: torch.gather,
        aten.relu.default: torch.relu,
        aten.relu_.default: torch.relu_,
        aten.transpose.int: torch.transpose,
        aten.unsqueeze.default: torch.unsqueeze,
        aten.view.default: torch.Tensor.view,
        aten.add.Tensor: torch.add,
        aten.add_.Tensor: torch.Tensor.add_,
        aten.mul.Tensor: torch.mul,
        aten.mul_.Tensor: torch.Tensor.mul_,
        **replacements,
    }
    for node in graph.nodes:
        node.target = direct.get(node.target, node.target)

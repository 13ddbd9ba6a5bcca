"""Passes that make a traced program round as a single model does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sweepdiag.training.graph_nodes import behind_views, value_of
from sweepdiag.training.numerics import (
    biased_products_one_by_one,
    gradient_from_columns,
    has_exact_columns,
    has_remainder,
    log_softmax_columns,
    member_by_member,
    picked_from_columns,
    products_one_by_one,
    rounds_unlike_alone,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from sweepdiag.training.graph_nodes import Graph, Node

__all__ = [
    "add_biases_first",
    "take_odd_sizes_one_by_one",
    "take_short_softmax_by_columns",
    "take_small_products_one_by_one",
]

_ROUNDED_BY_PLACE = frozenset(
    {
        "binary_cross_entropy_with_logits", "celu", "elu", "elu_backward", "exp", "expm1", "gelu",
        "gelu_backward", "log", "log1p",
        "log_sigmoid_backward", "mish", "mish_backward", "pow", "reciprocal", "rsqrt", "sigmoid",
        "sigmoid_backward", "silu", "silu_backward", "softplus", "softplus_backward", "tanh",
        "tanh_backward",
    }
)  # fmt: skip
"""Element-wise functions whose scalar code may round unlike their vector code."""


def add_biases_first(graph: Graph) -> None:
    """Add a linear layer's bias as a single model does: before the products, not after them.

    ``vmap`` takes ``addmm`` apart into a product and a sum. A product whose inner dimension is too
    long for one block is summed block by block, on top of the bias; added last, it rounds
    otherwise.
    """
    import torch

    aten = torch.ops.aten
    for node in graph.nodes:
        if node.target is not aten.add.Tensor or node.kwargs or len(node.args) != 2:
            continue
        product, bias = (behind_views(argument) for argument in node.args[::-1])
        # The factor beta of addmm; a sum that the user wrote has none.
        is_addmm = (
            getattr(product, "target", None) is aten.bmm.default
            and getattr(bias, "target", None) is aten.mul.Scalar
            and bias.args[1] == 1
            and value_of(bias).dim() == 2
        )
        n_rows, n_columns = value_of(node).shape[0], value_of(node).shape[-1]
        if not is_addmm or value_of(bias).shape != (n_rows, n_columns):
            continue
        if value_of(product).shape != value_of(node).shape:
            continue
        with graph.inserting_before(node):
            row = graph.call_function(aten.unsqueeze.default, (bias.args[0], 1))
            row.meta["val"] = value_of(bias).unsqueeze(1)
            total = graph.call_function(aten.baddbmm.default, (row, *product.args))
        total.meta = node.meta
        node.replace_all_uses_with(total)
        graph.erase_node(node)


def take_small_products_one_by_one(graph: Graph) -> None:
    """Compute as a single model would what PyTorch's batched product rounds unlike that."""
    import torch

    one_by_one = {
        torch.ops.aten.bmm.default: products_one_by_one,
        torch.ops.aten.baddbmm.default: biased_products_one_by_one,
    }
    for node in graph.nodes:
        if node.target not in one_by_one:
            continue
        left, right = (value_of(argument) for argument in node.args[-2:])
        if rounds_unlike_alone(left.shape, right.shape):
            node.target = one_by_one[node.target]


def take_odd_sizes_one_by_one(graph: Graph, *, n_members: int) -> None:
    """Compute as a single model would what rounds otherwise at the end of a tensor.

    PyTorch's kernels take whole vector registers of numbers, and what is left over with scalar
    code, which for some functions rounds otherwise. What is left over for one member lies in the
    middle for all of them.
    """
    import torch

    for node in graph.nodes:
        name = str(node.target).removeprefix("aten.").partition(".")[0]
        value = value_of(node)
        if name not in _ROUNDED_BY_PLACE or not isinstance(value, torch.Tensor):
            continue
        is_of_members = value.dim() > 0 and len(value) == n_members
        if is_of_members and has_remainder(value):
            node.args = (node.target, n_members, *node.args)
            node.target = member_by_member


def take_short_softmax_by_columns(root: torch.nn.Module, graph: Graph) -> None:
    """Compute a cross-entropy over a few classes in the layout that PyTorch is fast for."""
    import torch

    aten = torch.ops.aten
    for node in graph.nodes:
        if node.target is not aten._log_softmax.default or not _is_over_short_rows(node):
            continue
        picked = [user for user in node.users if _picks_classes(user, node)]
        gradients = [user for user in node.users if user not in picked]
        weights = [_uniform_weight(root, user, picked) for user in gradients]
        if len(picked) != 1 or None in weights:
            continue
        classes = picked[0].args[2].args[0]
        with graph.inserting_before(node):
            columns = graph.call_function(log_softmax_columns, (node.args[0],))
        with graph.inserting_before(picked[0]):
            entries = graph.call_function(picked_from_columns, (columns, classes))
        entries.meta = picked[0].meta
        picked[0].replace_all_uses_with(entries)
        for user, weight in zip(gradients, weights, strict=True):
            with graph.inserting_before(user):
                gradient = graph.call_function(gradient_from_columns, (columns, classes, weight))
            gradient.meta = user.meta
            user.replace_all_uses_with(gradient)
    graph.eliminate_dead_code()


def _is_over_short_rows(node: Node) -> bool:
    import torch

    value, dim = value_of(node), node.args[1]
    is_last = dim in {-1, value.dim() - 1}
    return is_last and value.dtype == torch.float32 and has_exact_columns(value.shape[-1])


def _picks_classes(node: Node, rows: Node) -> bool:
    """Return whether a node gathers one entry of each row, by ``classes.unsqueeze(-1)``."""
    import torch

    aten = torch.ops.aten
    if node.target is not aten.gather.default or node.args[0] is not rows:
        return False
    places, last = node.args[2], value_of(rows).dim() - 1
    return (
        node.args[1] in {-1, last}
        and getattr(places, "target", None) is aten.unsqueeze.default
        and places.args[1] in {-1, last}
        and value_of(places).shape[:-1] == value_of(rows).shape[:-1]
    )


def _uniform_weight(root: torch.nn.Module, node: Node, picked: Sequence[Node]) -> float | None:
    """Return the gradient of all picked entries if a node takes the gradient from just that."""
    import torch

    aten = torch.ops.aten
    if node.target is not aten._log_softmax_backward_data.default or len(picked) != 1:
        return None
    scattered = node.args[0]
    if getattr(scattered, "target", None) is not aten.scatter_add.default:
        return None
    zeros, dim, places, weights = scattered.args
    if places is not picked[0].args[2] or dim != picked[0].args[1]:
        return None
    if zeros.op != "get_attr" or weights.op != "get_attr":
        return None
    base, values = getattr(root, zeros.target), getattr(root, weights.target)
    if base.any() or not bool((values == values.flatten()[0]).all()):
        return None
    return float(values.flatten()[0])

"""Passes that make a traced program cheaper: leave out, compute once, reuse memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweepdiag.training.graph_nodes import is_alike, is_view, schema_of, unsafe_nodes, value_of

if TYPE_CHECKING:
    import torch

    from sweepdiag.training.graph_nodes import Graph, Node

__all__ = ["fold_constants", "remove_identities", "remove_repetitions", "reuse_memory"]

_LARGEST_CONSTANT = 2**22
"""Numbers; a larger tensor is made anew at each step instead of being kept for good."""


def remove_identities(graph: Graph) -> None:
    """Leave out what returns its first argument as it is."""
    import torch

    aten = torch.ops.aten
    aliases = {
        aten.alias.default,
        aten.detach.default,
        aten.expand.default,
        aten.permute.default,
        aten.view.default,
        aten._unsafe_view.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
    }
    copies = {aten._to_copy.default, aten.clone.default}
    unsafe = unsafe_nodes(graph)
    for node in graph.nodes:
        if node.op != "call_function" or not node.args:
            continue
        source = node.args[0]
        is_same = node.target in aliases and is_alike(node, source)
        if node.target in copies | {aten.mul.Scalar}:
            # A copy is one only as long as nobody writes into either.
            does_nothing = node.target in copies or node.args[1] == 1
            is_same = does_nothing and node not in unsafe and is_alike(node, source)
        if node.target is aten.transpose.int and _undoes(node, source):
            source, is_same = source.args[0], True
        if is_same:
            node.replace_all_uses_with(source)
            graph.erase_node(node)
    graph.eliminate_dead_code()


def _undoes(node: Node, source: Any) -> bool:
    return getattr(source, "target", None) is node.target and set(node.args[1:]) == set(
        source.args[1:]
    )


def remove_repetitions(graph: Graph) -> None:
    """Compute once what is computed from the same arguments more than once."""
    seen: dict[Any, Node] = {}
    unsafe = unsafe_nodes(graph)
    for node in graph.nodes:
        if node.op != "call_function" or schema_of(node) is None or node in unsafe:
            continue
        key = (node.target, _hashable(node.args), _hashable(node.kwargs))
        if key in seen:
            node.replace_all_uses_with(seen[key])
            graph.erase_node(node)
        else:
            seen[key] = node


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((name, _hashable(item)) for name, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_hashable(item) for item in value)
    # 1 and 1.0 and True are equal, but not the same argument.
    return (type(value), value)


def fold_constants(root: torch.nn.Module, graph: Graph) -> None:
    """Compute once, now, what depends on shapes alone, and have the root hold it."""
    import torch

    constants: dict[Node, Any] = {}
    unsafe = unsafe_nodes(graph)
    for node in graph.nodes:
        # A tensor that the model closes over (get_attr) may be changed by whoever else holds it.
        if node.op != "call_function" or schema_of(node) is None or node in unsafe:
            continue
        if (
            not isinstance(value_of(node), torch.Tensor)
            or value_of(node).numel() > _LARGEST_CONSTANT
        ):
            continue
        sources = node.all_input_nodes
        if _depends_on_shape_only(node):
            like = value_of(sources[0])
            example = torch.empty_strided(
                like.shape, like.stride(), dtype=like.dtype, device=like.device
            )
            constants[node] = node.target(example, *node.args[1:], **node.kwargs)
        elif all(source in constants for source in sources):
            args, kwargs = torch.fx.map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = node.target(*args, **kwargs)
    for index, (node, constant) in enumerate(constants.items()):
        is_needed = any(user not in constants for user in node.users)
        if not is_needed:
            continue
        name = f"_constant{index}"
        root.register_buffer(name, constant)
        with graph.inserting_before(node):
            replacement = graph.get_attr(name)
        replacement.meta = node.meta
        node.replace_all_uses_with(replacement)
    graph.eliminate_dead_code()


def _depends_on_shape_only(node: Node) -> bool:
    import torch

    aten = torch.ops.aten
    makers = {
        aten.ones_like.default,
        aten.zeros_like.default,
        aten.full_like.default,
        aten.new_zeros.default,
        aten.new_ones.default,
        aten.new_full.default,
    }
    return node.target in makers and len(node.all_input_nodes) == 1


def reuse_memory(graph: Graph) -> None:
    """Write results into arguments that nobody needs afterwards."""
    import torch

    aten = torch.ops.aten
    in_place = {
        aten.add.Tensor: aten.add_.Tensor,
        aten.mul.Tensor: aten.mul_.Tensor,
        aten.sub.Tensor: aten.sub_.Tensor,
        aten.div.Tensor: aten.div_.Tensor,
        aten.neg.default: aten.neg_.default,
        aten.relu.default: aten.relu_.default,
    }
    unsafe = unsafe_nodes(graph)
    for node in graph.nodes:
        if node.target not in in_place or node in unsafe:
            continue
        if node.target is aten.add.Tensor and not node.kwargs and len(node.args) == 2:
            first, second = node.args
            # Adding commutes, bit for bit.
            if not _is_free(node, first) and _is_free(node, second):
                node.args = (second, first)
        if _is_free(node, node.args[0]):
            node.target = in_place[node.target]


def _is_free(node: Node, argument: Any) -> bool:
    """Return whether the node may overwrite an argument: fresh memory that it alone reads."""
    if not is_alike(node, argument) or list(argument.users) != [node]:
        return False
    if sum(other is argument for other in node.args) > 1:
        return False
    base = argument
    while is_view(base):
        base = base.args[0]
        if base.op != "call_function" or len(base.users) != 1:
            return False
    return base.op == "call_function" and _is_dense(argument)


def _is_dense(node: Node) -> bool:
    """Return whether no two elements share memory, as they do in an expanded tensor."""
    import torch

    value = value_of(node)
    return isinstance(value, torch.Tensor) and all(
        stride != 0 or size == 1 for size, stride in zip(value.shape, value.stride(), strict=True)
    )

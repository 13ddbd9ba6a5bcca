"""What is known of the nodes of a traced program: shapes, views, memory."""

from __future__ import annotations

import operator
from typing import Any, TypeAlias

# torch.fx types what a node may be given as a union of two dozen types.
Graph: TypeAlias = Any
GraphModule: TypeAlias = Any
Node: TypeAlias = Any

__all__ = [
    "Graph",
    "GraphModule",
    "Node",
    "behind_views",
    "is_alike",
    "is_view",
    "memory_of",
    "schema_of",
    "unsafe_nodes",
    "value_of",
]


def schema_of(node: Node) -> Any:
    """Return what PyTorch says of a node's operation; ``None`` for plain functions."""
    return getattr(node.target, "_schema", None)


def is_view(node: Node) -> bool:
    """Return whether a node's result shares memory with its first argument."""
    if node.op != "call_function":
        return False
    schema = schema_of(node)
    if schema is None:
        return node.target is operator.getitem
    # It does share memory, whatever its schema says.
    is_unsafe_view = str(node.target) == "aten._unsafe_view.default"
    return is_unsafe_view or any(result.alias_info is not None for result in schema.returns)


def memory_of(node: Node) -> Node:
    """Return the node that made the memory in which a node's result lies."""
    while is_view(node):
        node = node.all_input_nodes[0]
    return node


def value_of(node: Any) -> Any:
    """Return what is known of a node's result: a tensor with a shape but without numbers."""
    return node.meta.get("val") if hasattr(node, "meta") else None


def is_alike(node: Node, other: Any) -> bool:
    """Return whether two results have the same shape, type, strides and device."""
    import torch

    a, b = value_of(node), value_of(other)
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return False
    return (a.shape, a.dtype, a.stride(), a.device) == (b.shape, b.dtype, b.stride(), b.device)


def unsafe_nodes(graph: Graph) -> set[Node]:
    """Return the nodes that passes must leave as they are.

    These are random operations, and whatever reads or writes memory that an in-place operation
    changes: what it finds there depends on when it is computed.
    """
    import torch

    written: set[Node] = set()
    for node in graph.nodes:
        schema = schema_of(node)
        if schema is not None and schema.is_mutable:
            for argument, spec in zip(node.args, schema.arguments, strict=False):
                if spec.alias_info is not None and spec.alias_info.is_write:
                    written.add(memory_of(argument))
    return {
        node
        for node in graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        or any(memory_of(other) in written for other in (node, *node.all_input_nodes))
    }


def behind_views(node: Any) -> Any:
    """Return what a node shows in another shape."""
    import torch

    views = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}
    while getattr(node, "target", None) in views:
        node = node.args[0]
    return node

"""A digest of a traced program: the same for the same operations on tensors laid out alike.

On one processor, with one build of PyTorch, such programs call the same kernels in the same order
on the same shapes, and so round alike.
"""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING, Any

from sweepdiag.training.described import described_tensor

if TYPE_CHECKING:
    import torch

    from sweepdiag.training.graph_nodes import Graph, Node

__all__ = ["graph_digest"]


def graph_digest(root: torch.nn.Module, graph: Graph) -> str:
    """Return SHA-256 over a graph's operations, arguments, results' layouts and constants.

    Args:
        root: Holds the constants, whose numbers count as well.
        graph: The program; names of its nodes do not count.
    """
    import torch

    places = {node: place for place, node in enumerate(graph.nodes)}
    digest = hashlib.sha256()
    for node in places:
        arguments = torch.fx.node.map_arg(
            (node.args, node.kwargs), lambda source: _Place(places[source])
        )
        parts = (node.op, _target(root, node), arguments, _layout(node.meta.get("val")))
        digest.update(repr(parts).encode())
    return digest.hexdigest()


class _Place(int):
    """Where a result comes from; printed unlike a number."""

    def __repr__(self) -> str:
        return f"%{int(self)}"


def _target(root: torch.nn.Module, node: Node) -> str:
    import torch

    if node.op == "get_attr":
        held = operator.attrgetter(str(node.target))(root)
        return described_tensor(held) if isinstance(held, torch.Tensor) else repr(held)
    if node.op != "call_function":
        return "" if node.op in {"placeholder", "output"} else str(node.target)
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target)
    name = getattr(node.target, "__qualname__", None)
    return str(node.target) if name is None else f"{node.target.__module__}.{name}"


def _layout(value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.stride(), str(value.dtype), value.device.type
    if isinstance(value, list | tuple):
        return tuple(_layout(item) for item in value)
    return repr(value)

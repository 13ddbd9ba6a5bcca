"""Programs for any number of members from one trace.

Tracing costs as much as some hundred steps, and a pack changes its width whenever members drop
out. So a function is traced once for a number of members that occurs nowhere else, a large prime:
wherever a multiple of it stands in the program, a number of members is meant. The tensors traced
with have no memory, so their size costs nothing.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from sweepdiag.training.graph_nodes import Graph, GraphModule, Node

__all__ = ["ANY_NUMBER", "NotForAnyNumberError", "Template"]

ANY_NUMBER = 1_000_003
"""Stands for the number of members while a template is traced."""


class NotForAnyNumberError(Exception):
    """The program has a part per member, so each number of them has to be traced by itself."""


class Template:
    """A function of stacked tensors, traced for no particular number of members."""

    def __init__(
        self,
        function: Callable[..., Sequence[torch.Tensor]],
        *inputs: torch.Tensor,
        n_stacked: int,
    ) -> None:
        """Trace a function.

        Args:
            function: Takes tensors, returns a sequence of tensors.
            inputs: Examples; only their shapes, strides and types count.
            n_stacked: How many of the inputs, the first ones, have the members as their first
                dimension.

        A program with a part per member raises ``NotForAnyNumberError``, or PyTorch's own error
        where it is ``vmap`` that goes through the members.
        """
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        with self._mode:
            without_memory = [
                torch.empty_strided(
                    (ANY_NUMBER, *x.shape[1:]) if place < n_stacked else x.shape,
                    x.stride(),
                    dtype=x.dtype,
                    device=x.device,
                )
                for place, x in enumerate(inputs)
            ]
        with _no_loops_over_members():
            self._module = trace_module(function, *without_memory)

    def program(self, n_members: int) -> tuple[torch.nn.Module, Graph]:
        """Return the program of a number of members.

        Args:
            n_members: At least 2; the layout of a single member is not that of many.

        Returns:
            What the program closes over, and its graph, whose nodes know the shapes of their
            results.
        """
        import torch

        graph = torch.fx.Graph()
        resize = _Resizing(self._mode, n_members)
        output = graph.graph_copy(self._module.graph, {})
        graph.output(output)
        for node in graph.nodes:
            node.args, node.kwargs = (
                torch.fx.node.map_aggregate(arguments, lambda n: _for_members(n, n_members))
                for arguments in (node.args, node.kwargs)
            )
            resize(node)
        root = torch.nn.Module()
        for node in graph.nodes:
            if node.op == "get_attr":
                setattr(root, node.target, getattr(self._module, node.target))
        return root, graph


class _Resizing:
    """Tells nodes the shapes of their results for a number of members."""

    def __init__(self, mode: FakeTensorMode, n_members: int) -> None:
        self._mode = mode
        self._n_members = n_members
        self._known: dict[Any, torch.Tensor] = {}

    def __call__(self, node: Node) -> None:
        import torch

        if "val" in node.meta:
            known = torch.fx.node.map_aggregate(node.meta["val"], self._resized)
            node.meta = {**node.meta, "val": known}

    def _resized(self, value: Any) -> Any:
        import torch
        from torch._subclasses.fake_tensor import FakeTensor

        if not isinstance(value, torch.Tensor):
            return _for_members(value, self._n_members)
        size, stride = (
            tuple(_for_members(n, self._n_members) for n in numbers)
            for numbers in (value.shape, value.stride())
        )
        key = (size, stride, value.dtype, value.device)
        if key not in self._known:
            # Made directly: to ask the mode for an empty tensor takes twenty times as long.
            layout = torch.empty_strided(size, stride, dtype=value.dtype, device="meta")
            self._known[key] = FakeTensor(self._mode, layout, value.device)
        return self._known[key]


def trace_module(
    function: Callable[..., Sequence[torch.Tensor]], *inputs: torch.Tensor
) -> GraphModule:
    """Return a function as a list of operations, without any of them being computed."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad():
        traced = make_fx(function, tracing_mode="fake", _allow_non_fake_inputs=True)
        module: GraphModule = traced(*inputs)
    return module


@contextlib.contextmanager
def _no_loops_over_members() -> Iterator[None]:
    """Have ``vmap`` raise an error where it would go through the members: there are a million."""
    import torch

    _functorch: Any = torch._C._functorch
    was_enabled = _functorch._is_vmap_fallback_enabled()
    _functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        _functorch._set_vmap_fallback_enabled(was_enabled)


def _for_members(value: Any, n_members: int) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number or value == 0 or value % ANY_NUMBER:
        return value
    return value // ANY_NUMBER * n_members

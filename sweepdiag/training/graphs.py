"""A function of tensors, traced once into a flat list of operations that is cheaper to run.

``vmap`` and ``grad`` interpret a model anew at each step, which for small models costs more than
its arithmetic. The traced program calls the same kernels in the same order; the passes over it
leave out operations that do nothing, compute constants once, and reuse memory. None of them
changes a bit of the result.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.training.graph_cleanup import (
    fold_constants,
    remove_identities,
    remove_repetitions,
    reuse_memory,
)
from sweepdiag.training.graph_digest import graph_digest
from sweepdiag.training.graph_exactness import (
    add_biases_first,
    take_odd_sizes_one_by_one,
    take_short_softmax_by_columns,
    take_small_products_one_by_one,
)
from sweepdiag.training.graph_template import Template, trace_module
from sweepdiag.training.pooling import pool_by_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from sweepdiag.training.graph_nodes import Graph

    Program: TypeAlias = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["TracedFunction", "trace"]

logger = logging.getLogger(__name__)


class TracedFunction:
    """A function of stacked tensors, traced whenever its inputs have a new layout.

    Another number of members alone costs a tenth of that, as long as no operation is taken member
    by member.

    Attributes:
        build_s: Seconds that the last program took to make, without what others share with it.
        made_s: Seconds of this thread that all programs took to make.
        digests: SHA-256 over the operations of each program, by number of members and layout.
    """

    def __init__(
        self,
        function: Callable[..., Sequence[torch.Tensor]],
        *,
        n_shared: int = 0,
        replacements: Mapping[Any, Callable[..., Any]] | None = None,
        is_exact: bool = True,
    ) -> None:
        """Take a function; it is traced at its first call.

        Args:
            function: Takes tensors, returns a sequence of tensors.
            n_shared: How many of its inputs, the last ones, are the same for all members; the
                others have the members as their first dimension.
            replacements: Functions to call in place of operations, by operation.
            is_exact: Whether to take what would round otherwise on the CPU member by member.
        """
        self._function = function
        self._is_exact = is_exact
        self._n_shared = n_shared
        self._replacements = replacements or {}
        self._programs: dict[Any, Program] = {}
        self._templates: dict[Any, Template | None] = {}
        self.build_s = 0.0
        self.made_s = 0.0
        self.digests: dict[tuple[int, tuple[int, ...]], str] = {}

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the function; an error of an operation that cannot be traced comes as it is."""
        # All else about the layout follows from the numbers of members and of samples.
        layout = inputs[-1].shape[0 if self._n_shared else 1 :]
        key = (len(inputs[0]), layout)
        if key not in self._programs:
            started = time.thread_time()
            self._programs[key] = self._program(layout, inputs)
            self.made_s += time.thread_time() - started
        return self._programs[key](*inputs)

    def _program(self, layout: Any, inputs: tuple[torch.Tensor, ...]) -> Program:
        import torch

        n_members = len(inputs[0])
        template = self._template(layout, inputs) if n_members > 1 else None
        started = time.perf_counter()
        if template is None:
            root = trace_module(self._function, *inputs)
            graph = root.graph
        else:
            root, graph = template.program(n_members)
        _rewrite(
            root,
            graph,
            n_members,
            is_cpu=inputs[0].device.type == "cpu",
            is_exact=self._is_exact,
        )
        self.digests[n_members, tuple(layout)] = graph_digest(root, graph)
        program = _compiled(root, graph, self._replacements)
        if inputs[0].is_cuda:
            # What it computes once is read by packs on other streams as well.
            torch.cuda.current_stream(inputs[0].device).synchronize()
        self.build_s = time.perf_counter() - started
        return program

    def _template(self, layout: Any, inputs: tuple[torch.Tensor, ...]) -> Template | None:
        if layout not in self._templates:
            n_stacked = len(inputs) - self._n_shared
            try:
                self._templates[layout] = Template(self._function, *inputs, n_stacked=n_stacked)
            except Exception as error:  # noqa: BLE001 - the trace of just these members tells
                logger.debug("no program for any number of members: %s", error)
                self._templates[layout] = None
        return self._templates[layout]


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
    module = trace_module(function, *inputs)
    is_cpu = inputs[0].device.type == "cpu"
    _rewrite(module, module.graph, len(inputs[0]), is_cpu=is_cpu, is_exact=is_exact)
    return _compiled(module, module.graph, replacements or {})


def _rewrite(
    root: torch.nn.Module, graph: Graph, n_members: int, *, is_cpu: bool, is_exact: bool
) -> None:
    add_biases_first(graph)
    remove_identities(graph)
    remove_repetitions(graph)
    fold_constants(root, graph)
    if is_cpu:
        pool_by_slices(graph)
    reuse_memory(graph)
    if is_cpu:
        take_short_softmax_by_columns(root, graph)
        if is_exact:
            take_small_products_one_by_one(graph)
            take_odd_sizes_one_by_one(graph, n_members=n_members)
    # Before the last pass, after which in-place operations are not known as such any more.
    graph.eliminate_dead_code()


def _compiled(
    root: torch.nn.Module, graph: Graph, replacements: Mapping[Any, Callable[..., Any]]
) -> Program:
    import torch

    _call_directly(graph, replacements)
    program: Program = torch.fx.GraphModule(root, graph).forward
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

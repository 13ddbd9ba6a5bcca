"""A function of tensors, traced once into a flat list of operations that is cheaper to run.

``vmap`` and ``grad`` interpret a model anew at each step, which for small models costs more than
its arithmetic. The traced program calls the same kernels in the same order; the passes over it
leave out operations that do nothing, compute constants once, and reuse memory. None of them
changes a bit of the result.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, TypeAlias

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
    from collections.abc import Callable, Mapping, Sequence

    import torch

    # torch.fx types what a node may be given as a union of two dozen types.
    Graph: TypeAlias = Any
    GraphModule: TypeAlias = Any
    Node: TypeAlias = Any
    Program: TypeAlias = Callable[..., tuple[torch.Tensor, ...]]

__all__ = ["trace"]

_LARGEST_CONSTANT = 2**22
"""Numbers; a larger tensor is made anew at each step instead of being kept for good."""


def trace(
    function: Callable[..., Sequence[torch.Tensor]],
    *inputs: torch.Tensor,
    replacements: Mapping[Any, Callable[..., Any]] | None = None,
) -> Program:
    """Return a program that computes what ``function`` does for inputs laid out like these.

    Args:
        function: Takes tensors, returns a sequence of tensors.
        replacements: Functions that the program calls in place of operations, by operation.
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
    _add_biases_first(graph)
    _remove_identities(graph)
    _remove_repetitions(graph)
    _fold_constants(module)
    _reuse_memory(graph)
    if inputs[0].device.type == "cpu":
        _take_small_products_one_by_one(graph)
        _take_short_softmax_by_columns(module)
        _take_odd_sizes_one_by_one(graph, n_members=len(inputs[0]))
    # Before the last pass, after which in-place operations are not known as such any more.
    graph.eliminate_dead_code()
    _call_directly(graph, replacements or {})
    module.recompile()
    program: Program = module.forward
    return program


def _schema(node: Node) -> Any:
    return getattr(node.target, "_schema", None)


def _unsafe_nodes(graph: Graph) -> set[Node]:
    """Return the nodes that passes must leave as they are.

    These are random operations, and whatever reads or writes memory that an in-place operation
    changes: what it finds there depends on when it is computed.
    """
    import torch

    written: set[Node] = set()
    for node in graph.nodes:
        schema = _schema(node)
        if schema is not None and schema.is_mutable:
            for argument, spec in zip(node.args, schema.arguments, strict=False):
                if spec.alias_info is not None and spec.alias_info.is_write:
                    written.add(_memory_of(argument))
    return {
        node
        for node in graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
        or any(_memory_of(other) in written for other in (node, *node.all_input_nodes))
    }


def _memory_of(node: Node) -> Node:
    """Return the node that made the memory in which a node's result lies."""
    while _is_view(node):
        node = node.all_input_nodes[0]
    return node


def _is_view(node: Node) -> bool:
    """Return whether a node's result shares memory with its first argument."""
    if node.op != "call_function":
        return False
    schema = _schema(node)
    if schema is None:
        return node.target is operator.getitem
    # It does share memory, whatever its schema says.
    is_unsafe_view = str(node.target) == "aten._unsafe_view.default"
    return is_unsafe_view or any(result.alias_info is not None for result in schema.returns)


def _value(node: Any) -> Any:
    """Return what is known of a node's result: a tensor with a shape but without numbers."""
    return node.meta.get("val") if hasattr(node, "meta") else None


def _is_alike(node: Node, other: Any) -> bool:
    """Return whether two results have the same shape, type, strides and device."""
    import torch

    a, b = _value(node), _value(other)
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return False
    return (a.shape, a.dtype, a.stride(), a.device) == (b.shape, b.dtype, b.stride(), b.device)


def _add_biases_first(graph: Graph) -> None:
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
        product, bias = (_behind_views(argument) for argument in node.args[::-1])
        # The factor beta of addmm; a sum that the user wrote has none.
        is_addmm = (
            getattr(product, "target", None) is aten.bmm.default
            and getattr(bias, "target", None) is aten.mul.Scalar
            and bias.args[1] == 1
            and _value(bias).dim() == 2
        )
        n_rows, n_columns = _value(node).shape[0], _value(node).shape[-1]
        if not is_addmm or _value(bias).shape != (n_rows, n_columns):
            continue
        if _value(product).shape != _value(node).shape:
            continue
        with graph.inserting_before(node):
            row = graph.call_function(aten.unsqueeze.default, (bias.args[0], 1))
            row.meta["val"] = _value(bias).unsqueeze(1)
            total = graph.call_function(aten.baddbmm.default, (row, *product.args))
        total.meta = node.meta
        node.replace_all_uses_with(total)
        graph.erase_node(node)


def _behind_views(node: Any) -> Any:
    """Return what a node shows in another shape."""
    import torch

    views = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}
    while getattr(node, "target", None) in views:
        node = node.args[0]
    return node


def _remove_identities(graph: Graph) -> None:
    """Leave out what returns its first argument as it is."""
    import torch

    aten = torch.ops.aten
    aliases = {
        aten.alias.default,
        aten.detach.default,
        aten.expand.default,
        aten.view.default,
        aten._unsafe_view.default,
        aten.squeeze.dim,
        aten.squeeze.dims,
    }
    copies = {aten._to_copy.default, aten.clone.default}
    unsafe = _unsafe_nodes(graph)
    for node in graph.nodes:
        if node.op != "call_function" or not node.args:
            continue
        source = node.args[0]
        is_same = node.target in aliases and _is_alike(node, source)
        if node.target in copies | {aten.mul.Scalar}:
            # A copy is one only as long as nobody writes into either.
            does_nothing = node.target in copies or node.args[1] == 1
            is_same = does_nothing and node not in unsafe and _is_alike(node, source)
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


def _remove_repetitions(graph: Graph) -> None:
    """Compute once what is computed from the same arguments more than once."""
    seen: dict[Any, Node] = {}
    unsafe = _unsafe_nodes(graph)
    for node in graph.nodes:
        if node.op != "call_function" or _schema(node) is None or node in unsafe:
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


def _fold_constants(module: GraphModule) -> None:
    """Compute once, now, what depends on shapes alone."""
    import torch

    graph = module.graph
    constants: dict[Node, Any] = {}
    unsafe = _unsafe_nodes(graph)
    for node in graph.nodes:
        # A tensor that the model closes over (get_attr) may be changed by whoever else holds it.
        if node.op != "call_function" or _schema(node) is None or node in unsafe:
            continue
        if not isinstance(_value(node), torch.Tensor) or _value(node).numel() > _LARGEST_CONSTANT:
            continue
        sources = node.all_input_nodes
        if _depends_on_shape_only(node):
            like = _value(sources[0])
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
        module.register_buffer(name, constant)
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


def _reuse_memory(graph: Graph) -> None:
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
    unsafe = _unsafe_nodes(graph)
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
    if not _is_alike(node, argument) or list(argument.users) != [node]:
        return False
    if sum(other is argument for other in node.args) > 1:
        return False
    base = argument
    while _is_view(base):
        base = base.args[0]
        if base.op != "call_function" or len(base.users) != 1:
            return False
    return base.op == "call_function" and _is_dense(argument)


def _is_dense(node: Node) -> bool:
    """Return whether no two elements share memory, as they do in an expanded tensor."""
    import torch

    value = _value(node)
    return isinstance(value, torch.Tensor) and all(
        stride != 0 or size == 1 for size, stride in zip(value.shape, value.stride(), strict=True)
    )


def _take_small_products_one_by_one(graph: Graph) -> None:
    """Compute as a single model would what PyTorch's batched product rounds unlike that."""
    import torch

    one_by_one = {
        torch.ops.aten.bmm.default: products_one_by_one,
        torch.ops.aten.baddbmm.default: biased_products_one_by_one,
    }
    for node in graph.nodes:
        if node.target not in one_by_one:
            continue
        left, right = (_value(argument) for argument in node.args[-2:])
        if rounds_unlike_alone(left.shape, right.shape):
            node.target = one_by_one[node.target]


def _take_odd_sizes_one_by_one(graph: Graph, *, n_members: int) -> None:
    """Compute as a single model would what rounds otherwise at the end of a tensor.

    PyTorch's kernels take whole vector registers of numbers, and what is left over with scalar
    code, which for some functions rounds otherwise. What is left over for one member lies in the
    middle for all of them.
    """
    import torch

    for node in graph.nodes:
        name = str(node.target).removeprefix("aten.").partition(".")[0]
        value = _value(node)
        if name not in _ROUNDED_BY_PLACE or not isinstance(value, torch.Tensor):
            continue
        is_of_members = value.dim() > 0 and len(value) == n_members
        if is_of_members and has_remainder(value):
            node.args = (node.target, n_members, *node.args)
            node.target = member_by_member


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


def _take_short_softmax_by_columns(module: GraphModule) -> None:
    """Compute a cross-entropy over a few classes in the layout that PyTorch is fast for."""
    import torch

    aten = torch.ops.aten
    graph = module.graph
    for node in graph.nodes:
        if node.target is not aten._log_softmax.default or not _is_over_short_rows(node):
            continue
        picked = [user for user in node.users if _picks_classes(user, node)]
        gradients = [user for user in node.users if user not in picked]
        weights = [_uniform_weight(module, user, picked) for user in gradients]
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

    value, dim = _value(node), node.args[1]
    is_last = dim in {-1, value.dim() - 1}
    return is_last and value.dtype == torch.float32 and has_exact_columns(value.shape[-1])


def _picks_classes(node: Node, rows: Node) -> bool:
    """Return whether a node gathers one entry of each row, by ``classes.unsqueeze(-1)``."""
    import torch

    aten = torch.ops.aten
    if node.target is not aten.gather.default or node.args[0] is not rows:
        return False
    places, last = node.args[2], _value(rows).dim() - 1
    return (
        node.args[1] in {-1, last}
        and getattr(places, "target", None) is aten.unsqueeze.default
        and places.args[1] in {-1, last}
        and _value(places).shape[:-1] == _value(rows).shape[:-1]
    )


def _uniform_weight(module: GraphModule, node: Node, picked: Sequence[Node]) -> float | None:
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
    base, values = getattr(module, zeros.target), getattr(module, weights.target)
    if base.any() or not bool((values == values.flatten()[0]).all()):
        return None
    return float(values.flatten()[0])


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

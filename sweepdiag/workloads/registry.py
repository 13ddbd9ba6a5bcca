"""Finding a workload by its reference.

A reference is the name of a built-in workload, the name of an entry point of the group
``sweepdiag.workloads``, ``path/to/file.py:function`` or ``module:function``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ConfigError, WorkloadError, unknown_name
from sweepdiag.workloads._sources import SourceTree, hash_files
from sweepdiag.workloads._usercode import (
    file_tree,
    load_file,
    load_module,
    module_tree,
    user_code,
)
from sweepdiag.workloads.base import TrainLoop, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["load_workload", "source_hashes", "workload_names"]

_BUILT_IN = ("digits", "fashion_mnist", "synthetic")
_ENTRY_POINTS = "sweepdiag.workloads"
_N_LOOP_ARGUMENTS = 2
_MAX_NAME_LENGTH = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reference:
    """A reference taken apart.

    Attributes:
        text: As the user gave it.
        module: Dotted name of a module, or the path of a file.
        is_file: Which of the two.
        function: What to look up in it.
        is_built_in: Whether it is sweepdiag's own code.
    """

    text: str
    module: str
    is_file: bool
    function: str
    is_built_in: bool = False

    def tree(self) -> SourceTree:
        return file_tree(Path(self.module)) if self.is_file else module_tree(self.module)


def workload_names() -> tuple[str, ...]:
    """Return the names of the built-in workloads and of those that plug-ins bring."""
    return tuple(dict.fromkeys([*_BUILT_IN, *sorted(_plug_ins())]))


def load_workload(
    reference: str, parameters: Mapping[str, Any] | None = None
) -> Workload | TrainLoop:
    """Return the workload that a reference names.

    The function it names is called with ``parameters`` and returns a ``Workload`` or a
    ``TrainLoop``. A function that requires two positional arguments instead, ``train(config,
    report)``, is itself the training loop: named by its file and its own name.

    Args:
        reference: Name, ``path/to/file.py:function`` or ``module:function``.
        parameters: Keyword arguments of the function.

    Returns:
        The workload.
    """
    parsed = _parse(reference)
    target = _look_up(parsed)
    if isinstance(target, Workload | TrainLoop) and not parameters:
        return target
    return _build(parsed, target, dict(parameters or {}))


def source_hashes(reference: str) -> dict[str, str]:
    """Return the SHA-256 of every source file of the user's that a workload consists of.

    Args:
        reference: As for ``load_workload``.

    Returns:
        Hashes by path: relative as the reference is, with neighbours beside it; for modules
        relative to the folder they are imported from. Empty for built-in workloads.
    """
    parsed = _parse(reference)
    if parsed.is_built_in:
        return {}
    tree = parsed.tree()
    base = Path() if parsed.is_file else tree.root
    return {
        (path.relative_to(base) if path.is_relative_to(base) else path).as_posix(): digest
        for path, digest in hash_files(tree).items()
    }


def _plug_ins() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=_ENTRY_POINTS)}


def _parse(reference: str) -> _Reference:
    place, colon, function = reference.rpartition(":")
    if reference.endswith(".py"):
        message = f"workload must name a function too: {reference}:build, got {reference!r}"
        raise ConfigError(message)
    if not colon:
        return _parse_name(reference)
    if not place or not function.isidentifier():
        message = (
            f"workload must be path/to/file.py:function or module:function, got {reference!r}"
        )
        raise ConfigError(message)
    return _Reference(
        text=reference, module=place, is_file=place.endswith(".py"), function=function
    )


def _parse_name(name: str) -> _Reference:
    if name in _BUILT_IN:
        module = f"sweepdiag.workloads.{name}"
        return _Reference(
            text=name, module=module, is_file=False, function="build", is_built_in=True
        )
    point = _plug_ins().get(name)
    if point is None:
        message = (
            f"{unknown_name('workload', name, workload_names())}, or a reference such as "
            "path/to/file.py:function"
        )
        raise ConfigError(message)
    return _Reference(text=name, module=point.module, is_file=False, function=point.attr)


def _look_up(reference: _Reference) -> Any:
    """Return what the reference names, importing its module.

    Raises:
        ConfigError: If the module has nothing of that name; the message offers the nearest.
    """
    if reference.is_built_in:
        return importlib.import_module(reference.module).build
    if reference.is_file:
        module = load_file(Path(reference.module))
    else:
        module = load_module(reference.module)
    try:
        return functools.reduce(getattr, reference.function.split("."), module)
    except AttributeError as error:
        own = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (isinstance(value, Workload | TrainLoop) or _is_defined_in(module.__name__, value))
        ]
        message = f"{reference.module} has no {reference.function!r}"
        if own:
            message += f": {unknown_name('function', reference.function, own)}"
        raise ConfigError(message) from error


def _is_defined_in(module_name: str, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module_name


def _build(reference: _Reference, target: Any, parameters: dict[str, Any]) -> Workload | TrainLoop:
    if not callable(target):
        message = (
            f"{reference.text} must be a function that returns a Workload, or a training loop "
            f"(config, report), got {type(target).__name__}"
        )
        raise WorkloadError(message)
    signature = inspect.signature(target)
    _check_parameters(reference, signature, parameters)
    if _is_training_loop(target, signature, parameters):
        return _as_loop(reference, target, parameters)
    missing = [name for name in _required(signature) if name not in parameters]
    if missing:
        message = (
            f"{reference.text} needs the parameters {', '.join(missing)}: give them as "
            "workload_parameters, or give them defaults (a training loop of your own takes "
            "exactly two, `config, report`)"
        )
        raise ConfigError(message)
    folder = None if reference.is_built_in else reference.tree().root.resolve()
    with user_code(reference.text, "calling it", folder):
        built = target(**parameters)
    if not isinstance(built, Workload | TrainLoop):
        what = "nothing (is a return missing?)" if built is None else f"a {type(built).__name__}"
        message = f"{reference.text} must return a sweepdiag.Workload, got {what}"
        raise WorkloadError(message)
    return built


def _check_parameters(
    reference: _Reference, signature: inspect.Signature, parameters: Mapping[str, Any]
) -> None:
    """Refuse parameters that the function does not have.

    Raises:
        ConfigError: If there are any; the message names the nearest that exists.
    """
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    valid = [name for name, p in signature.parameters.items() if p.kind in named]
    for name in parameters:
        if name not in valid and not valid:
            message = f"{reference.text} takes no parameters, got {name!r}"
            raise ConfigError(message)
        if name not in valid:
            raise ConfigError(unknown_name(f"parameter of {reference.text}", name, valid))


def _required(signature: inspect.Signature) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        name
        for name, parameter in signature.parameters.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind not in variadic
    ]


def _is_training_loop(
    function: Callable[..., Any], signature: inspect.Signature, parameters: Mapping[str, Any]
) -> bool:
    """Return whether a function is ``train(config, report)`` rather than ``build(…)``.

    A function with two required arguments that says it returns a workload is a ``build`` whose
    parameters are missing.
    """
    required = _required(signature)
    positional = [
        name
        for name in required
        if signature.parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    says_builder = "Workload" in str(signature.return_annotation)
    is_loop = len(required) == len(positional) == _N_LOOP_ARGUMENTS and not says_builder
    return is_loop and not set(required) & set(parameters) and not isinstance(function, type)


def _as_loop(
    reference: _Reference, function: Callable[..., Any], parameters: Mapping[str, Any]
) -> TrainLoop:
    place = Path(reference.module).stem if reference.is_file else reference.module
    return TrainLoop(
        name=_valid_name(f"{place}.{reference.function}"),
        function=functools.partial(function, **parameters) if parameters else function,
    )


def _valid_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip("._-")
    return name[:_MAX_NAME_LENGTH] or "loop"

"""Code and values in words that change with what they do, and not with the process.

A plan that an earlier process has made is used again only for the same model. Two models are the
same if their modules, what these hold and the code that they run are; the name of a class says
nothing, since the user may have edited it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = ["described", "described_model", "described_tensor"]

_DEEPEST = 20
_MOST_BYTES = 2**26
"""Of a tensor that code refers to; the data of a sweep have a fingerprint of their own."""
_LIBRARY_FOLDERS = ("site-packages", "dist-packages")
_NOT_CODE = frozenset(
    {"__dict__", "__weakref__", "__doc__", "__firstlineno__", "__static_attributes__"}
)


def described_tensor(tensor: torch.Tensor) -> str:
    """Return a tensor's layout and a hash of its numbers."""
    import torch

    layout = f"{tuple(tensor.shape)} {tensor.stride()} {tensor.dtype} {tensor.device.type}"
    numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return f"tensor {layout} {_sha256(_sampled(numbers.numpy()).tobytes())}"


def described_model(model: torch.nn.Module) -> dict[str, Any]:
    """Return what a model is but for the numbers in its parameters and buffers.

    That is: of each module its class with the code that it runs, its mode, hooks and attributes;
    of each parameter and buffer its layout, whether it is trained, and with which it is shared.

    Args:
        model: Not run.
    """
    words = _Words()
    owners: dict[int, str] = {}
    tensors = {
        name: _described_state(tensor, owners.setdefault(id(tensor), name))
        for name, tensor in _named_tensors(model)
    }
    modules = {path: words.of_module(module) for path, module in model.named_modules()}
    return {"modules": modules, "tensors": tensors}


def described(value: Any) -> Any:
    """Return a value in words: code by its byte code and what it refers to, tensors by a hash.

    Args:
        value: A function, a class, a module of PyTorch, a number, and so on. Of a third party's
            code, name and place count; of other objects, their class and attributes.
    """
    return _Words().of(value)


class _Words:
    """Describes values, each object once."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._kept: list[Any] = []  # what is gone might give its identity to something else
        self._depth = 0

    def of(self, value: Any) -> Any:
        """Return a value in words."""
        import torch

        if isinstance(value, bool | int | float | complex | str | bytes | None | type(...)):
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, torch.Tensor):
            return described_tensor(value)
        if isinstance(value, torch.dtype | torch.device | np.dtype | range | slice):
            return repr(value)
        if isinstance(value, np.ndarray):
            numbers = b"" if value.dtype.hasobject else np.ascontiguousarray(value).tobytes()
            return f"array {value.shape} {value.dtype} {_sha256(numbers)}"
        # Which equal constants of code are one object is for Python to decide.
        if not isinstance(value, tuple | frozenset):
            if id(value) in self._seen:
                return f"seen {self._seen[id(value)]}"
            self._seen[id(value)] = len(self._seen)
            self._kept.append(value)
        if self._depth >= _DEEPEST:
            return f"deep {type(value).__qualname__}"
        self._depth += 1
        try:
            return self._of_object(value)
        finally:
            self._depth -= 1

    def of_module(self, module: torch.nn.Module) -> dict[str, Any]:
        """Return a module of PyTorch in words, without its parameters, buffers and submodules."""
        common = _held_by_every_module()
        held = vars(module)
        hooks = {
            name: [self.of(hook) for hook in value.values()]
            for name, value in sorted(held.items())
            if name.endswith("hooks") and value
        }
        own = {name: self.of(held[name]) for name in sorted(held.keys() - common)}
        kind = self.of(type(module))
        return {"class": kind, "training": module.training, "hooks": hooks, "own": own}

    def _of_object(self, value: Any) -> Any:
        import torch

        if isinstance(value, torch.nn.Module):
            modules = {path: self.of_module(module) for path, module in value.named_modules()}
            tensors = {name: described_tensor(t) for name, t in _named_tensors(value)}
            return {"modules": modules, "tensors": tensors}
        if isinstance(value, dict | list | tuple | set | frozenset):
            return self._of_container(value)
        if isinstance(value, type):
            return self._of_class(value)
        parts = _parts(value)
        if parts is not None:
            return [type(value).__name__, *map(self.of, parts)]
        if isinstance(value, types.ModuleType):
            return f"module {_place(value.__name__)}"
        if isinstance(value, types.FunctionType) and _is_users(value.__module__):
            return self._of_function(value)
        if callable(value) and hasattr(value, "__qualname__"):
            return f"{_place(getattr(value, '__module__', None))}.{value.__qualname__}"
        kind = self.of(type(value))
        if _is_users(type(value).__module__):
            return ["object", kind, self.of(dict(_attributes(value)))]
        text = repr(value)
        # The default repr holds a memory address, which is another one in every process.
        return ["object", kind, "" if " at 0x" in text else text]

    def _of_container(self, value: Any) -> Any:
        name = type(value).__name__
        if isinstance(value, dict):
            return [name, *([self.of(key), self.of(item)] for key, item in value.items())]
        items = [self.of(item) for item in value]
        return [name, *(items if isinstance(value, list | tuple) else sorted(map(repr, items)))]

    def _of_class(self, kind: type) -> Any:
        name = f"{_place(kind.__module__)}.{kind.__qualname__}"
        if not any(_is_users(base.__module__) for base in kind.__mro__):
            return name
        members = {
            key: self.of(member)
            for key, member in sorted(vars(kind).items())
            if key not in _NOT_CODE
        }
        return {"class": name, "bases": [self.of(base) for base in kind.__bases__], **members}

    def _of_function(self, function: types.FunctionType) -> Any:
        code = function.__code__
        cells = function.__closure__ or ()
        known = function.__globals__
        names = set(_names(code))
        return {
            "code": self._of_code(code),
            "defaults": self.of([function.__defaults__, function.__kwdefaults__]),
            "closure": [self.of(cell.cell_contents) for cell in cells if _is_filled(cell)],
            "globals": {
                name: self._of_global(known[name], names)
                for name in sorted(names)
                if name in known
            },
        }

    def _of_global(self, value: Any, names: set[str]) -> Any:
        """Return a global in words; of a module of the user's, what may be looked up in it."""
        if not (isinstance(value, types.ModuleType) and _is_users(value.__name__)):
            return self.of(value)
        held = vars(value)
        return {name: self.of(held[name]) for name in sorted(names) if name in held}

    def _of_code(self, code: types.CodeType) -> Any:
        constants = [
            self._of_code(item) if isinstance(item, types.CodeType) else self.of(item)
            for item in code.co_consts
        ]
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        kind = (code.co_flags, code.co_argcount, code.co_kwonlyargcount)
        return [_sha256(code.co_code), *map(repr, names), repr(kind), constants]


def _parts(value: Any) -> tuple[Any, ...] | None:
    """Return the functions that a wrapper of functions holds; ``None`` if it is none."""
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    return (value.fget, value.fset) if isinstance(value, property) else None


def _named_tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _described_state(tensor: torch.Tensor, owner: str) -> str:
    layout = f"{tuple(tensor.shape)} {tensor.stride()} {tensor.dtype} {tensor.device.type}"
    return f"{layout} {type(tensor).__name__} trained={tensor.requires_grad} as={owner}"


@functools.cache
def _held_by_every_module() -> frozenset[str]:
    import torch

    return frozenset(vars(torch.nn.Module()))


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code and what is defined in it may look up."""
    yield from code.co_names
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from _names(item)


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - asking is all there is
    except ValueError:
        return False
    return True


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from sorted(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield name, getattr(value, name)


def _is_users(module: str | None) -> bool:
    """Return whether code is the user's: neither Python's, an installed package's nor ours."""
    if module is None:
        return False
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return False
    if top == "sweepdiag":
        return False
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is None or not any(folder in Path(file).parts for folder in _LIBRARY_FOLDERS)


@functools.cache
def _place(module: str | None) -> str:
    """Return a module's name, and of an installed package also what tells its versions apart."""
    if module is None or _is_users(module):
        return str(module)
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "sweepdiag":
        return module
    try:
        version = importlib.metadata.version(top)
    except importlib.metadata.PackageNotFoundError:
        version = ""
    try:
        source = inspect.getsourcefile(sys.modules[module])
        status = Path(source).stat() if source else None
    except (KeyError, OSError, TypeError):
        status = None
    stamp = f" {status.st_size} {status.st_mtime_ns}" if status else ""
    return f"{module} {version}{stamp}"


def _sampled(content: np.ndarray) -> np.ndarray:
    """Return all of an array, or rows spread evenly over it where it is very large."""
    return content if len(content) <= _MOST_BYTES else content[:: len(content) // _MOST_BYTES]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""Loading code that users wrote, with its errors told in one paragraph."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sweepdiag.errors import ConfigError, SweepdiagError, WorkloadError
from sweepdiag.workloads._sources import SourceTree

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["file_tree", "load_file", "load_module", "module_tree", "user_code"]

_HASH_ATTRIBUTE = "__sweepdiag_sha256__"


@contextlib.contextmanager
def user_code(label: str, doing: str, folder: Path | None) -> Iterator[None]:
    """Run user code with its folder importable, and tell its errors in one paragraph.

    The folder comes first on ``sys.path`` inside the context, as for ``python file.py``. After it
    the folder stays at the end, for imports inside functions that run later.

    Args:
        label: What the user gave as reference.
        doing: What is done, for the message (``"importing it"``).
        folder: The folder to import neighbours from.

    Yields:
        Nothing.

    Raises:
        SweepdiagError: If the code raises one of sweepdiag's own errors.
        WorkloadError: If it raises anything else.
    """
    place = None if folder is None else str(folder)
    if place is not None:
        sys.path.insert(0, place)
    try:
        yield
    except SweepdiagError:
        raise
    except (Exception, SystemExit) as error:
        message = f"{label}: {doing} failed{_place_of(error, folder)}: {_last_line(error)}"
        raise WorkloadError(message) from error
    finally:
        if place is not None:
            with contextlib.suppress(ValueError):
                sys.path.remove(place)
            if place not in sys.path:
                sys.path.append(place)


def _last_line(error: BaseException) -> str:
    """Return what the last line of the traceback says, on one line in any case."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place_of(error: BaseException, folder: Path | None) -> str:
    """Return `` at file:line`` of the last frame in the user's folder, else of the last frame."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {error.filename}:{error.lineno}"
    # The first frame is the context manager's caller, inside sweepdiag.
    frames = traceback.extract_tb(error.__traceback__)[1:]
    own = [f for f in frames if folder is not None and Path(f.filename).is_relative_to(folder)]
    chosen = (own or frames)[-1:]
    return "".join(f" at {frame.filename}:{frame.lineno}" for frame in chosen)


def file_tree(path: Path) -> SourceTree:
    """Return the source tree of a file: itself and what it imports from its own folder.

    Args:
        path: The file.

    Returns:
        The tree.

    Raises:
        ConfigError: If there is no such file.
    """
    if not path.is_file():
        message = f"workload file {path} does not exist (looked in {Path.cwd()})"
        raise ConfigError(message)
    return SourceTree(entry=path, root=path.parent, scope=path.parent)


def load_file(path: Path) -> ModuleType:
    """Return the module in a file, imported under a name that is stable and its own.

    A file that has not changed is not run again. What is hashed is what is run: no cached byte
    code is used, which may be older than the file.

    Args:
        path: The file.

    Returns:
        The module, registered in ``sys.modules``.
    """
    tree = file_tree(path)
    location = path.resolve()
    place = hashlib.sha256(str(location).encode()).hexdigest()[:12]
    name = f"sweepdiag_user_{place}_{location.stem}"
    source = tree.entry.read_bytes()
    source_hash = hashlib.sha256(source).hexdigest()
    known = sys.modules.get(name)
    if known is not None and getattr(known, _HASH_ATTRIBUTE, None) == source_hash:
        return known
    module = ModuleType(name)
    module.__file__ = str(location)
    setattr(module, _HASH_ATTRIBUTE, source_hash)
    sys.modules[name] = module
    try:
        with user_code(str(path), "importing it", location.parent):
            exec(compile(source, str(location), "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_module(name: str) -> ModuleType:
    """Return an importable module; modules in the current folder are importable.

    Args:
        name: Dotted name.

    Returns:
        The module.
    """
    module_tree(name)
    with user_code(name, "importing it", Path.cwd()):
        return importlib.import_module(name)


def module_tree(name: str) -> SourceTree:
    """Return the source tree of a module.

    Of an installed package only the package itself counts; of a module in a folder of the user's,
    its neighbours count too.

    Args:
        name: Dotted name.

    Returns:
        The tree.

    Raises:
        ConfigError: If there is no such module, or it is not a Python source file.
    """
    with user_code(name, "finding it", Path.cwd()):
        spec = _find_spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        message = (
            f"there is no Python module {name!r}; a file is named as path/to/file.py:function"
        )
        raise ConfigError(message)
    entry = Path(spec.origin)
    n_levels = name.count(".") + (entry.name == "__init__.py")
    root = entry.parents[n_levels]
    is_installed = {"site-packages", "dist-packages"} & set(root.parts)
    package = root / name.split(".", maxsplit=1)[0]
    scope = (package if package.is_dir() else entry) if is_installed else root
    return SourceTree(entry=entry, root=root, scope=scope)


def _find_spec(name: str) -> Any:
    try:
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        # A missing parent means a misspelt name; anything else went wrong inside user code.
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            return None
        raise
    except ValueError:
        return None

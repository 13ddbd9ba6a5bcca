"""Which source files a piece of user code consists of, found without running it."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SourceTree", "hash_files", "sha256_of"]

_OWN_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceTree:
    """Where user code begins, and what of its imports counts as the user's.

    Attributes:
        entry: The file it begins with.
        root: The folder that absolute imports are looked up in.
        scope: The folder (or the one file) outside which imported files do not count.
    """

    entry: Path
    root: Path
    scope: Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hash_files(tree: SourceTree) -> dict[Path, str]:
    """Return the hash of the entry file and of every user file that it imports, directly or not.

    Imports are read from the source, also those inside functions; names computed at run time
    cannot be seen.

    Args:
        tree: Where to begin and where to look.

    Returns:
        Hashes by path, in the order of the paths.
    """
    found: dict[Path, str] = {}
    pending = [tree.entry]
    while pending:
        path = pending.pop()
        if path not in found:
            found[path] = sha256_of(path)
            pending += [file for file in _imported_files(path, tree.root) if _counts(file, tree)]
    return dict(sorted(found.items()))


def _counts(path: Path, tree: SourceTree) -> bool:
    resolved = path.resolve()
    is_own = resolved.is_relative_to(_OWN_PACKAGE)
    return resolved.is_relative_to(tree.scope.resolve()) and not is_own


def _imported_files(path: Path, root: Path) -> Iterator[Path]:
    try:
        syntax = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it will say what is wrong with it
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _module_files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else root
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _module_files(base, [*parts, alias.name])


def _module_files(base: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the files of a dotted name: of the packages on the way and of the module itself."""
    for depth in range(len(parts) + 1):
        stem = base.joinpath(*parts[:depth])
        candidates = [stem / "__init__.py"] if depth else []
        if depth:
            candidates.append(stem.with_name(f"{stem.name}.py"))
        yield from (candidate for candidate in candidates if candidate.is_file())

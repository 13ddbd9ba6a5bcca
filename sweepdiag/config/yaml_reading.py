"""YAML as settings may use it: positions kept, doubtful input refused, nothing executed.

PyYAML only splits the text into events here. Its constructors, which let the last of two equal
keys win, read ``1e-4`` as text and ``010`` as 8, and expand aliases without end, are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from sweepdiag.config.problems import dotted, summary
from sweepdiag.config.scalars import read_scalar
from sweepdiag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sweepdiag.config.problems import KeyPath

__all__ = ["MAX_BYTES", "Document", "read_file", "read_text", "read_value"]

MAX_BYTES = 2**20
MAX_NODES = 50_000
MAX_DEPTH = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What a text holds.

    Attributes:
        value: Dicts, lists and scalars.
        positions: Line and column, from 1, of each key and list item.
        problems: What was refused while reading, with where it stands. The rest is still read, so
            that everything wrong with a file can be reported at once.
    """

    value: Any
    positions: Mapping[KeyPath, tuple[int, int]]
    problems: tuple[tuple[tuple[int, int], str], ...]


def read_file(path: Path) -> Document:
    """Read a file of settings.

    Args:
        path: The file; at most 1 MiB of UTF-8.

    Returns:
        A mapping with the position of each key.

    Raises:
        ConfigError: If it cannot be read, is empty, is not YAML, or holds more than one document
            or anything but a mapping.
    """
    text = _decoded(path)
    document = read_text(text, name=str(path))
    if document.value is None and not document.problems:
        message = f"{path}: the file must hold settings, got an empty one"
        raise ConfigError(message)
    if not isinstance(document.value, Mapping) and document.problems:
        lines = [f"{path}:{line}:{column}: {text}" for (line, column), text in document.problems]
        raise ConfigError(summary(lines))
    if not isinstance(document.value, Mapping):
        rule = "the file must hold a mapping, 'workload: …' and so on"
        message = f"{path}:1:1: {rule}, got {_kind(document.value)}"
        raise ConfigError(message)
    return document


def read_text(text: str, *, name: str) -> Document:
    """Read one YAML document.

    Args:
        text: The text.
        name: What messages call it, such as a file's path.

    Returns:
        The value (None if there is none), positions, and what was refused.

    Raises:
        ConfigError: If it is not YAML, too deep, too large, or more than one document.
    """
    composer = _Composer()
    try:
        value = composer.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line, column = _place(text, error.position)
        message = f"{name}:{line}:{column}: must not hold the character {chr(error.character)!r}"
    except yaml.MarkedYAMLError as error:
        message = _syntax_message(error, name)
    except _LimitError as error:
        message = f"{name}:{error.line}:{error.column}: {error}"
    else:
        return Document(
            value=None if value is _REFUSED else value,
            positions=composer.positions,
            problems=tuple(composer.problems),
        )
    refused = [f"{name}:{line}:{column}: {text}" for (line, column), text in composer.problems]
    raise ConfigError(summary([*refused, message]))


def read_value(text: str, *, name: str) -> Any:
    """Return the value of an override, written as YAML on one line.

    Args:
        text: What stands after the ``=``.
        name: What messages call it.

    Raises:
        ConfigError: If it is not one plain value.
    """
    document = read_text(text, name=name)
    if document.problems:
        raise ConfigError(summary([f"{name}: {problem}" for _, problem in document.problems]))
    return document.value


def _decoded(path: Path) -> str:
    try:
        if path.is_dir():
            message = f"{path}: must be a file of settings, got a folder"
            raise ConfigError(message)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        # ValueError: a name with a null character.
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or error
        message = f"{str(path)!r}: the file of settings cannot be read: {reason}"
        raise ConfigError(message) from error
    if len(content) > MAX_BYTES:
        message = f"{path}: must be at most 1 MiB, got more"
        raise ConfigError(message)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(content[: error.start].decode("utf-8-sig", "replace"), None)
        message = f"{path}:{line}:{column}: must be UTF-8, got byte 0x{content[error.start]:02x}"
        raise ConfigError(message) from error


def _place(text: str, position: int | None) -> tuple[int, int]:
    before = text[:position]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "a single value"


def _syntax_message(error: yaml.MarkedYAMLError, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    problem = error.problem or "it is incomplete"
    if "'\\t'" in problem:
        problem += " (indent with spaces, not tabs)"
    opened = error.context_mark
    if error.context and opened:
        problem += f", {error.context} that began at {opened.line + 1}:{opened.column + 1}"
    return f"{place}: not valid YAML: {problem}"


class _LimitError(Exception):
    """The text is beyond a limit, and reading stops."""

    def __init__(self, message: str, mark: Any) -> None:
        super().__init__(message)
        self.line, self.column = _position(mark)


def _position(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


_REFUSED = object()
"""Stands for a value that was refused, so that nothing further is said about it."""


@dataclass
class _Composer:
    """Builds values from events, as they come, and stops at the limits."""

    positions: dict[KeyPath, tuple[int, int]] = field(default_factory=dict)
    problems: list[tuple[tuple[int, int], str]] = field(default_factory=list)
    n_nodes: int = 0

    def document(self, events: Iterator[yaml.Event]) -> Any:
        """Return the value of the only document.

        Raises:
            _LimitError: If there is a second one.
        """
        value, is_read = None, False
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if is_read:
                    message = "must be one document, got a second after '---'"
                    raise _LimitError(message, event.start_mark)
                value, is_read = self.node(next(events), events, ()), True
        return value

    def node(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        """Return the value that begins with an event.

        Raises:
            _LimitError: If there are too many values, or too deep ones.
        """
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            message = f"must hold at most {MAX_NODES} values"
            raise _LimitError(message, event.start_mark)
        if len(path) > MAX_DEPTH:
            message = f"must be nested at most {MAX_DEPTH} deep"
            raise _LimitError(message, event.start_mark)
        self.refuse_features(event, path)
        value = self.content(event, events, path)
        return value if getattr(event, "tag", None) is None else _REFUSED

    def content(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        """Return the value that begins with an event, whatever its tag; refused if an alias."""
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(events, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(events, path)
        return self.scalar(event, path) if isinstance(event, yaml.ScalarEvent) else _REFUSED

    def mapping(self, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        """Return a mapping; of two equal keys, the first is kept and the second refused.

        What was refused is left out. Deeper than a block of settings, where what is left of the
        mapping would mean something else, all of it is.
        """
        found: dict[str, Any] = {}
        has_refused = False
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self.key(event, events, path)
            here = (*path, key)
            is_repeated = key in found
            if is_repeated:
                line, column = self.positions[here]
                message = f"{dotted(here)} is given twice, first at {line}:{column}"
                self.problems.append((_position(event.start_mark), message))
            else:
                self.positions[here] = _position(event.start_mark)
            value = self.node(next(events), events, here)
            if value is _REFUSED:
                has_refused = True
            elif not is_repeated:
                found[key] = value
        return _REFUSED if has_refused and len(path) > 1 else found

    def key(self, event: yaml.Event, events: Iterator[yaml.Event], path: KeyPath) -> str:
        """Return a key as it is written: ``no`` and ``1`` are text here."""
        if isinstance(event, yaml.ScalarEvent):
            self.refuse_features(event, path)
            return str(event.value)
        self.problems.append((_position(event.start_mark), "keys must be text"))
        self.node(event, events, (*path, ""))
        return ""

    def sequence(self, events: Iterator[yaml.Event], path: KeyPath) -> Any:
        """Return a list; refused as a whole if one of its items is."""
        found: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            here = (*path, len(found))
            self.positions[here] = _position(event.start_mark)
            found.append(self.node(event, events, here))
        return _REFUSED if any(item is _REFUSED for item in found) else found

    def scalar(self, event: yaml.ScalarEvent, path: KeyPath) -> Any:
        """Return text as it is when quoted, and as what it stands for when not."""
        if event.style is not None:
            return event.value
        try:
            return read_scalar(event.value)
        except ValueError as error:
            where = f"{dotted(path)}: " if path else ""
            self.problems.append((_position(event.start_mark), f"{where}{error}"))
            return _REFUSED

    def refuse_features(self, event: yaml.Event, path: KeyPath) -> None:
        """Refuse tags, anchors and aliases, which settings do not need."""
        where = f"{dotted(path)}: " if path else ""
        place = _position(event.start_mark)
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.problems.append((place, f"{where}tags are not allowed, got {str(tag)[:80]!r}"))
        if getattr(event, "anchor", None) is not None:
            kind = "aliases" if isinstance(event, yaml.AliasEvent) else "anchors"
            self.problems.append((place, f"{where}{kind} are not allowed: write the value out"))

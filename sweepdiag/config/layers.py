"""Layers of settings on top of each other, with each setting's origin kept for messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from sweepdiag.config.axes import range_block
from sweepdiag.config.checks import shown
from sweepdiag.config.models import SweepConfig
from sweepdiag.config.problems import Problem, SettingsModel, dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sweepdiag.config.problems import KeyPath
    from sweepdiag.config.yaml_reading import Document

__all__ = [
    "Applied",
    "Assignment",
    "Line",
    "Origin",
    "apply",
    "contradictions",
    "is_edit",
    "layer_of_document",
    "layer_of_mapping",
    "place_in_file",
]

Line: TypeAlias = tuple[tuple[int, ...], str]
"""A line of an error message, after what it is sorted by."""

_BLOCKS = frozenset(
    {("parameters",), ("workload_parameters",), ("diagnosis", "thresholds")}
    | {
        (name,)
        for name, field in SweepConfig.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsModel)
    }
)
"""Mappings that layers merge key by key. Anything below (an axis, a list) is replaced whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where a setting comes from: as messages say it, and their order."""

    label: str
    order: tuple[int, ...]

    def line(self, text: str) -> Line:
        """Return a line of a message with the origin in front."""
        return self.order, f"{self.label}: {text}" if self.label else text


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """One setting given by one layer; ``places`` has the origins of what is inside its value."""

    path: KeyPath
    value: Any
    origin: Origin
    places: Mapping[KeyPath, tuple[int, int]]
    file: str | None = None

    def origin_of(self, path: KeyPath) -> Origin:
        """Return where a path at or inside the setting comes from."""
        for length in range(len(path), len(self.path), -1):
            if self.file is not None and path[:length] in self.places:
                return place_in_file(self.file, self.places[path[:length]])
        return self.origin


def is_edit(path: KeyPath) -> bool:
    """Return whether a path leads inside an axis, or a value, that some layer gives as a whole."""
    return len(path) > 1 and path[:-1] not in _BLOCKS and path[:1] in _BLOCKS


@dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """Assignments put on top of each other."""

    tree: dict[str, Any]
    owners: dict[KeyPath, Assignment]
    refused: list[Line]

    def line(self, problem: Problem, file: str | None) -> Line:
        """Return a problem with its origin in front, and where it goes among others."""
        nowhere = Origin(label=file or "", order=(9,))
        owner = self._owner(problem.path)
        origin = nowhere if owner is None else owner.origin_of(problem.path)
        return origin.line(problem.text)

    def _owner(self, path: KeyPath) -> Assignment | None:
        for length in range(len(path), 0, -1):
            if path[:length] in self.owners:
                return self.owners[path[:length]]
        inside = (a for owned, a in self.owners.items() if owned[: len(path)] == path)
        return next(inside, None) if path else None


def apply(assignments: Iterable[Assignment]) -> Applied:
    """Put assignments on top of each other; of two with one path, the later wins."""
    applied = Applied(tree={}, owners={}, refused=[])
    for assignment in assignments:
        blocking = _set(applied.tree, assignment.path, assignment.value)
        if blocking is None:
            applied.owners[assignment.path] = assignment
        else:
            text = f"{dotted(assignment.path)} cannot be set: {dotted(blocking)} is not a mapping"
            applied.refused.append(assignment.origin.line(text))
    return applied


def contradictions(
    options: Iterable[Assignment], overrides: Iterable[Assignment]
) -> Iterator[Line]:
    """Return a line for each override that gives a setting another value than an option does.

    Both stand in one command, so neither may win without a word. An override may still complete
    what an option leaves open, such as the number of values in a range.
    """
    given = list(options)
    for override in overrides:
        for option in given:
            n_shared = min(len(option.path), len(override.path))
            if option.path[:n_shared] != override.path[:n_shared]:
                continue
            path = max(option.path, override.path, key=len)
            asked = _inside(option, path)
            if asked is not _ABSENT and asked != _inside(override, path):
                text = (
                    f"{dotted(path)} is {shown(asked)} already, as an option or argument says: "
                    "leave one of the two away"
                )
                yield override.origin.line(text)


_ABSENT = object()


def _inside(assignment: Assignment, path: KeyPath) -> Any:
    """Return what an assignment gives at a path that is its own or lies inside it."""
    value = _comparable(_block(assignment.path, assignment.value))
    for key in path[len(assignment.path) :]:
        value = value.get(str(key), _ABSENT) if isinstance(value, Mapping) else _ABSENT
    return value


def _comparable(value: Any) -> Any:
    """Return a value such that equal settings are equal, be they of Python or of YAML."""
    if isinstance(value, Mapping):
        return {str(key): _comparable(inner) for key, inner in value.items()}
    return [_comparable(inner) for inner in value] if isinstance(value, list | tuple) else value


def _block(path: KeyPath, value: Any) -> Any:
    """Return a value, of an axis given as the ends of a range its block."""
    is_range = path[:1] == ("parameters",) and isinstance(value, tuple)
    return range_block(value) if is_range and len(value) in {2, 3} else value


def _set(tree: dict[str, Any], path: KeyPath, value: Any) -> KeyPath | None:
    """Set one value, and return the path of what is in the way, if something is."""
    node = tree
    for depth, key in enumerate(path[:-1], start=1):
        child = node.get(str(key), {})
        if not isinstance(child, Mapping):
            return path[:depth]
        # What is inside an axis belongs to the layer that gave it.
        inner = child if path[:depth] in _BLOCKS and isinstance(child, dict) else dict(child)
        node[str(key)] = node = inner
    node[str(path[-1])] = value
    return None


def layer_of_document(document: Document, file: str) -> Iterator[Assignment]:
    """Return what a file gives."""
    for path, value in _leaves(document.value, ()):
        origin = place_in_file(file, document.positions[path])
        yield Assignment(
            path=path, value=value, origin=origin, places=document.positions, file=file
        )


def place_in_file(file: str, place: tuple[int, int]) -> Origin:
    """Return a line and column of a file as an origin."""
    line, column = place
    return Origin(label=f"{file}:{line}:{column}", order=(1, line, column))


def layer_of_mapping(
    settings: Mapping[str, Any], *, label: str, rank: int
) -> Iterator[Assignment]:
    """Return what options or defaults give: dotted or nested, without what is None."""
    origin = Origin(label=label, order=(rank,))
    for name, given in settings.items():
        for path, value in _below(tuple(str(name).split(".")), given):
            if value is None:
                continue
            # As a mapping at once, so that an override such as parameters.lr.n=4 can enter it.
            block = _block(path, value)
            yield Assignment(path=path, value=block, origin=origin, places={})


def _leaves(tree: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in tree.items():
        yield from _below((*path, str(key)), value)


def _below(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Return a setting, or all of a block's; an empty block gives nothing."""
    if path not in _BLOCKS:
        yield path, value
    elif isinstance(value, Mapping):
        yield from _leaves(value, path)
    elif value is not None:
        yield path, value

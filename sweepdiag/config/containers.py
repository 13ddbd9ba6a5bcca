"""Checks of settings that hold more than one value: seeds, names, mappings."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from sweepdiag.config.checks import (
    AXIS_NAME,
    IDENTIFIER,
    LARGEST_INTEGER,
    Check,
    Choice,
    Schema,
    refuse,
    whole,
)

__all__ = ["Choices", "Names", "PlainMapping", "Seeds", "Thresholds"]

_MAX_DEPTH = 8
_MAX_TEXT = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Seeds(Check):
    """How many seeds, or which."""

    def check(self, value: Any) -> int | tuple[int, ...]:
        """Return a count as an int and a list as a tuple, or refuse it."""
        if not isinstance(value, list | tuple | range):
            count = whole(value)
            if count is None or not 1 <= count <= LARGEST_INTEGER:
                refuse("must be an integer >= 1, or a list of seeds", value)
            return count
        seeds = tuple(whole(seed) for seed in value)
        valid = tuple(seed for seed in seeds if seed is not None and 0 <= seed <= LARGEST_INTEGER)
        if not seeds or len(valid) < len(seeds) or len(set(valid)) < len(valid):
            refuse("must be different integers >= 0, at least one", value)
        return valid

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        seed = {"type": "integer", "minimum": 0}
        listed = {"type": "array", "items": seed, "minItems": 1, "uniqueItems": True}
        return {"anyOf": [{"type": "integer", "minimum": 1}, listed]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Names(Check):
    """A list of different names."""

    what: str

    def check(self, value: Any) -> tuple[str, ...]:
        """Return the list as a tuple, or refuse it."""
        if not isinstance(value, list | tuple):
            refuse(f"must be a list of {self.what}", value)
        for name in value:
            if not isinstance(name, str) or not re.fullmatch(IDENTIFIER, name):
                refuse(f"must be a list of {self.what}, each matching {IDENTIFIER}", name)
        if len(set(value)) < len(value):
            refuse(f"must be a list of different {self.what}", value)
        return tuple(value)

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        name = {"type": "string", "pattern": f"^{IDENTIFIER}$"}
        return {"type": "array", "items": name, "uniqueItems": True}


@dataclass(frozen=True, slots=True)
class Choices(Check):
    """Some names out of a few: a list, or one name alone."""

    names: tuple[str, ...]

    def check(self, value: Any) -> tuple[str, ...]:
        """Return the names as a tuple, each once, or refuse them."""
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list | tuple):
            refuse(f"must be a list of names out of {', '.join(self.names)}", value)
        choice = Choice(self.names)
        return tuple(dict.fromkeys(str(choice.check(name)) for name in listed))

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        name = Choice(self.names).schema()
        return {"anyOf": [name, {"type": "array", "items": name}]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds(Check):
    """A mapping from names to finite numbers."""

    def check(self, value: Any) -> dict[str, float]:
        """Return the mapping with floats, or refuse it."""
        if not isinstance(value, Mapping):
            refuse("must be a mapping from names to numbers", value)
        for name, number in value.items():
            _check_key(name)
            if isinstance(number, bool) or not isinstance(number, numbers.Real):
                refuse(f"must give a number for {name}", number)
            if not math.isfinite(number):
                refuse(f"must give a finite number for {name}", number)
        return {str(name): float(number) for name, number in value.items()}

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        return {
            "type": "object",
            "propertyNames": {"pattern": f"^{AXIS_NAME}$"},
            "additionalProperties": {"type": "number"},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainMapping(Check):
    """A mapping from argument names to text, numbers, booleans, null, and lists and mappings."""

    def check(self, value: Any) -> dict[str, Any]:
        """Return the mapping made of plain dicts and lists, or refuse it."""
        if not isinstance(value, Mapping):
            refuse("must be a mapping from names to values", value)
        for name in value:
            _check_key(name)
        return {str(name): _plain(item, str(name), 0) for name, item in value.items()}

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        return {"type": "object", "propertyNames": {"pattern": f"^{AXIS_NAME}$"}}


def _check_key(name: object) -> None:
    if not isinstance(name, str) or not re.fullmatch(AXIS_NAME, name):
        refuse(f"must have keys that match {AXIS_NAME}", name)


def _plain(value: Any, place: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        refuse(f"must be nested at most {_MAX_DEPTH} deep", place)
    if isinstance(value, Mapping):
        for key in value:
            _plain(key, place, depth)
        return {str(key): _plain(item, place, depth + 1) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(item, place, depth + 1) for item in value]
    return _plain_scalar(value, place)


def _plain_scalar(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str):
        if not (value.isprintable() and len(value) <= _MAX_TEXT):
            rule = f"must give printable text of at most {_MAX_TEXT} characters for {place}"
            refuse(rule, value)
        return str(value)
    if isinstance(value, numbers.Integral):
        if abs(int(value)) > LARGEST_INTEGER:
            refuse(f"must give integers of at most 63 bits for {place}", value)
        return int(value)
    if not isinstance(value, numbers.Real):
        refuse(f"must give text, numbers, booleans, lists or mappings for {place}", value)
    if not math.isfinite(value):
        refuse(f"must give finite numbers for {place}", value)
    return float(value)

"""What one setting may be: each check holds the rule, its wording and its JSON Schema.

A check annotates a field, ``Annotated[float, Number(at_least=0, below=1)]``. It replaces
pydantic's own conversion, so that a file, an option and Python are read by the same rules and
every refusal gives the rule and the value.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePath
from typing import Any, NoReturn, TypeAlias

from pydantic_core import PydanticCustomError, core_schema

__all__ = [
    "AXIS_NAME",
    "IDENTIFIER",
    "LARGEST_INTEGER",
    "SHARD",
    "Check",
    "Choice",
    "Flag",
    "Integer",
    "Number",
    "Schema",
    "Text",
    "refuse",
    "reject",
    "shown",
    "whole",
]

Schema: TypeAlias = dict[str, Any]

IDENTIFIER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Names in settings: safe in file names, scripts, tables and HTML."""

AXIS_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
"""Names of axes, of arguments and of thresholds."""

SHARD = r"[0-9]{1,10}/[1-9][0-9]{0,9}"
"""Part i of K parts, as i/K."""

LARGEST_INTEGER = 2**63 - 1
"""The largest integer that a table column can hold."""

_MAX_SHOWN = 80


def shown(value: object) -> str:
    """Return a value as a message quotes it: on one line, short, and as a file would write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, numbers.Integral) and abs(int(value)) > LARGEST_INTEGER:
        return "an integer of more than 63 bits"
    # Cut before quoting as well: the repr of a huge text or list is huger still.
    cut = value[: _MAX_SHOWN + 1] if isinstance(value, str | list | tuple) else value
    text = repr(cut) if isinstance(cut, str | list | tuple) else str(cut)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def refuse(rule: str, value: object) -> NoReturn:
    """Refuse a value inside a check.

    Args:
        rule: What holds of every valid value, as in ``must be > 0``.
        value: What was given.
    """
    reject(f"{rule}, got {shown(value)}")


def reject(message: str) -> NoReturn:
    """Refuse a value inside a check with a whole message.

    Raises:
        PydanticCustomError: Always; pydantic adds where the value stood.
    """
    kind = "value"
    raise PydanticCustomError(kind, message)


class Check:
    """Base of the checks: how pydantic asks for the value and for the schema."""

    __slots__ = ()

    def check(self, value: Any) -> Any:
        """Return the value in its settled form, or refuse it."""
        raise NotImplementedError

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        raise NotImplementedError

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> Schema:
        return self.schema()


def _or_null(schema: Schema, is_optional: bool) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]} if is_optional else schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Number(Check):
    """A finite number, perhaps between bounds; settled as a float."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    or_null: bool = False

    def check(self, value: Any) -> float | None:
        """Return the value as a float, or refuse it."""
        if value is None and self.or_null:
            return None
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            refuse(f"must be a number {self._bounds()}".rstrip(), value)
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            refuse("must be finite", number)
        if not self._holds(number):
            refuse(f"must be {self._bounds()}", value)
        return number

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        bounds = {
            "minimum": self.at_least,
            "exclusiveMinimum": self.above,
            "maximum": self.at_most,
            "exclusiveMaximum": self.below,
        }
        given = {key: bound for key, bound in bounds.items() if bound is not None}
        return _or_null({"type": "number", **given}, self.or_null)

    def _holds(self, number: float) -> bool:
        return (
            (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
        )

    def _bounds(self) -> str:
        low = self.at_least if self.above is None else self.above
        high = self.at_most if self.below is None else self.below
        if low is None and high is None:
            return ""
        if high is None:
            return f"{'>=' if self.above is None else '>'} {low:g}"
        if low is None:
            return f"{'<=' if self.below is None else '<'} {high:g}"
        left, right = "[" if self.above is None else "(", "]" if self.below is None else ")"
        return f"in {left}{low:g}, {high:g}{right}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Integer(Check):
    """A whole number, ``1e2`` included, between bounds; settled as an int."""

    at_least: int
    at_most: int = LARGEST_INTEGER
    or_null: bool = False

    def check(self, value: Any) -> int | None:
        """Return the value as an int, or refuse it."""
        if value is None and self.or_null:
            return None
        number = whole(value)
        if number is None or not self.at_least <= number <= self.at_most:
            refuse(f"must be {self._rule()}", value)
        return number

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        schema: Schema = {"type": "integer", "minimum": self.at_least}
        if self.at_most != LARGEST_INTEGER:
            schema["maximum"] = self.at_most
        return _or_null(schema, self.or_null)

    def _rule(self) -> str:
        if self.at_most == LARGEST_INTEGER:
            return f"an integer >= {self.at_least}"
        return f"an integer in [{self.at_least}, {self.at_most}]"


def whole(value: Any) -> int | None:
    """Return a whole number as an int, None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and float(value).is_integer():
        return int(float(value))
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag(Check):
    """True or false; YAML 1.1's ``yes``, ``no``, ``on`` and ``off`` are text."""

    def check(self, value: Any) -> bool:
        """Return the value, or refuse it."""
        if not isinstance(value, bool):
            refuse("must be true or false", value)
        return value

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        return {"type": "boolean"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Text(Check):
    """Text on one line: of the given pattern, or at least printable."""

    what: str = "text"
    pattern: str | None = None
    max_length: int = 512
    or_null: bool = False

    def check(self, value: Any) -> str | None:
        """Return the value, a path as its text, or refuse it."""
        if value is None and self.or_null:
            return None
        text = str(value) if isinstance(value, PurePath) else value
        if not isinstance(text, str):
            refuse(f"must be {self.what}", value)
        if not text.strip() or len(text) > self.max_length:
            refuse(f"must be {self.what} of 1 to {self.max_length} characters", text)
        if not text.isprintable():
            refuse(f"must be {self.what} without control or invisible characters", text)
        if self.pattern is not None and not re.fullmatch(self.pattern, text):
            refuse(f"must be {self.what} matching {self.pattern}", text)
        return str(text)

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        schema: Schema = {"type": "string", "minLength": 1, "maxLength": self.max_length}
        if self.pattern is not None:
            schema["pattern"] = f"^{self.pattern}$"
        return _or_null(schema, self.or_null)


@dataclass(frozen=True, slots=True)
class Choice(Check):
    """One name out of a few."""

    names: tuple[str, ...]
    or_null: bool = False

    def check(self, value: Any) -> str | None:
        """Return the value, or refuse it with the nearest name."""
        if value is None and self.or_null:
            return None
        if isinstance(value, str) and value in self.names:
            return str(value)
        near = self._nearest(value) if isinstance(value, str) else []
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        kind = "must be one of" if len(self.names) > 1 else "must be"
        reject(f"{kind} {', '.join(self.names)}, got {shown(value)}{hint}")

    def schema(self) -> Schema:
        """Return the JSON Schema of what is accepted in a file."""
        return _or_null({"type": "string", "enum": list(self.names)}, self.or_null)

    def _nearest(self, name: str) -> list[str]:
        longer = [known for known in self.names if len(name) > 1 and known.startswith(name)]
        return longer or get_close_matches(name[:64], self.names, n=1)

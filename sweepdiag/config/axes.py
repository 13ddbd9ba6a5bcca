"""Axes as settings: the block of one axis, its short forms, and its option on the command line."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sweepdiag.config.checks import (
    AXIS_NAME,
    IDENTIFIER,
    LARGEST_INTEGER,
    Check,
    Choice,
    Integer,
    Number,
    refuse,
    reject,
    shown,
)
from sweepdiag.config.problems import Problem, SettingsModel, lift, problems_of

__all__ = ["LOG", "RESERVED_COLUMNS", "AxisScalar", "ParameterSpec", "Parameters", "range_block"]

AxisScalar: TypeAlias = bool | int | float | str

RESERVED_COLUMNS = frozenset(
    {
        "trial_id", "config_id", "seed", "attempt", "state", "reason", "device", "seconds",
        "peak_memory_mb", "n_parameters", "epoch", "step", "train_loss", "val_loss",
        "train_loss_running",
        "train_metric", "val_metric", "grad_norm", "update_ratio", "dead_fraction",
        "verdict", "runner_up", "tags", "confidence",
        "turning_epoch", "evidence", "context", "reference_id", "n_seeds", "n_judged", "n_failed",
        "share", "best_val_loss", "worst_val_loss", "last_val_loss", "best_train_loss",
        "best_val_metric", "best_monitor", "worst_monitor", "best_epoch", "n_evaluations",
        "margin", "numbers", "criterion", "epochs_used", "used_fraction", "regret",
    }
)  # fmt: skip
"""Columns that stand beside the axes in some table, and so cannot name an axis."""

LOG = "log_uniform_values"
_DISTRIBUTIONS = (LOG, "uniform")
_LOG_AXES = frozenset({"lr", "weight_decay"})
"""Axes whose range is logarithmic unless it says otherwise."""

_AXIS_CHECKS: Mapping[str, Number | Integer] = {
    "lr": Number(above=0),
    "batch_size": Integer(at_least=1),
    "momentum": Number(at_least=0, below=1),
    "weight_decay": Number(at_least=0),
    "dropout": Number(at_least=0, at_most=1),
}
_MAX_VALUES = 100_000
_INTEGER_SCHEMA = {"type": "integer", "minimum": 2, "maximum": _MAX_VALUES}


class _Values(Check):
    """Different values of one kind: numbers, names or booleans."""

    __slots__ = ()

    def check(self, value: Any) -> tuple[AxisScalar, ...] | None:
        """Return the values, all floats where one of them is, or refuse them."""
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAX_VALUES:
            refuse(f"must be a list of 1 to {_MAX_VALUES} values", value)
        scalars = [_axis_scalar(item) for item in value]
        if len({_kind(item) for item in scalars}) > 1:
            refuse("must be all numbers, all names or all true and false", value)
        if any(isinstance(item, float) for item in scalars):
            scalars = [float(item) for item in scalars]
        _refuse_repeats(scalars)
        return tuple(scalars)

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what is accepted in a file."""
        return _VALUES_SCHEMA


_SCALAR_SCHEMA = {
    "anyOf": [
        {"type": "number"},
        {"type": "boolean"},
        {"type": "string", "pattern": f"^{IDENTIFIER}$"},
    ]
}
_VALUES_SCHEMA = {
    "type": "array",
    "items": _SCALAR_SCHEMA,
    "minItems": 1,
    "maxItems": _MAX_VALUES,
    "uniqueItems": True,
}


def _axis_scalar(value: Any) -> AxisScalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not re.fullmatch(IDENTIFIER, value):
            refuse(f"must have names that match {IDENTIFIER}", value)
        return str(value)
    if isinstance(value, numbers.Integral):
        if abs(int(value)) > LARGEST_INTEGER:
            refuse("must have integers of at most 63 bits", value)
        return int(value)
    if not isinstance(value, numbers.Real):
        refuse("must have numbers, names, or true and false as values", value)
    if not math.isfinite(value):
        refuse("must have finite values", value)
    return float(value)


def _kind(value: AxisScalar) -> str:
    if isinstance(value, bool):
        return "flag"
    return "name" if isinstance(value, str) else "number"


def _refuse_repeats(values: list[AxisScalar]) -> None:
    seen: set[AxisScalar] = set()
    for value in values:
        if value in seen:
            reject(f"must have different values, {shown(value)} is there twice")
        seen.add(value)


class ParameterSpec(SettingsModel):
    """The values of one axis: either a list, or a range.

    Made from a block ``{values: […]}``, ``{value: x}`` or ``{min, max, distribution, n}``, from a
    bare list or scalar, or from a Python tuple ``(min, max)`` or ``(min, max, n)``.
    """

    values: Annotated[tuple[AxisScalar, ...] | None, _Values()] = Field(
        default=None, description="The values themselves, in the order they are compared in."
    )
    min: Annotated[float | None, Number(or_null=True)] = Field(
        default=None, description="Lower end of a range; above 0 for log_uniform_values."
    )
    max: Annotated[float | None, Number(or_null=True)] = Field(
        default=None, description="Upper end of a range."
    )
    distribution: Annotated[str | None, Choice(_DISTRIBUTIONS, or_null=True)] = Field(
        default=None,
        description="How a range is divided: log_uniform_values (even steps of the logarithm; the "
        "default for lr and weight_decay) or uniform (the default otherwise).",
    )
    n: Annotated[int | None, Integer(at_least=2, at_most=_MAX_VALUES, or_null=True)] = Field(
        default=None, description="Points of a grid along the range; not used by qmc."
    )

    @property
    def is_range(self) -> bool:
        """Whether it has ends instead of listed values."""
        return self.values is None

    def block(self) -> dict[str, Any]:
        """Return the block as a file writes it, without the keys that are not used."""
        if self.values is not None:
            is_single = len(self.values) == 1
            return {"value": self.values[0]} if is_single else {"values": list(self.values)}
        ends = {"min": self.min, "max": self.max, "distribution": self.distribution, "n": self.n}
        return {key: value for key, value in ends.items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "value" in data:
            if data.get("values") is not None:
                lift([_problem("value", "excludes values", kind="value")])
            rest = {key: item for key, item in data.items() if key != "value"}
            return {**rest, "values": [data["value"]]}
        if isinstance(data, Mapping | ParameterSpec):
            return data
        if isinstance(data, tuple):
            return range_block(data)
        data = data.tolist() if hasattr(data, "tolist") else data
        return {"values": list(data) if isinstance(data, list | range) else [data]}

    @model_validator(mode="after")
    def _check_form(self) -> Self:
        problems = list(self._form_problems())
        if problems:
            lift(problems)
        return self

    def _form_problems(self) -> list[Problem]:
        ends = {key: getattr(self, key) for key in ("min", "max", "distribution", "n")}
        if self.values is not None:
            given = [key for key, value in ends.items() if value is not None]
            return [_problem(key, "belongs to a range, and values are listed") for key in given]
        absent = [key for key in ("min", "max") if ends[key] is None]
        if len(absent) == 2:
            return [_problem(None, "needs values, or min and max")]
        if absent:
            return [_problem(None, f"needs {absent[0]} as well")]
        return self._range_problems(ends["min"], ends["max"])

    def _range_problems(self, low: float, high: float) -> list[Problem]:
        problems = []
        if low >= high:
            problems.append(_problem("min", f"must be below max ({high:g}), got {low:g}"))
        if self.distribution == LOG and low <= 0:
            problems.append(_problem("min", f"must be > 0 for {LOG}, got {low:g}"))
        return problems


def _problem(key: str | None, message: str, *, kind: str = "value") -> Problem:
    return Problem(path=() if key is None else (key,), kind=kind, message=message)


def range_block(ends: tuple[Any, ...]) -> dict[str, Any]:
    """Return the block that a Python tuple ``(min, max)`` or ``(min, max, n)`` stands for."""
    if len(ends) not in {2, 3}:
        reject(f"must be (min, max) or (min, max, n) as a tuple, got {shown(ends)}")
    return dict(zip(("min", "max", "n"), ends, strict=False))


class Parameters(Check):
    """All axes by name, each held against the rules of its name as well."""

    __slots__ = ()

    def check(self, value: Any) -> dict[str, ParameterSpec]:
        """Return the axes, or refuse them with all that is wrong with each."""
        if not isinstance(value, Mapping):
            refuse("must be a mapping from axis names to their values", value)
        axes: dict[str, ParameterSpec] = {}
        problems: list[Problem] = []
        for name, block in value.items():
            found = _name_problem(name)
            if found is not None:
                problems.append(found)
                continue
            try:
                axes[name] = _named_axis(name, block)
            except ValidationError as error:
                problems += [_below(name, inner) for inner in problems_of(error, ParameterSpec)]
        if problems:
            lift(problems)
        return axes

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what is accepted in a file."""
        ends = {
            "min": {"type": "number", "description": _description("min")},
            "max": {"type": "number", "description": _description("max")},
            "distribution": {
                "enum": list(_DISTRIBUTIONS),
                "description": _description("distribution"),
            },
            "n": {**_INTEGER_SCHEMA, "description": _description("n")},
        }
        forms = [
            _block_schema(ends, ["min", "max"]),
            _block_schema({"values": _VALUES_SCHEMA}, ["values"]),
            _block_schema({"value": _SCALAR_SCHEMA}, ["value"]),
            _VALUES_SCHEMA,
            *_SCALAR_SCHEMA["anyOf"],
        ]
        names = {"pattern": f"^{AXIS_NAME}$", "not": {"enum": sorted(RESERVED_COLUMNS)}}
        return {
            "type": "object",
            "propertyNames": names,
            "additionalProperties": {"anyOf": forms},
        }


def _block_schema(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _description(key: str) -> str:
    return str(ParameterSpec.model_fields[key].description)


def _name_problem(name: Any) -> Problem | None:
    if not isinstance(name, str) or not re.fullmatch(AXIS_NAME, name):
        message = f"must have axis names that match {AXIS_NAME}, got {shown(name)}"
    elif name in RESERVED_COLUMNS:
        message = f"must not have an axis named {name}: the tables have a column of that name"
    else:
        return None
    # The path keeps the name, which is where a file has the error; the text must not repeat it.
    return Problem(path=(str(name),), kind="key", message=message)


def _below(name: str, problem: Problem) -> Problem:
    """Put an axis in front of a problem's path; a list's own path is that of its axis."""
    path = () if problem.path == ("values",) and problem.kind == "value" else problem.path
    valid = (*problem.valid, "value") if problem.kind == "unknown" else ()
    return replace(problem, path=(name, *path), valid=valid)


def _named_axis(name: str, block: Any) -> ParameterSpec:
    spec = ParameterSpec.model_validate(block)
    if spec.is_range and spec.distribution is None:
        is_log = name in _LOG_AXES and spec.min is not None and spec.min > 0
        spec = spec.model_copy(update={"distribution": LOG if is_log else "uniform"})
    check = _AXIS_CHECKS.get(name)
    return spec if check is None else _checked_axis(spec, check)


def _checked_axis(spec: ParameterSpec, check: Number | Integer) -> ParameterSpec:
    if isinstance(check, Integer) and spec.is_range:
        lift([_problem(None, "must be a list of values: a range would not give whole numbers")])
    if spec.values is None:
        for key in ("min", "max"):
            _held(check, getattr(spec, key), key)
        return spec
    values = tuple(_held(check, value, None) for value in spec.values)
    return spec.model_copy(update={"values": values})


def _held(check: Number | Integer, value: AxisScalar, key: str | None) -> AxisScalar:
    try:
        held = check.check(value)
    except PydanticCustomError as error:
        lift([_problem(key, error.message())])
    return value if held is None else held

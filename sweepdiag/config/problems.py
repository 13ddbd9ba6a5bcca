"""What is wrong with settings, in our words: the one place that reads pydantic's errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeGuard

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sweepdiag.config.checks import shown
from sweepdiag.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic._internal._model_construction import ModelMetaclass
else:
    # The same class: its home is private, and only a type checker has to be told where it is.
    ModelMetaclass = type(BaseModel)

__all__ = ["KeyPath", "Problem", "SettingsModel", "dotted", "lift", "problems_of", "summary"]

KeyPath: TypeAlias = tuple[str | int, ...]

_MAX_LISTED = 50
_MAX_KEY = 80
_OF_A_WORKLOAD = frozenset(
    {"axes", "loss_floor", "metric", "metric_mode", "model", "name", "task", "train", "validation"}
)
"""Arguments of ``Workload`` that no sweep can replace."""
_CLIPPING = "Gradients are clipped in a training loop of your own, train(config, report)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong with the settings.

    Attributes:
        path: Keys from the root to the setting.
        kind: ``value``, ``key`` (a name that may not be a key), ``unknown`` (a key that does not
            exist), ``missing``, or ``combination`` (settings that exclude each other, which other
            settings may still put right).
        message: The rule and the value; follows the path of the setting.
        valid: The keys that exist, where the kind is ``unknown``.
    """

    path: KeyPath
    kind: str
    message: str
    valid: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The setting, the rule and the value, in one line."""
        parent = dotted(self.path[:-1])
        if self.kind != "unknown":
            subject = parent if self.kind == "key" else dotted(self.path)
            return f"{subject} {self.message}".strip()
        name = str(self.path[-1])[:_MAX_KEY]
        if not parent and name in _OF_A_WORKLOAD:
            return f"key {name!r} is no setting of a sweep: it belongs to Workload({name}=…)"
        told = unknown_name(f"key of {parent}" if parent else "key", name, self.valid)
        return f"{told}. {_CLIPPING}" if "clip" in name.lower() else told


def dotted(path: KeyPath) -> str:
    """Return a path as the user writes it: ``optimizer.momentum``, ``seeds[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        # A key straight from a file can hold anything, an escape sequence for the terminal too.
        name = part[:_MAX_KEY]
        name = name if name.isprintable() else repr(name)
        text += f".{name}" if text else name
    return text


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return what pydantic found wrong, in our words.

    Args:
        error: The error of ``model``'s validation.
        model: The model that refused.

    Returns:
        One problem for each of pydantic's errors, in its order.
    """
    return [
        _problem(dict(details), model)
        for details in error.errors(include_url=False, include_context=True)
    ]


def lift(problems: Iterable[Problem]) -> NoReturn:
    """Raise problems found inside a validator, so that each keeps its own path.

    Args:
        problems: At least one; paths are relative to the validator's field or model. Pydantic
            puts the path of that field or model in front.
    """
    details = [
        InitErrorDetails(
            type=PydanticCustomError(
                problem.kind, problem.message, {"valid": problem.valid} if problem.valid else None
            ),
            loc=problem.path,
            input=None,
        )
        for problem in problems
    ]
    error = ValidationError.from_exception_data(SettingsModel.__name__, details)
    raise error


def summary(lines: Sequence[str]) -> str:
    """Return the message of an error that names several problems, one per line."""
    if len(lines) <= _MAX_LISTED:
        return "\n".join(lines)
    more = f"… and {len(lines) - _MAX_LISTED} more"
    return "\n".join([*lines[:_MAX_LISTED], more])


def _problem(details: dict[str, Any], model: type[BaseModel]) -> Problem:
    path, kind, message = details["loc"], details["type"], details["msg"]
    found = Problem(path=path, kind=kind, message=message)
    if kind == "missing":
        return replace(found, message="is required")
    if kind == "extra_forbidden":
        return replace(found, kind="unknown", valid=_keys_at(path[:-1], model))
    if kind == "unknown":
        return replace(found, valid=tuple(details["ctx"]["valid"]))
    if kind in {"value", "key", "combination"}:
        return found
    # What is left of pydantic's own kinds: something that should be a block of settings is not.
    given = details["input"]
    rule = f"must be a mapping, got {shown(given)}"
    if isinstance(given, str) and "name" in _keys_at(path, model):
        rule += f": write {dotted(path)}.name={given[:_MAX_KEY]}"
    return replace(found, kind="value", message=rule)


def _keys_at(path: KeyPath, model: type[BaseModel]) -> tuple[str, ...]:
    for part in path:
        inner = model.model_fields[str(part)].annotation
        if not _is_model(inner):
            return ()
        model = inner
    return tuple(model.model_fields)


def _is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


class _ReportingMeta(ModelMetaclass):
    """Lets a model that is made in Python raise our error instead of pydantic's.

    A metaclass, since a validator or an ``__init__`` would also run for models inside models,
    where pydantic has to see its own error to add the path.
    """

    def __call__(cls, *args: Any, **settings: Any) -> Any:  # noqa: N805 - a metaclass's self
        try:
            return super().__call__(*args, **settings)
        except ValidationError as error:
            lines = [problem.text for problem in problems_of(error, cls)]  # type: ignore[arg-type]
        raise ConfigError(summary(lines))


class SettingsModel(BaseModel, metaclass=_ReportingMeta):
    """Base of the blocks of settings: frozen, without unknown keys, refusing in our words."""

    # Validators are built at first use: importing the package must stay quick.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

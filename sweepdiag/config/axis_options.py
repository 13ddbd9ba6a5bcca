"""The short form of an axis, as an option or an override on the command line gives it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from sweepdiag.config.axes import LOG, ParameterSpec
from sweepdiag.config.problems import problems_of
from sweepdiag.config.scalars import read_scalar
from sweepdiag.errors import ConfigError

__all__ = ["parse_axis"]


def parse_axis(text: str, *, option: str = "axis") -> dict[str, Any]:
    """Return the block of an axis written in short, as on the command line.

    ``low:high:n`` is a logarithmic range with n points, ``low:high`` leaves their number open, and
    ``lin:low:high:n`` is a linear range. ``16,64,256`` lists values, and ``0.1`` is a single one.

    Args:
        text: The short form.
        option: How messages name it, such as ``--lr``.

    Returns:
        The block, as a file would hold it under ``parameters``. Rules that belong to the axis's
        name, such as ``lr > 0``, are checked with the whole configuration.

    Raises:
        ConfigError: If the text is none of these forms, or the range is empty.
    """
    text = text.strip()
    block = _parse_range(text, option) if ":" in text else _parse_values(text, option)
    try:
        return ParameterSpec.model_validate(block).block()
    except ValidationError as error:
        found = problems_of(error, ParameterSpec)[0]
    inner = "" if found.path in {(), ("values",)} else f" {found.path[-1]}"
    message = f"{option}:{inner} {found.message} (in {text[:80]!r})"
    if LOG in found.message:
        message += f": even steps, which may begin at 0, are lin:{text.removeprefix('log:')[:80]}"
    raise ConfigError(message)


def _parse_values(text: str, option: str) -> dict[str, Any]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        rule = "values separated by commas, or low:high:n"
        message = f"{option} must be {rule}, got {text[:80]!r}"
        raise ConfigError(message)
    return {"values": [_read(part, text, option) for part in parts]}


def _parse_range(text: str, option: str) -> dict[str, Any]:
    kind, _, rest = text.partition(":")
    is_named = kind in {"lin", "log"}
    parts = (rest if is_named else text).split(":")
    if len(parts) not in {2, 3}:
        rule = "low:high:n, low:high or lin:low:high:n"
        message = f"{option} must be {rule}, got {text[:80]!r}"
        raise ConfigError(message)
    values = [_read(part.strip(), text, option) for part in parts]
    return {
        **dict(zip(("min", "max", "n"), values, strict=False)),
        "distribution": "uniform" if kind == "lin" else LOG,
    }


def _read(part: str, text: str, option: str) -> Any:
    try:
        return read_scalar(part)
    except ValueError as error:
        message = f"{option}: {error} (in {text[:80]!r})"
    raise ConfigError(message)

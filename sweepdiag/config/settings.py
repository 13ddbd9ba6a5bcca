"""Layers of settings to one configuration: workload's defaults < file < options and overrides.

Options and overrides are given together, in one command or call. Where both give a setting, they
have to give it the same value.

A sweep's configuration is made in two stages, since a workload brings defaults of its own and has
to be loaded to give them::

    settings = read_settings(path, options=options, overrides=overrides)
    workload = load(settings.workload, settings.workload_parameters)
    config = validate_settings(settings, defaults=workload_defaults)

``load_config`` does both at once where the defaults are known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sweepdiag.config.axis_options import parse_axis
from sweepdiag.config.layers import (
    Assignment,
    Line,
    Origin,
    apply,
    contradictions,
    is_edit,
    layer_of_document,
    layer_of_mapping,
    place_in_file,
)
from sweepdiag.config.models import SweepConfig
from sweepdiag.config.problems import problems_of, summary
from sweepdiag.config.yaml_reading import read_file, read_value
from sweepdiag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sweepdiag.config.problems import KeyPath

__all__ = ["Settings", "load_config", "read_settings", "validate_settings"]

_OVERRIDE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings from file, options and overrides, without the workload's defaults.

    Attributes:
        assignments: What each layer gives, in the order in which later ones win.
        file: Path of the file, as messages give it; None without one.
    """

    assignments: tuple[Assignment, ...]
    file: str | None

    @property
    def given(self) -> dict[str, Any]:
        """What the layers together give, nested; nothing is filled in."""
        return apply(self.assignments).tree

    @property
    def workload(self) -> str:
        """The workload's reference.

        Raises:
            ConfigError: If no layer names one.
        """
        reference = self.given.get("workload")
        if reference is None:
            where = "" if self.file is None else f"{self.file}: "
            message = f"{where}workload is required, such as digits or my_workload.py:build"
            raise ConfigError(message)
        return str(reference)

    @property
    def workload_parameters(self) -> dict[str, Any]:
        """The arguments for the workload's function."""
        return dict(self.given.get("workload_parameters", {}))


def load_config(
    path: str | Path | None = None,
    *,
    defaults: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> SweepConfig:
    """Return the configuration made of all layers: defaults < file < options and overrides.

    Args:
        path: A YAML file; None for none.
        defaults: A workload's own axes and settings, as a nested mapping.
        options: Settings by name or dotted name, or nested; None values count as not given.
        overrides: Settings as ``key=value`` with dotted keys and values in YAML. None may give
            what an option gives otherwise.

    Returns:
        The configuration. If anything is wrong, a ConfigError has a line for each thing, with
        where it stands.
    """
    settings = read_settings(path, options=options, overrides=overrides)
    return validate_settings(settings, defaults=defaults)


def read_settings(
    path: str | Path | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Settings:
    """Read all layers but the workload's defaults, and check what can be checked without them.

    Args:
        path: A YAML file; None for none.
        options: Settings by name or dotted name, or nested; None values count as not given.
        overrides: Settings as ``key=value`` with dotted keys and values in YAML. None may give
            what an option gives otherwise.

    Returns:
        The settings, for ``validate_settings``.

    Raises:
        ConfigError: With a line for each thing that is wrong, and where it stands.
    """
    document = None if path is None else read_file(Path(path))
    given, refused = _overrides(overrides)
    asked = list(layer_of_mapping(options or {}, label="", rank=2))
    refused += contradictions(asked, given)
    assignments = (
        *(() if document is None else layer_of_document(document, str(path))),
        *asked,
        *given,
    )
    if document is not None:
        refused += [
            place_in_file(str(path), place).line(text) for place, text in document.problems
        ]
    settings = Settings(assignments=assignments, file=None if path is None else str(path))
    refused += _early_problems(settings)
    if refused:
        raise ConfigError(_message(refused))
    return settings


def validate_settings(
    settings: Settings, *, defaults: Mapping[str, Any] | None = None
) -> SweepConfig:
    """Return the configuration that settings make on top of a workload's defaults.

    Args:
        settings: What ``read_settings`` returned.
        defaults: The workload's own axes and settings, as a nested mapping.

    Raises:
        ConfigError: With a line for each thing that is wrong, and where it stands.
    """
    below = layer_of_mapping(defaults or {}, label="default of the workload", rank=0)
    applied = apply((*below, *settings.assignments))
    found = list(applied.refused)
    try:
        config = SweepConfig.model_validate(applied.tree)
    except ValidationError as error:
        problems = problems_of(error, SweepConfig)
        found += [applied.line(problem, settings.file) for problem in problems]
    if found:
        raise ConfigError(_message(found))
    return config


def _message(lines: Iterable[Line]) -> str:
    return summary(list(dict.fromkeys(text for _, text in sorted(lines))))


def _early_problems(settings: Settings) -> list[Line]:
    """Return what is wrong whatever the workload's defaults are.

    Left for later is what they may complete: edits inside an axis, missing settings, and settings
    that exclude each other.
    """
    applied = apply(a for a in settings.assignments if not is_edit(a.path))
    try:
        SweepConfig.model_validate(applied.tree)
    except ValidationError as error:
        problems = problems_of(error, SweepConfig)
        certain = [p for p in problems if p.kind not in {"missing", "combination"}]
        return [*applied.refused, *(applied.line(p, settings.file) for p in certain)]
    return applied.refused


def _overrides(
    overrides: Sequence[str],
) -> tuple[list[Assignment], list[Line]]:
    given, refused = [], []
    for index, override in enumerate(overrides):
        origin = Origin(label=f"override {override[:80]!r}", order=(3, index))
        try:
            path, value = _parse_override(override, origin.label)
        except ConfigError as error:
            refused.append((origin.order, str(error)))
        else:
            given.append(Assignment(path=path, value=value, origin=origin, places={}))
    return given, refused


def _parse_override(override: str, label: str) -> tuple[KeyPath, Any]:
    key, equals, text = override.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not _OVERRIDE_KEY.fullmatch(key):
        message = f"{label}: must be key=value, with a dotted key such as optimizer.momentum"
        raise ConfigError(message)
    path: KeyPath = tuple(key.split("."))
    # An axis may be short, as in its option; a block or a list in brackets is YAML.
    is_short_axis = len(path) == 2 and path[0] == "parameters" and text[:1] not in tuple("{['\"")
    if is_short_axis:
        return path, parse_axis(text, option=label)
    return path, read_value(text, name=label)

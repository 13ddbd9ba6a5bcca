"""Settings of runs in files beside their logs."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sweepdiag.config.yaml_reading import MAX_BYTES, read_text
from sweepdiag.errors import ConfigError
from sweepdiag.readers.raw import is_file, storable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["LONGEST", "PREFIX", "settings_beside"]

_FILES = (
    "hparams.yaml", "hparams.json", "params.json", "params.yaml", "args.yaml", "args.json",
    "opt.yaml", "hyp.yaml", "config.yaml", "config.yml", "config.json", ".hydra/config.yaml",
    "hyperparameters.json", "hyperparameters.yaml", "hyperparams.json", "hyperparams.yaml",
)  # fmt: skip
"""Where Lightning, Ray Tune, YOLO, Hydra, Sacred and scripts write the settings of a run."""
_PARAMS, _META = "params", "meta.yaml"
"""Where MLflow writes them: a folder with a file per setting, beside the run's description."""
PREFIX = "config"
"""Where settings stand that were beside losses: ``config/lr``."""
LONGEST = 200
"""Characters from which a text is no value of a setting."""


@lru_cache(maxsize=100_000)  # cleared for each path that is read, since files change
def settings_beside(folder: Path, top: Path) -> Mapping[str, Any]:
    """Return what the files of settings in a log's folder and those above it say.

    Args:
        folder: The folder of the log.
        top: The folder that was asked for, above which nothing is looked for.

    Returns:
        Values by name: ``config/lr``, ``config/model/width`` for settings inside others. A nearer
        folder comes before those above it. Files that cannot be read say nothing.
    """
    above = settings_beside(folder.parent, top) if top in folder.parents else {}
    own: dict[str, Any] = {}
    for path in (folder / name for name in _FILES):
        if is_file(path):
            own = dict(map(_setting, _read(path))) | own
    if is_file(folder / _META):
        own |= dict(map(_setting, _read_params(folder / _PARAMS)))
    return {**above, **own}


def _setting(pair: tuple[str, Any]) -> tuple[str, Any]:
    """Return the name and the value of a setting as they are stored."""
    name, value = pair
    return storable(f"{PREFIX}/{name}"), storable(value) if isinstance(value, str) else value


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        is_json = path.suffix == ".json"
        content = json.loads(text) if is_json else read_text(text, name=path.name).value
    except (OSError, ValueError, RecursionError, ConfigError):
        return
    if isinstance(content, dict):
        yield from _flat(content)


def _flat(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the settings of a mapping and of those inside it; lists as one text."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            text = json.dumps(value, default=str)
            yield from [(f"{prefix}{name}", text)] * (len(text) <= LONGEST)
        elif not isinstance(value, str) or len(value) <= LONGEST:
            yield f"{prefix}{name}", value


def _read_params(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.rglob("*")):
        try:
            if not is_file(path) or path.stat().st_size > LONGEST:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield path.relative_to(folder).as_posix(), _number_or_text(text)


def _number_or_text(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text.strip()

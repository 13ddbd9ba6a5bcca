"""Settings of runs beside their logs: files of them, and names such as ``lr=0.1,bs=64``."""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sweepdiag.config.yaml_reading import MAX_BYTES, read_text
from sweepdiag.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["settings_beside", "settings_in_names"]

_FILES = (
    "hparams.yaml", "hparams.json", "params.json", "params.yaml", "args.yaml", "args.json",
    "opt.yaml", "hyp.yaml", "config.yaml", "config.yml", "config.json", ".hydra/config.yaml",
    "hyperparameters.json", "hyperparameters.yaml", "hyperparams.json", "hyperparams.yaml",
)  # fmt: skip
"""Where Lightning, Ray Tune, YOLO, Hydra, Sacred and scripts write the settings of a run."""
_PARAMS, _META = "params", "meta.yaml"
"""Where MLflow writes them: a folder with a file per setting, beside the run's description."""
_PREFIX = "config"
_LONGEST = 200
"""Characters from which a text is no value of a setting."""
_ASSIGNED = re.compile(r"(?:.*\d_)?(?P<name>[A-Za-z][\w.]*)=(?P<value>[^=]+)")
"""One of ``train_8_lr=0.1,width=64`` between the commas: what Ray Tune and Hydra call folders."""
_KNOWN = re.compile(
    r"(?<![A-Za-z])(?P<name>lr|learning_?rate|bs|batch_?size|batch|wd|weight_?decay|width|depth|"
    r"hidden(?:_?(?:size|dim|units))?|dropout|momentum|seed|fold)[_=-]?"
    r"(?P<value>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?![A-Za-z\d]|\.\d)",
    re.IGNORECASE,
)
"""A setting of a usual name with its number: ``lr0.01``, ``bs_64``."""


@lru_cache(maxsize=100_000)
def settings_beside(folder: Path, top: Path) -> Mapping[str, Any]:
    """Return what the files of settings in a log's folder and those above it say.

    Args:
        folder: The folder of the log.
        top: The folder that was asked for, above which nothing is looked for.

    Returns:
        Values by name: ``config/lr``, ``config/model/width`` for settings inside others. A nearer
        folder comes before those above it. Files that cannot be read say nothing.
    """
    above = settings_beside(folder.parent, top) if folder != top else {}
    own: dict[str, Any] = {}
    for path in (folder / name for name in _FILES):
        if path.is_file():
            own = {f"{_PREFIX}/{name}": value for name, value in _read(path)} | own
    if (folder / _META).is_file() and (folder / _PARAMS).is_dir():
        own |= {f"{_PREFIX}/{name}": value for name, value in _read_params(folder / _PARAMS)}
    return {**above, **own}


def settings_in_names(runs: Sequence[str]) -> dict[str, list[Any]]:
    """Return the settings that the names of runs tell, each with a value per run.

    Args:
        runs: Names such as ``lr_0.1_bs_64`` or ``train_8_lr=0.1,width=64``.

    Returns:
        Values by name of the setting, only of those that every name tells once.
    """
    found = [dict(_named(run)) for run in runs]
    shared = [name for name in (found[0] if found else {}) if all(name in one for one in found)]
    return {name: [one[name] for one in found] for name in shared}


def _named(run: str) -> Iterator[tuple[str, Any]]:
    assigned = [match for part in re.split(r"[,/&;]", run) if (match := _ASSIGNED.fullmatch(part))]
    matches = assigned or list(_KNOWN.finditer(run))
    counts = Counter(match["name"].lower() for match in matches)
    for match in matches:
        if counts[match["name"].lower()] == 1:
            yield match["name"], _value(match["value"])


def _value(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text.strip()


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
            yield from [(f"{prefix}{name}", text)] * (len(text) <= _LONGEST)
        elif not isinstance(value, str) or len(value) <= _LONGEST:
            yield f"{prefix}{name}", value


def _read_params(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_size <= _LONGEST:
            name = path.relative_to(folder).as_posix()
            yield name, _value(path.read_text(encoding="utf-8", errors="replace"))

"""Making a run folder this sweep's, or finding out that it holds another."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sweepdiag
from sweepdiag.config import JUDGING_SETTINGS, load_config
from sweepdiag.errors import ConfigError, StoreError
from sweepdiag.pipeline.diagnosis import read_config
from sweepdiag.pipeline.environment import now
from sweepdiag.store import History, describe_damages
from sweepdiag.store.history import header_record, plan_record

if TYPE_CHECKING:
    from sweepdiag.config import SweepConfig
    from sweepdiag.pipeline.resolve import ResolvedSweep
    from sweepdiag.store import Journal, RunFolder

__all__ = ["claim", "differences", "recorded_history"]

logger = logging.getLogger(__name__)


def claim(folder: RunFolder, sweep: ResolvedSweep, *, overwrite: bool = False) -> None:
    """Make a new folder this sweep's; a folder that holds a sweep is left for later.

    Args:
        folder: The folder.
        sweep: What is to run.
        overwrite: Take a folder as well that has lost its configuration.

    Raises:
        ConfigError: If the folder holds something else.
    """
    if folder.exists:
        return
    if not folder.is_free and not (overwrite and folder.has_journal):
        message = f"{folder.path} is not empty and holds no sweep: choose another --output"
        raise ConfigError(message)
    folder.create(sweep_yaml=sweep.config.to_yaml())


def differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Return where two nested configurations differ, as ``epochs: 30 there, 40 here``.

    Args:
        there: The one.
        here: The other.
        name: Of the setting that both are, with its dots.
    """
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            line
            for key in sorted({*there, *here})
            for line in differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if there == here else [f"{name}: {there} there, {here} here"]


def recorded_history(
    folder: RunFolder,
    journal: Journal,
    sweep: ResolvedSweep,
    *,
    try_first: Callable[[ResolvedSweep], ResolvedSweep],
    overwrite: bool,
    accept_changed_code: bool,
) -> History:
    """Return the sweep's state with header and plan recorded, whoever recorded them.

    Args:
        folder: A folder that holds a sweep, this one or another.
        journal: Its journal; being open, no other process writes into the folder.
        sweep: What is to run.
        try_first: Returns the sweep with what its first step tells among its facts; asked where
            that is recorded and not known yet, as when the journal has lost its beginning.
        overwrite: Replace another sweep.
        accept_changed_code: Continue although source files have changed.

    Returns:
        What has been done of this sweep.

    Raises:
        ConfigError: If the folder holds another sweep that may not be replaced.
        StoreError: If what it holds cannot be read, and may not be replaced.
    """
    try:
        history, damages = folder.read_history()
        why = _why_not_this(folder, history, sweep, accept_changed_code=accept_changed_code)
    except (ConfigError, StoreError) as error:  # of another version, or edited
        if not overwrite:
            raise
        history, damages, why = History(), [], str(error)
    for line in describe_damages(damages, n_torn_bytes=journal.n_torn_bytes):
        logger.warning("%s/journal.jsonl: %s", folder.path, line)
    if why and not overwrite:
        raise ConfigError(why)
    if why:
        journal.truncate()
        folder.clear()
        folder.create(sweep_yaml=sweep.config.to_yaml())
        history = History()
    else:
        _record_judging(folder, sweep.config)
    if not history.header:
        sweep = sweep if sweep.facts.step is not None else try_first(sweep)
        journal.append([_header(sweep)])
        history.facts = sweep.facts
    if history.plan is None:
        journal.append([plan_record(sweep.plan)])
        history.add_plan(sweep.plan)
    journal.sync()
    return history


def _record_judging(folder: RunFolder, config: SweepConfig) -> None:
    """Take over how curves are to be judged, where that is not what the folder has."""
    recorded, asked = read_config(folder).to_mapping(), config.to_mapping()
    judging = {name: asked[name] for name in JUDGING_SETTINGS}
    if any(recorded[name] != setting for name, setting in judging.items()):
        changed = load_config(options={**recorded, **judging})
        folder.create(sweep_yaml=changed.to_yaml())


def _why_not_this(
    folder: RunFolder, history: History, sweep: ResolvedSweep, *, accept_changed_code: bool
) -> str:
    """Return why the folder cannot be continued with this sweep; empty if it can."""
    elsewhere = "choose another --output, or replace it with --overwrite"
    recorded = read_config(folder)
    if recorded.execution.shard != sweep.config.execution.shard:
        here, there = sweep.config.execution.shard, recorded.execution.shard
        return (
            f"{folder.path} holds {_part(there)} of its sweep, and {_part(here)} is asked for: "
            f"{elsewhere}"
        )
    told = differences(recorded.comparable(), sweep.config.comparable())
    if told:
        return f"{folder.path} holds a different sweep ({'; '.join(told[:3])}): {elsewhere}"
    changed = _changed_sources(history, sweep)
    if changed and not accept_changed_code:
        return (
            f"{', '.join(changed)} changed since {folder.path} was begun: choose another --output,"
            " or pass --accept-changed-code"
        )
    planned = {trial.trial_id for trial in sweep.plan.trials}
    if history.plan is not None and planned != set(history.trials):
        return (
            f"{folder.path} was planned with other data, another version of the workload or other "
            f"settings: its trials are not those of this sweep; {elsewhere}"
        )
    if changed:
        logger.warning("%s changed; going on as asked", ", ".join(changed))
    return ""


def _part(shard: str | None) -> str:
    return "the whole" if shard is None else f"shard {shard}"


def _changed_sources(history: History, sweep: ResolvedSweep) -> list[str]:
    recorded = history.header.get("sources", {}) if history.header else sweep.sources
    return sorted(
        path
        for path in {*recorded, *sweep.sources}
        if recorded.get(path) != sweep.sources.get(path)
    )


def _header(sweep: ResolvedSweep) -> dict[str, Any]:
    return header_record(
        run_id=uuid.uuid4().hex,
        created=now(),
        version=sweepdiag.__version__,
        facts=sweep.facts,
        sources=sweep.sources,
        directory=str(Path.cwd()),
    )

"""Making a run folder this sweep's, or finding out that it holds another."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sweepdiag
from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.diagnosis import read_config
from sweepdiag.pipeline.environment import now
from sweepdiag.store.history import header_record, plan_record

if TYPE_CHECKING:
    from sweepdiag.pipeline.resolve import ResolvedSweep
    from sweepdiag.store import History, Journal, RunFolder

__all__ = ["claim", "recorded_history"]

logger = logging.getLogger(__name__)


def claim(folder: RunFolder, sweep: ResolvedSweep, *, overwrite: bool) -> None:
    """Make the folder this sweep's, continue it, or refuse.

    Raises:
        ConfigError: If the folder holds something else.
    """
    if folder.exists:
        recorded = read_config(folder)
        differences = _differences(recorded.comparable(), sweep.config.comparable())
        if not differences:
            return
        if not overwrite:
            message = (
                f"{folder.path} holds a different sweep ({'; '.join(differences[:3])}): choose "
                "another --output, or replace it with --overwrite"
            )
            raise ConfigError(message)
        folder.clear()
    elif not folder.is_free:
        message = f"{folder.path} is not empty and holds no sweep: choose another --output"
        raise ConfigError(message)
    folder.create(sweep_yaml=sweep.config.to_yaml())


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """Return where two nested configurations differ, as ``epochs: 30 there, 40 here``."""
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            line
            for key in sorted({*there, *here})
            for line in _differences(there.get(key), here.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if there == here else [f"{name}: {there} there, {here} here"]


def recorded_history(
    folder: RunFolder, journal: Journal, sweep: ResolvedSweep, *, accept_changed_code: bool
) -> History:
    """Return the sweep's state with header and plan recorded, whoever recorded them.

    Raises:
        ConfigError: If the recorded plan or code is not this sweep's.
    """
    history, damages = folder.read_history()
    for damage in damages:
        logger.warning("%s/journal.jsonl, line %d cannot be read", folder.path, damage.line)
    if not history.header:
        journal.append([_header(sweep)])
        history.facts = sweep.facts
    else:
        _check_sources(folder, history, sweep, accept_changed_code=accept_changed_code)
    if history.plan is None:
        journal.append([plan_record(sweep.plan)])
        history.add_plan(sweep.plan)
    planned = {trial.trial_id for trial in sweep.plan.trials}
    if planned != set(history.trials):
        message = (
            f"{folder.path} was planned with other data, another version of the workload or other "
            "settings: its trials are not those of this sweep; choose another --output, or "
            "replace it with --overwrite"
        )
        raise ConfigError(message)
    return history


def _header(sweep: ResolvedSweep) -> dict[str, Any]:
    return header_record(
        run_id=uuid.uuid4().hex,
        created=now(),
        version=sweepdiag.__version__,
        facts=sweep.facts,
        sources=sweep.sources,
    )


def _check_sources(
    folder: RunFolder, history: History, sweep: ResolvedSweep, *, accept_changed_code: bool
) -> None:
    recorded = history.header.get("sources", {})
    changed = sorted(
        path
        for path in {*recorded, *sweep.sources}
        if recorded.get(path) != sweep.sources.get(path)
    )
    if not changed:
        return
    message = f"{', '.join(changed)} changed since {folder.path} was begun"
    if not accept_changed_code:
        msg = f"{message}: choose another --output, or pass --accept-changed-code"
        raise ConfigError(msg)
    logger.warning("%s; going on as asked", message)

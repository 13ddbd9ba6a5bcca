"""Putting the shards of a sweep together: one new journal out of several."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sweepdiag
from sweepdiag.config import load_config
from sweepdiag.errors import ConfigError, StoreError
from sweepdiag.pipeline.diagnosis import diagnose_folder, read_config
from sweepdiag.pipeline.environment import describe_environment, now
from sweepdiag.pipeline.recording import differences
from sweepdiag.pipeline.sweep import SweepResult
from sweepdiag.records import DONE_STATES, JUDGED_STATES
from sweepdiag.store import History, RunFolder
from sweepdiag.store.history import plan_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sweepdiag.config import SweepConfig
    from sweepdiag.records import State
    from sweepdiag.store import Journal

__all__ = ["merge_folders"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Shard:
    """What one folder holds.

    Attributes:
        folder: Where it is.
        config: Its configuration.
        history: What its journal tells.
        records: The journal's records about each trial, by ``trial_id``.
    """

    folder: RunFolder
    config: SweepConfig
    history: History
    records: Mapping[str, list[dict[str, Any]]]


def merge_folders(
    folders: Sequence[RunFolder],
    output: RunFolder,
    *,
    on_stage: Callable[[str], None] = lambda _name: None,
) -> SweepResult:
    """Write one run folder out of several that each trained a part of the same plan, and diagnose.

    A merge that was interrupted can be repeated, as can one that came before the last shard had
    ended: what is missing in the output is added to it. Nothing is written unless all folders fit
    together. Folders in which nothing has been planned yet are left out, with a warning.

    Args:
        folders: Run folders of one sweep; no trial may have been trained in two of them.
        output: A new folder, or one of an earlier merge of this sweep.
        on_stage: Told the name of each step of the diagnosis as it begins.

    Returns:
        The merged sweep; trials that no folder has trained to their end are pending in it.
    """
    shards = _read_shards(folders)
    config, header = _merged_config(shards[0]), _merged_header(shards[0])
    _check_same_sweep(shards)
    _check_disjoint(shards)
    _claim(output, config)
    with output.open_journal() as journal:
        _append(output, journal, shards, header)
    diagnosis = diagnose_folder(output, on_stage=on_stage, keep_report=True)
    return SweepResult(path=output.path, diagnosis=diagnosis)


def _read_shards(folders: Sequence[RunFolder]) -> list[_Shard]:
    """Return what the folders hold.

    Raises:
        ConfigError: If a folder is given twice.
        StoreError: If none of them holds a plan.
    """
    places = [folder.path.resolve() for folder in folders]
    for folder, place in zip(folders, places, strict=True):
        if places.count(place) > 1:
            message = f"{folder.path} is given twice"
            raise ConfigError(message)
    shards = [shard for folder in folders if (shard := _read_shard(folder)) is not None]
    if not shards:
        message = f"nothing to merge: no plan in {', '.join(str(f.path) for f in folders)}"
        raise StoreError(message)
    return shards


def _read_shard(folder: RunFolder) -> _Shard | None:
    if not folder.exists:
        logger.warning("%s holds no sweep; its trials are missing", folder.path)
        return None
    records, damages = folder.read_records()
    for damage in damages:
        logger.warning("%s/journal.jsonl, line %d cannot be read", folder.path, damage.line)
    history = History(records)
    if history.plan is None:
        logger.warning("%s holds no plan yet; its trials are missing", folder.path)
        return None
    by_trial: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if "trial" in record:
            by_trial.setdefault(record["trial"], []).append(record)
    return _Shard(folder=folder, config=read_config(folder), history=history, records=by_trial)


def _check_same_sweep(shards: Sequence[_Shard]) -> None:
    """Check that all folders are of one sweep: settings, code and plan.

    Raises:
        ConfigError: If one is not.
    """
    first = shards[0]
    for shard in shards[1:]:
        told = differences(first.config.comparable(), shard.config.comparable())
        if first.history.header.get("sources") != shard.history.header.get("sources"):
            told.append("the workload's source files differ")
        elif first.history.plan != shard.history.plan:
            told.append("the planned trials differ")
        if told:
            both = f"{first.folder.path} (there) and {shard.folder.path} (here)"
            message = f"{both} are not of one sweep: {'; '.join(told[:3])}"
            raise ConfigError(message)


def _check_disjoint(shards: Sequence[_Shard]) -> None:
    """Check that no trial was trained in two folders.

    Raises:
        ConfigError: If one was.
    """
    trained_in: dict[str, RunFolder] = {}
    for shard in shards:
        for trial_id in shard.records:
            other = trained_in.setdefault(trial_id, shard.folder)
            if other is not shard.folder:
                message = (
                    f"trial {trial_id} was trained in {other.path} and in {shard.folder.path}: "
                    "shards of one sweep have no trial in common"
                )
                raise ConfigError(message)


def _merged_config(shard: _Shard) -> SweepConfig:
    mapping = shard.config.to_mapping()
    execution = {**mapping["execution"], "shard": None, "address": None, "gpus": None}
    return load_config(options={**mapping, "execution": execution, "output": None})


def _merged_header(shard: _Shard) -> dict[str, Any]:
    """Return the header of the merged journal: the shard's, with an identity of its own."""
    return {**shard.history.header, "run_id": uuid.uuid4().hex, "created": now()}


def _claim(output: RunFolder, config: SweepConfig) -> None:
    """Make the output this sweep's.

    Raises:
        ConfigError: If it holds something else.
    """
    if not output.exists:
        if not output.is_free:
            message = f"{output.path} is not empty and holds no sweep: choose another --output"
            raise ConfigError(message)
        output.create(sweep_yaml=config.to_yaml())
        return
    told = differences(read_config(output).comparable(), config.comparable())
    if told:
        message = (
            f"{output.path} holds a different sweep ({'; '.join(told[:3])}): choose another "
            "--output"
        )
        raise ConfigError(message)


def _is_news(state: State, known: State) -> bool:
    """Return whether a shard has come further with a trial than the output knows."""
    if known in JUDGED_STATES:
        return False
    return state in JUDGED_STATES or (state in DONE_STATES and known not in DONE_STATES)


def _later(records: Sequence[dict[str, Any]], attempt: int) -> list[dict[str, Any]]:
    """Return records with attempts that come after those that are known of their trial."""
    return [
        {**record, "attempt": record["attempt"] + attempt} if "attempt" in record else record
        for record in records
    ]


def _append(
    output: RunFolder, journal: Journal, shards: Sequence[_Shard], header: Mapping[str, Any]
) -> None:
    """Add to the output's journal what the shards know and it does not.

    Raises:
        ConfigError: If the output was planned otherwise.
    """
    history, _ = output.read_history()
    plan = shards[0].history.plan
    if history.plan is not None and history.plan != plan:
        message = f"{output.path} has another plan than the shards: choose another --output"
        raise ConfigError(message)
    if history.plan is None and plan is not None:
        journal.append([header, plan_record(plan)])
        history.add_plan(plan)
    is_added = False
    for shard in shards:
        for trial_id, trial in shard.history.trials.items():
            known = history.trials[trial_id]
            if _is_news(trial.state, known.state):
                # They begin their trial anew: an interrupted merge can be repeated.
                journal.append(_later(shard.records[trial_id], known.attempt))
                is_added = True
    if is_added:
        environment = describe_environment(version=sweepdiag.__version__, devices="merged shards")
        output.write_json("environment.json", environment)

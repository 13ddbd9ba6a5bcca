"""From a path or a data frame to curves, and to what is known of each run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.errors import ConfigError, ReaderError, unknown_name
from sweepdiag.readers.attributes import (
    attributes_in_names,
    attributes_of,
    read_attributes,
    values_of,
)
from sweepdiag.readers.charts import chart_columns, melt_chart
from sweepdiag.readers.columns import LOSSES, ColumnMap, find_columns
from sweepdiag.readers.layout import open_columns, settle
from sweepdiag.readers.list_cells import spread_lists
from sweepdiag.readers.long import long_columns, spread_metrics
from sweepdiag.readers.notes import file_notes, scale_notes
from sweepdiag.readers.places import NOWHERE, Place, take_place
from sweepdiag.readers.points import collect_points, split_runs_by_file
from sweepdiag.readers.problems import ProblemList
from sweepdiag.readers.raw import storable
from sweepdiag.readers.refusals import runs_table_key, unwanted_shape
from sweepdiag.readers.restarts import split_restarts, without_copies
from sweepdiag.readers.rows import (
    Rows,
    join_rows,
    lines_without_loss,
    of_other_things,
    rows_of,
)
from sweepdiag.readers.sources import find_sources
from sweepdiag.readers.structured import read_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from sweepdiag.readers.points import Points
    from sweepdiag.readers.raw import Chooser, RawTable
    from sweepdiag.readers.sources import Source

__all__ = ["Reading", "read_curves"]

_FRAME = "the data frame"
_FEW_ROWS = 10
_RESULTS = 1.5
"""Epochs per run, in the mean, below which rows are results and no curves."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Curves that were read, and how.

    Attributes:
        name: What the source is called.
        curves: Columns ``trial_id, epoch, train_loss, val_loss, train_metric, val_metric``; one
            row per evaluation, sorted.
        runs: One row per run: ``trial_id``, and what is constant in each run.
        columns: Which columns of the files held what, per distinct answer with a file's name.
        axis: What ``epoch`` counts: ``epoch`` or ``step``.
        n_rows: Rows that were read.
        files: The files that curves were read from.
        problems: What could not be read.
        notes: What was done to the rows, in words.
    """

    name: str
    curves: pd.DataFrame
    runs: pd.DataFrame
    columns: tuple[tuple[str, ColumnMap], ...]
    axis: str
    n_rows: int
    files: tuple[str, ...]
    problems: ProblemList
    notes: tuple[str, ...]


def read_curves(
    source: str | Path | pd.DataFrame,
    *,
    columns: Mapping[str, str] | None = None,
    group_by: str | None = None,
    with_attributes: bool = False,
) -> Reading:
    """Return the curves of a file, of all files of a folder, or of a data frame.

    What can be read is used, and what cannot is listed. Tables with one row per run (no epochs) in
    the same folder say more about the runs.

    Args:
        source: Where the curves are.
        columns: Which column holds what, by role; the rest is found by usual names.
        group_by: Column that tells sweeps apart. Where the same run name occurs in two of them, it
            stands for two runs.
        with_attributes: Whether to read all other columns too, to know what differs between runs.

    Returns:
        The curves.
    """
    reader = _Reader(given=dict(columns or {}), group_by=group_by, with_attributes=with_attributes)
    if isinstance(source, str | Path):
        name = reader.read_path(Path(source))
    else:
        name = "curves"
        reader.read_table(_Choice(reader), _FRAME, source)
    return reader.finish(name)


@dataclass(slots=True)
class _Choice:
    """Chooses the columns of one file, and remembers what they hold and where it lies."""

    reader: _Reader
    columns: ColumnMap = dataclasses.field(default_factory=ColumnMap)
    reshape: Callable[[RawTable], RawTable] | None = None
    place: Place = NOWHERE

    def __call__(self, names: Sequence[str]) -> Sequence[str]:
        self.columns = self.reader.find(names)
        if not self.columns.has_loss:
            chart = chart_columns(names)
            if chart:
                self.reshape = melt_chart
                return chart
            long = long_columns(names)
            if long is not None:
                self.reshape = partial(spread_metrics, key=long[0], value=long[1])
                return names
        if self.reader.with_attributes or runs_table_key(names, self.columns):
            return names
        used = {*self.columns.used(), self.reader.group_by}
        used |= open_columns(names, self.columns, self.reader.given)
        return [name for name in names if name in used]


class _Reader:
    """Collects the rows of files."""

    def __init__(
        self, *, given: dict[str, str], group_by: str | None, with_attributes: bool
    ) -> None:
        self.given, self.group_by, self.with_attributes = given, group_by, with_attributes
        self.problems = ProblemList()
        self.parts: list[Rows] = []
        self.run_tables: list[tuple[str, RawTable]] = []
        self.maps: list[tuple[str, ColumnMap]] = []
        self.notes: dict[str, list[str]] = {}
        self.seen: set[str] = set()

    def find(self, names: Sequence[str]) -> ColumnMap:
        """Return which columns of a file hold what; what is given need not be in every file."""
        self.seen.update(names)
        given = {
            role: text
            for role, text in self.given.items()
            if not text or text in names or all(part.strip() in names for part in text.split("+"))
        }
        return find_columns(names, given)

    def read_path(self, path: Path) -> str:
        """Read a file, or the files of a folder; of these, what holds no curves is listed.

        Raises:
            ReaderError: If it holds no curves, or no file of the folder does.
            OSError: If it is a file that may not be read.
        """
        sources = find_sources(path)
        failures = []
        for source in sources:
            choice = _Choice(self, place=source.place)
            try:
                table = self._read(source, choice, self.problems)
                again = partial(self._read, source, _all_columns, ProblemList())
                self.take(choice, table, again, is_only=len(sources) == 1)
            except (ReaderError, OSError) as error:
                if len(sources) == 1:
                    raise
                failures.append(str(error))
                why = str(error).removeprefix(source.file).strip()
                why = error.strerror or why if isinstance(error, OSError) else why
                self.problems.add(source.file, 0, "", "", f"file left out: {why}")
        if not self.parts:
            if len(sources) == 1:
                self._check_given()
            why = failures[0] if failures else self._first_problem()
            message = f"no curves in {path}: {why}"
            raise ReaderError(message)
        resolved = path.resolve()
        return storable(resolved.name if path.is_dir() else resolved.stem)

    def _read(self, source: Source, choose: Chooser, problems: ProblemList) -> RawTable:
        """Read a file, with the settings that lie beside it where attributes are wanted."""
        table = source.read(choose, problems)
        settings = source.settings() if self.with_attributes else {}
        return table.with_columns(
            {
                name: [value] * len(table)
                for name, value in settings.items()
                if name not in table.names
            }
        )

    def read_table(self, choice: _Choice, file: str, frame: pd.DataFrame) -> None:
        """Read a data frame."""
        chooser: Chooser = choice
        read = partial(read_frame, frame, file=file, default_run="run")
        self.take(choice, read(choose=chooser), partial(read, choose=_all_columns), is_only=True)

    def take(
        self, choice: _Choice, table: RawTable, again: Callable[[], RawTable], *, is_only: bool
    ) -> None:
        """Keep the rows of a table; one without epochs beside others may tell of their runs.

        Args:
            choice: What its columns hold.
            table: The table, with the columns that were chosen.
            again: Reads it once more, with all of its columns.
            is_only: Whether there is no other.

        Raises:
            ReaderError: If it holds no curves.
        """
        columns, place = choice.columns, choice.place
        if choice.reshape is not None:
            table, again = choice.reshape(table), partial(_reshaped, again, choice.reshape)
            columns, place = self.find(table.names), NOWHERE
        table, columns = spread_lists(table, columns, again)
        table, columns, told = take_place(
            table, columns, place, given=self.given, everything=again
        )
        table, columns, notes = settle(table, columns, self.given, again)
        notes = told + notes
        key = runs_table_key(table.names, columns)
        wrong = unwanted_shape(table.file, table.names, columns)
        if key is not None and not is_only:
            self.run_tables.append((key, table))
            return
        if wrong is not None:
            self._check_given()
            raise ReaderError(wrong)
        if not self.with_attributes:
            table = table.only(columns.used() | {self.group_by})
        rows = rows_of(table, columns, self.problems)
        if lines_without_loss(rows).size:
            rows = of_other_things(rows, again())
        if len(rows):
            for note in (*table.notes, *notes):
                self.notes.setdefault(note, []).append(table.file)
            self.parts.append(rows)
            if all(columns != known for _, known in self.maps):
                self.maps.append((table.file, columns))
        elif len(table) == 0:
            self.problems.add(table.file, 0, "", "", "there is no row below the header")

    def finish(self, name: str) -> Reading:
        """Return what all files say together.

        Raises:
            ReaderError: If no row could be read.
        """
        self._check_given()
        if not self.parts:
            message = f"no row of {name} can be read: {self._first_problem()}"
            raise ReaderError(message)
        rows, notes = self._named(join_rows(self.parts))
        self._check_runs(rows)
        try:
            points = self._points(rows)
        except ReaderError:
            cleared = without_copies(rows)
            if cleared is None:
                raise
            rows, note = cleared
            notes.append(note)
            points = self._points(rows)
        curves = points.table()
        runs = attributes_of(rows, points.runs)
        for key, table in self.run_tables:
            runs = read_attributes(runs, table, key, self.problems)
        if self.with_attributes:
            runs, told = attributes_in_names(runs)
            notes += told
        self._check_group(runs.columns)
        used = runs["trial_id"].isin(curves["trial_id"].unique())
        placed = set(rows.run[np.isfinite(rows.epoch if points.axis == "epoch" else rows.step)])
        for run in runs.loc[~used, "trial_id"]:
            why = "none of its rows has a loss"
            if run not in placed:
                why = f"it has no {points.axis}, as other runs have (diagnose it by itself)"
            self.problems.add(name, 0, "run", run, f"run left out: {why}")
        if curves.empty:
            losses = {n for _, c in self.maps for role in LOSSES for n in c.columns_of(role)}
            cell = next((p for p in self.problems.listed if p.column in losses), None)
            message = f"no row of {name} has a loss" + (f": {cell}" if cell else "")
            raise ReaderError(message)
        return Reading(
            name=name,
            curves=curves,
            runs=runs[used].reset_index(drop=True),
            columns=tuple(self.maps),
            axis=points.axis,
            n_rows=len(rows),
            files=rows.files,
            problems=self.problems,
            notes=(
                *file_notes(self.notes, n_files=len(self.parts)),
                *notes,
                *points.notes,
                *scale_notes(curves),
            ),
        )

    def _points(self, rows: Rows) -> Points:
        has_run_column = any(columns.run for _, columns in self.maps)
        return collect_points(rows, has_run_column=has_run_column, problems=self.problems)

    def _first_problem(self) -> str:
        """Return what to say where nothing could be read."""
        return str(self.problems.listed[0]) if self.problems.listed else "no losses in it"

    def _named(self, rows: Rows) -> tuple[Rows, list[str]]:
        """Return the rows with run names that stand for one run each."""
        notes = []
        if self.group_by is not None and self.group_by in rows.extras:
            groups = _filled_groups(rows, self.group_by)
            pairs = set(zip(rows.run, groups, strict=True))
            if len(pairs) > len(set(rows.run)):
                names = [f"{group}/{run}" for run, group in zip(rows.run, groups, strict=True)]
                rows = dataclasses.replace(rows, run=np.asarray(names, dtype=object))
                notes.append(f"runs of one name in several {self.group_by} are several runs")
        split = split_runs_by_file(rows)
        if split is not None:
            notes.append("runs of one name in several files are several runs")
        rows, restarts = split_restarts(split or rows)
        return rows, notes + restarts

    def _check_runs(self, rows: Rows) -> None:
        """Check that a column that was taken for the runs' names leaves each several epochs.

        Raises:
            ReaderError: If it numbers the rows, or most runs have only one.
        """
        found = [name for _, columns in self.maps for name in columns.run]
        if "run" in self.given or not found or len(rows) <= _FEW_ROWS:
            return
        if len(set(rows.run)) == len(rows):
            message = (
                f"column {found[0]!r}, taken for the name of the run, differs in every row, so "
                "that every curve would have one point: say which column names a run (--columns "
                "run=NAME), or that none does (--columns run=)"
            )
            raise ReaderError(message)
        n_runs, n_points = len(set(rows.run)), _n_points(rows)
        if n_points < _RESULTS * n_runs:
            message = (
                f"{rows.files[0]} is a table of results: its {n_runs} runs have {n_points} epochs "
                "or steps in all, so that there are no curves. Expected a row per run and epoch"
            )
            raise ReaderError(message)

    def _check_given(self) -> None:
        """Check that what the user says holds something is a column of some file."""
        if self.given and self.seen:
            find_columns(sorted(self.seen), self.given)

    def _check_group(self, attributes: Iterable[str]) -> None:
        """Check that the column that tells sweeps apart is one of some file, or is known of runs.

        Raises:
            ConfigError: If it is not.
        """
        known = sorted(self.seen | {*attributes} - {"trial_id"})
        if self.group_by is not None and self.group_by not in known:
            raise ConfigError(unknown_name("column for --group-by", self.group_by, known[:50]))


def _n_points(rows: Rows) -> int:
    """Return how many places there are with a row, of all runs together."""
    place = np.where(np.isfinite(rows.epoch), rows.epoch, rows.step)
    return len(set(zip(rows.run, place.tolist(), strict=True)))


def _reshaped(read: Callable[[], RawTable], reshape: Callable[[RawTable], RawTable]) -> RawTable:
    return reshape(read())


def _all_columns(names: Sequence[str]) -> Sequence[str]:
    return names


def _filled_groups(rows: Rows, column: str) -> list[str]:
    """Return the group of each row: its own, the one before it in its run, or the run's first.

    Loggers write settings once, into the first record of a run or the last.
    """
    groups = values_of(rows.extras[column])
    first: dict[str, str] = {}
    for run, group in zip(rows.run, groups, strict=True):
        if group is not None:
            first.setdefault(run, str(group))
    current: dict[str, str] = {}
    filled = []
    for run, group in zip(rows.run, groups, strict=True):
        if group is not None:
            current[run] = str(group)
        filled.append(current.get(run, first.get(run, "")))
    return filled

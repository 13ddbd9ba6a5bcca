"""What is known of each run beside its curve: the columns that are constant in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.readers.numbers import is_missing_text, parse_numbers
from sweepdiag.readers.run_names import settings_in_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.raw import RawTable
    from sweepdiag.readers.rows import Rows

__all__ = [
    "attribute_name",
    "attributes_in_names",
    "attributes_of",
    "read_attributes",
    "values_of",
]


def attributes_of(rows: Rows, runs: Sequence[str]) -> pd.DataFrame:
    """Return one row per run with every column that has one value within each run.

    Args:
        rows: All rows.
        runs: Names of the runs, in the order wanted.

    Returns:
        ``trial_id`` and those columns; numbers where all values are numbers, else text; ``None``
        or NaN where a run has no value.
    """
    import pandas as pd

    places = {run: i for i, run in enumerate(runs)}
    codes = np.asarray([places[run] for run in rows.run], dtype=np.int64)
    columns: dict[str, Any] = {"trial_id": np.asarray(runs, dtype=object)}
    for name, cells in rows.extras.items():
        values = _constant(codes, cells, len(runs))
        if values is not None:
            columns[attribute_name(name)] = _typed(values)
    return pd.DataFrame(columns)


def attribute_name(column: str) -> str:
    """Return what a column is called among what is known of runs, where one has its name."""
    return f"{column} (2)" if column == "trial_id" else column


def read_attributes(
    runs: pd.DataFrame, table: RawTable, key: str, problems: ProblemList
) -> pd.DataFrame:
    """Return the runs with the columns of a table that has one row per run.

    Args:
        runs: What is known already.
        table: The table.
        key: Its column of run names.
        problems: Told if it does not fit.

    Returns:
        The runs; values that are known already stay as they are.
    """
    import pandas as pd

    names = _run_names(table.columns[key])
    if len(set(names)) < len(names) or not set(names) & set(runs["trial_id"]):
        why = "file left out: there are no losses in it, and it has not one row per run"
        problems.add(table.file, 0, "", "", why)
        return runs
    place = pd.Series(np.arange(len(names)), index=names).reindex(runs["trial_id"])
    columns = {name: runs[name].tolist() for name in runs.columns}
    for name in table.columns:
        if name != key:
            cells = [*values_of(table.columns[name]), None]
            found = [cells[-1 if np.isnan(i) else int(i)] for i in place]
            known = values_of(columns.get(name, [None] * len(found)))
            merged = [new if old is None else old for old, new in zip(known, found, strict=True)]
            columns[name] = list(_typed(np.asarray(merged, dtype=object)))
    return pd.DataFrame(columns)


def attributes_in_names(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the runs with the settings that their names tell, and in words what was taken.

    Args:
        runs: What is known already. A column that tells the same runs apart comes first.
    """
    found = settings_in_names([str(run) for run in runs["trial_id"]])
    known: dict[tuple[int, ...], list[list[Any]]] = {}
    for name in runs.columns[1:] if found else ():
        cells = runs[name].tolist()
        known.setdefault(tuple(_codes(cells)), []).append(cells)
    new = {}
    for name, values in found.items():
        alike, n_values = known.get(tuple(_codes(values)), []), len(set(values))
        # Where each run has its own value, so have columns of names and of results.
        is_known = values in alike if n_values == len(values) else bool(alike)
        if n_values > 1 and not is_known:
            new[name] = values
    if not new:
        return runs, []
    note = f"the names of the runs tell their settings: {', '.join(new)}"
    columns = {
        f"name/{name}" if name in runs.columns else name: _typed(np.asarray(values, dtype=object))
        for name, values in new.items()
    }
    return runs.assign(**columns), [note]


def _codes(values: Iterable[Any]) -> list[int]:
    """Return numbers that are equal where values are."""
    places: dict[Any, int] = {}
    return [places.setdefault(value, len(places)) for value in values]


def _run_names(cells: Sequence[Any] | NDArray[np.float64]) -> list[str]:
    return [
        str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()
        for cell in cells
    ]


def _constant(
    codes: NDArray[np.int64], cells: NDArray[np.object_], n_runs: int
) -> NDArray[np.object_] | None:
    """Return the value of each run; ``None`` if some run has several."""
    result = np.full(n_runs, None, dtype=object)
    # Rows of a run mostly repeat the cell before, so only where either changes is looked at.
    is_new = np.ones(codes.size, dtype=bool)
    is_new[1:] = (codes[1:] != codes[:-1]) | np.asarray(cells[1:] != cells[:-1], dtype=bool)
    n_changes = int(is_new.sum())
    if n_changes > 2 * n_runs + 1000 and n_changes > 0.5 * codes.size > 4 * n_runs:
        return None
    places = np.flatnonzero(is_new)
    missing = _missing_texts(cells[places])
    for i in places:
        value = _value(cells[i], missing)
        if value is None:
            continue
        known = result[codes[i]]
        if known is None:
            result[codes[i]] = value
        elif known != value:
            return None
    return result


def values_of(cells: Sequence[Any] | NDArray[Any]) -> list[Any]:
    """Return the values of a column; ``None`` for cells without one.

    Words such as ``NA`` and ``none`` say that a cell is empty where all else is numbers. Among
    other texts they are values: a schedule may be called ``none``.
    """
    missing = _missing_texts(cells)
    return [_value(cell, missing) for cell in cells]


def _missing_texts(cells: Sequence[Any] | NDArray[Any]) -> frozenset[str]:
    """Return the texts of a column that stand for no value."""
    texts = {cell for cell in cells if isinstance(cell, str)}
    words = frozenset(text for text in texts if is_missing_text(text))
    blanks = frozenset(text for text in words if not text.strip())
    if words == blanks:
        return blanks
    _, _, bad = parse_numbers(list(texts - words))
    is_numeric = not bad and not any(isinstance(cell, bool | np.bool_) for cell in cells)
    return words if is_numeric else blanks


def _value(cell: Any, missing: frozenset[str]) -> Any:
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return None
    if isinstance(cell, str):
        return None if cell in missing else cell.strip()
    return cell.item() if isinstance(cell, np.generic) else cell


def _typed(values: NDArray[np.object_]) -> NDArray[Any]:
    """Return numbers where all values are numbers, else text."""
    is_truth = any(isinstance(value, bool) for value in values)
    numbers, _, bad = parse_numbers(list(values))
    if bad or is_truth:
        return np.asarray([None if v is None else str(v) for v in values], dtype=object)
    return numbers

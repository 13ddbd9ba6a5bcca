"""Tables that know their types: Parquet and data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import ReaderError
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["read_frame", "read_parquet"]


def read_parquet(path: Path, *, file: str, default_run: str, choose: Chooser) -> RawTable:
    """Return the chosen columns of a Parquet file.

    Args:
        path: The file.
        file: What messages call it.
        default_run: Name of the run where no column names it.
        choose: Which columns to read.

    Returns:
        The table.

    Raises:
        ReaderError: If it is no Parquet file, or damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as parquet:
            names = [str(name) for name in parquet.schema_arrow.names]
            frame = parquet.read(columns=list(choose(names))).to_pandas(ignore_metadata=True)
    except (pa.ArrowException, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = f"{file} cannot be read as Parquet: {reason}"
        raise ReaderError(message) from error
    return _table(frame, names, file=file, default_run=default_run)


def read_frame(frame: pd.DataFrame, *, choose: Chooser, file: str, default_run: str) -> RawTable:
    """Return the chosen columns of a data frame; a named index counts as columns.

    Args:
        frame: The frame.
        choose: Which columns to read.
        file: What messages call it.
        default_run: Name of the run where no column names it.

    Returns:
        The table.
    """
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index()
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    frame = frame.loc[:, ~frame.columns.duplicated()]
    names = list(frame.columns)
    return _table(frame[list(choose(names))], names, file=file, default_run=default_run)


def _table(frame: pd.DataFrame, names: list[str], *, file: str, default_run: str) -> RawTable:
    columns: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "biuf":
            columns[name] = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            cells = column.astype(object).where(column.notna(), None)
            columns[name] = [str(cell) if _is_nested(cell) else cell for cell in cells]
    return RawTable(
        file=file,
        default_run=default_run,
        names=tuple(names),
        columns=columns,
        lines=np.arange(1, len(frame) + 1),
    )


def _is_nested(cell: Any) -> bool:
    """Return whether a cell holds several values, as lists of Parquet do."""
    return isinstance(cell, np.ndarray | list | tuple | dict | set)

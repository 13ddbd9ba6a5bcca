"""Readers: curves from other people's files.

A file becomes a `RawTable` (its format), then `Rows` (its columns by what they hold), then points
of curves (one per run and epoch). What cannot be read on the way is listed, not guessed.
"""

from sweepdiag.readers.attributes import attribute_name
from sweepdiag.readers.columns import METRICS, ROLES, ColumnMap, find_columns, metric_mode
from sweepdiag.readers.problems import MAX_LISTED, Problem, ProblemList
from sweepdiag.readers.reading import Reading, read_curves
from sweepdiag.readers.run_names import words_in_names
from sweepdiag.readers.sources import MARKER

__all__ = [
    "MARKER",
    "MAX_LISTED",
    "METRICS",
    "ROLES",
    "ColumnMap",
    "Problem",
    "ProblemList",
    "Reading",
    "attribute_name",
    "find_columns",
    "metric_mode",
    "read_curves",
    "words_in_names",
]

"""MLflow's folders: a file per metric of a run, with a line per value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sweepdiag.readers.raw import is_file
from sweepdiag.readers.scalars import Scalar, table_of_scalars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sweepdiag.readers.problems import ProblemList
    from sweepdiag.readers.raw import Chooser, RawTable

__all__ = ["read_metric_files", "run_folder"]

_METRICS, _META, _MODELS = "metrics", "meta.yaml", "models"


def run_folder(file: Path) -> Path | None:
    """Return the folder of the run that a file holds a metric of; ``None`` if it is no such file.

    Metrics lie in ``metrics``, also in folders below it, beside the run's ``meta.yaml``. Those of
    a logged model lie likewise, and repeat those of its run.
    """
    for parent in file.parents:
        if parent.name == _METRICS and is_file(parent.parent / _META):
            is_model = parent.parent.parent.name == _MODELS
            return None if is_model else parent.parent
    return None


def read_metric_files(
    paths: Sequence[Path],
    *,
    file: str,
    default_run: str,
    choose: Chooser,
    problems: ProblemList,
) -> RawTable:
    """Return the chosen metrics of a run as columns.

    Args:
        paths: The files of its metrics.
        file: What messages call them.
        default_run: Name of the run.
        choose: Told the metrics.
        problems: Told which lines cannot be read.

    Returns:
        A column ``step`` and one per metric; a row per step, in the order of time. Its lines count
        the rows.
    """
    scalars = [scalar for path in paths for scalar in _scalars(path, file, problems)]
    scalars.sort(key=lambda scalar: (scalar.time, scalar.step))
    return table_of_scalars([scalars], file=file, default_run=default_run, choose=choose)


def _scalars(path: Path, file: str, problems: ProblemList) -> list[Scalar]:
    folder = run_folder(path) or path.parent
    tag = path.relative_to(folder / _METRICS).as_posix()
    scalars = []
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                time, value, step = map(float, line.split()[:3])
                is_placed = math.isfinite(time) and math.isfinite(step)
            except ValueError:
                is_placed = False
            if is_placed:
                scalars.append(Scalar(time=time / 1000, step=step, tag=tag, value=value))
            else:
                why = "line left out: expected a time, a value and a step"
                problems.add(file, number, tag, line.strip(), why)
    return scalars

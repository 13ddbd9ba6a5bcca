"""What a diagnosis of other people's curves leaves in its folder."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from sweepdiag.config.yaml_writing import write_yaml
from sweepdiag.errors import ConfigError
from sweepdiag.pipeline.diagnosis import write_report, write_verdicts
from sweepdiag.readers import MARKER
from sweepdiag.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from sweepdiag.pipeline.imported_result import CurvesResult
    from sweepdiag.readers import ProblemList

__all__ = ["claim_output", "write_group", "write_imported"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def claim_output(output: str | Path | None, curves: str | Path | pd.DataFrame) -> RunFolder:
    """Return the folder to write into, if nothing there belongs to anybody else.

    Args:
        output: The folder asked for; ``None`` takes a new one under ``results/``.
        curves: What is diagnosed.

    Returns:
        The folder; nothing is written yet.

    Raises:
        ConfigError: If it is a run folder, a file, or holds files of other origin.
    """
    from sweepdiag.pipeline.sweep import default_output

    source = Path(curves) if isinstance(curves, str | Path) else None
    if source is not None and RunFolder(source).exists:
        message = (
            f"{source} is a run folder of sweepdiag: diagnose it with sweepdiag report {source}"
        )
        raise ConfigError(message)
    if output is None:
        name = "curves" if source is None else source.resolve().stem
        return RunFolder(default_output(name))
    folder = RunFolder(Path(output))
    if folder.path.exists() and not folder.path.is_dir():
        message = f"--output {output} is a file, expected a folder"
        raise ConfigError(message)
    if folder.exists or (folder.path / "journal.jsonl").exists():
        message = (
            f"--output {output} is the run folder of a sweep, whose report would be overwritten: "
            "choose another folder"
        )
        raise ConfigError(message)
    if not folder.is_free and not (folder.path / MARKER).exists():
        message = (
            f"--output {output} holds files that sweepdiag did not write: choose a new folder"
        )
        raise ConfigError(message)
    return folder


def write_imported(
    folder: RunFolder, result: CurvesResult, on_stage: Callable[[str], None]
) -> None:
    """Write all files of a diagnosis; those of an earlier one in the same folder go first."""
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.check_subfolder(folder.path / "groups")
    _clear(folder)
    reading = result.reading
    folder.write_json(
        MARKER,
        {
            "source": reading.name,
            "files": list(reading.files),
            "lines": list(result.data.origin.lines) if result.data.origin else [],
            "n_unreadable": reading.problems.count,
        },
    )
    if reading.problems.count:
        folder.write_text("unreadable.csv", _problem_table(reading.problems))
    _write(folder, result, on_stage)


def write_group(result: CurvesResult) -> None:
    """Write the files of one of several sweeps into its own folder."""
    folder = RunFolder(result.path)
    folder.path.mkdir(parents=True, exist_ok=True)
    _write(folder, result, lambda _name: None)


def _write(folder: RunFolder, result: CurvesResult, on_stage: Callable[[str], None]) -> None:
    data = result.data
    folder.write_table("trials", data.trials)
    folder.write_table("curves", data.curves)
    write_verdicts(folder, data, result.features)
    if data.recommendation.next_parameters:
        header = "\n".join(("Add the workload: to train it.", *data.recommendation.next_reasons))
        settings = {
            "parameters": dict(data.recommendation.next_parameters),
            **data.recommendation.next_settings,
        }
        folder.write_text("next_sweep.yaml", write_yaml(settings, header=header))
    write_report(folder, data, on_stage)


def _clear(folder: RunFolder) -> None:
    """Remove what an earlier diagnosis wrote, also the reports of its sweeps."""
    folder.clear()
    (folder.path / "unreadable.csv").unlink(missing_ok=True)
    groups = folder.path / "groups"
    if groups.is_dir() and not groups.is_symlink():
        for group in groups.iterdir():
            inner = RunFolder(group)
            inner.clear()
            if inner.is_free:
                group.rmdir()


def _problem_table(problems: ProblemList) -> str:
    """Return the list as CSV, in which no cell is a formula to a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file", "line", "column", "value", "expected"])
    for problem in problems.listed:
        cells = (problem.file, problem.line or "", problem.column, problem.value, problem.expected)
        writer.writerow([_harmless(str(cell)) for cell in cells])
    if problems.count > len(problems.listed):
        n_more = problems.count - len(problems.listed)
        writer.writerow(["", "", "", "", f"and {n_more} more"])
    return buffer.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell

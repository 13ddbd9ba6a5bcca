"""Figures of a benchmark: printed as a table, written as JSON."""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import dataclass, field
from pathlib import Path


def add_options(parser: argparse.ArgumentParser, *, quick: str) -> None:
    """Add the options of every benchmark.

    Args:
        parser: Of the benchmark.
        quick: What its short form measures.
    """
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument(
        "--json", metavar="PATH", type=new_file, help="write the figures to this file"
    )


def new_file(path: str) -> str:
    """Return a path that a file can be written to, as given.

    Raises:
        ArgumentTypeError: If there is no place for it, said before anything is measured.
    """
    if Path(path).is_dir() or not Path(path).resolve().parent.is_dir():
        message = f"must be a file in a folder that exists, got {path}"
        raise argparse.ArgumentTypeError(message)
    return path


@dataclass
class Results:
    """Figures by row and column."""

    device: str
    rows: list[dict[str, object]] = field(default_factory=list)

    def add(self, row: str, column: str, value: float, unit: str) -> None:
        self.rows.append({"row": row, "column": column, "value": value, "unit": unit})

    def skip(self, row: str, column: str, reason: str) -> None:
        """Say why there is no figure."""
        self.rows.append({"row": row, "column": column, "skipped": reason})

    def last(self) -> str:
        """Return the newest entry as a line."""
        entry = self.rows[-1]
        said = entry.get("skipped") or f"{float(str(entry['value'])):.4g} {entry['unit']}"
        return f"{entry['row']} {entry['column']}: {said}"

    def write(self, path: str | None) -> None:
        if path is not None:
            text = json.dumps({"device": self.device, "rows": self.rows}, indent=1)
            Path(path).write_text(text + "\n")

    def table(self) -> str:
        width = max(len(str(entry["column"])) for entry in self.rows)
        lines, last = [f"device: {self.device}"], None
        for entry in self.rows:
            if entry["row"] != last:
                last = entry["row"]
                lines.append(f"{last}")
            if "skipped" in entry:
                lines.append(f"  {entry['column']:<{width}}  {'-':>10} ({entry['skipped']})")
                continue
            value = float(str(entry["value"]))
            lines.append(f"  {entry['column']:<{width}}  {value:>10.4g} {entry['unit']}")
        return "\n".join(lines)


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def device_name() -> str:
    """Return the GPU's name if there is one, else the processor's."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name()

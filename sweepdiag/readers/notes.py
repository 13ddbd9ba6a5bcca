"""What is said of how files were read, beside what each of them says by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sweepdiag.wording import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

__all__ = ["file_notes", "scale_notes"]

_SUMMED = 20.0
"""Training over validation loss, median of a run, from which they are hardly of one scale."""
_DIGITS = re.compile(r"\d+")


def file_notes(notes: Mapping[str, Sequence[str]], *, n_files: int) -> list[str]:
    """Return what was decided on the layout of files, with the files where not in all.

    Notes that differ in their numbers alone are told once.

    Args:
        notes: The files of each note.
        n_files: How many files there are in all.
    """
    alike: dict[str, list[tuple[str, Sequence[str]]]] = {}
    for note, files in notes.items():
        alike.setdefault(_DIGITS.sub("", note), []).append((note, files))
    lines = []
    for group in alike.values():
        (note, files), n_noted = group[0], sum(len(files) for _, files in group)
        others = f"{n_noted - 1} more" if len(group) == 1 else f"{n_noted - 1} like it"
        more = f" and {others}" if n_noted > 1 else ""
        is_of_all = len(group) == 1 and n_noted == n_files
        lines.append(note if is_of_all else f"{files[0]}{more}: {note}")
    return lines


def scale_notes(curves: pd.DataFrame) -> list[str]:
    """Return what to say of training losses that are much larger than those of validation."""
    is_positive = (curves["train_loss"] > 0) & (curves["val_loss"] > 0)
    both = curves[is_positive]
    ratios = (both["train_loss"] / both["val_loss"]).groupby(both["trial_id"]).median()
    summed = ratios[ratios >= _SUMMED]
    if summed.empty:
        return []
    note = (
        f"training losses of {plural(len(summed), 'run')} are about {summed.median():.3g} times "
        "those of validation: if they are sums, say over batches, no gap between the two shows"
    )
    return [note]

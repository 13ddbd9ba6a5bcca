"""Printed lines that name an epoch and its losses."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows, losses_in, plain, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["counted_lines", "epochs_of_lines"]

_EPOCH = re.compile(r"(?<!best )(?<!best_)(?<![a-z])epoch\b[^\w\n]{0,4}(\d+)", re.IGNORECASE)
_BAR = re.compile(r"\d+%\|.*")
_BATCH = re.compile(r"\b(?:mini)?batch\b", re.IGNORECASE)
_WHOLE_SHARE = 0.9
"""Share of epochs with both losses below which the lines are not what they were taken for."""


@dataclass(slots=True)
class _Epoch:
    """What the lines of one epoch say: pairs of a name and a value, by role."""

    number: int
    line: int
    train: list[tuple[str, str]] = field(default_factory=list)
    val: list[tuple[str, str]] = field(default_factory=list)
    together: list[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=list)
    named: tuple[tuple[str, str], tuple[str, str]] | None = None
    """Both losses, of the first line that gives them and names the epoch."""

    def losses(self) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """Return both losses if that of validation is given once; those on one line before others.

        Of several training losses the one is taken that is named once, or else the mean.
        """
        if len(self.val) != 1 or not self.train:
            return None
        if len(self.together) == 1:
            return self.together[0]
        return self.single() or _mean(self.train), self.val[0]

    def single(self) -> tuple[str, str] | None:
        """Return the training loss that alone is named once."""
        counts = Counter(name for name, _ in self.train)
        single = [pair for pair in self.train if counts[pair[0]] == 1]
        return single[0] if len(single) == 1 else None


def epochs_of_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the epochs that lines name; ``None`` unless nearly all give each loss once.

    Lines as of Keras (``Epoch 3/50``, then ``loss: 0.1 - val_loss: 0.2``), of nnU-Net, and
    ``Epoch 3: train loss 0.1, val loss 0.2`` are known. If that leaves the losses open, lines
    count that give both by themselves, then lines without bars of progress. Without any
    validation loss each epoch has to give one training loss.
    """
    epochs = _epochs(lines)
    return (
        _whole(epochs, "epochs")
        or _lines_with_both(epochs)
        or _whole(_epochs([_BAR.sub("", line) for line in lines]), "epochs")
        or _of_training(_epochs([line for line in lines if not _BATCH.search(line)]))
    )


def counted_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the lines with both losses, counted, if no line names an epoch."""
    if any(_EPOCH.search(plain(line)) for line in lines):
        return None
    return _whole(_counted(lines), "lines (no epoch is named, so these are counted)")


def _whole(epochs: Sequence[_Epoch], what: str) -> PrintedRows | None:
    """Return the epochs with each loss once, if nearly all are such; the last may be cut off."""
    epochs = [epoch for epoch in epochs if epoch.train or epoch.val]
    if epochs and not epochs[-1].val:
        epochs = epochs[:-1]
    found = [(epoch, losses) for epoch in epochs if (losses := epoch.losses()) is not None]
    if len(found) < _WHOLE_SHARE * len(epochs):
        return None
    return _rows(
        found,
        f"{len(found)} of {len(epochs)} {what} that name a loss name both once; all other lines "
        "are left out",
    )


def _lines_with_both(epochs: Sequence[_Epoch]) -> PrintedRows | None:
    """Return the lines that name an epoch and both losses, if there is one for each epoch."""
    found = [(epoch, epoch.named) for epoch in epochs if epoch.named is not None]
    n_both = sum(bool(epoch.train and epoch.val) for epoch in epochs)
    is_doubled = any(len(epoch.together) > 1 for epoch in epochs)
    if is_doubled or len(found) < _WHOLE_SHARE * n_both:
        return None
    note = f"{len(found)} lines that name an epoch and both losses; all other lines are left out"
    return _rows(found, note)


def _of_training(epochs: Sequence[_Epoch]) -> PrintedRows | None:
    """Return the epochs with one training loss, if nearly all are such and none of validation."""
    epochs = [epoch for epoch in epochs if epoch.train or epoch.val]
    found = [(epoch, (loss,)) for epoch in epochs if (loss := epoch.single()) is not None]
    if any(epoch.val for epoch in epochs) or len(found) < _WHOLE_SHARE * len(epochs):
        return None
    note = f"{len(found)} of {len(epochs)} epochs that name a training loss name it once"
    return _rows(found, f"{note}; none names a validation loss")


def _rows(
    found: Sequence[tuple[_Epoch, Sequence[tuple[str, str]]]], note: str
) -> PrintedRows | None:
    """Return a row per epoch, with the names that the first gives its losses."""
    if len(found) < LEAST_ROWS:
        return None
    return PrintedRows(
        names=("epoch", *(name for name, _ in found[0][1])),
        rows=[(str(epoch.number), *(v for _, v in losses)) for epoch, losses in found],
        lines=[epoch.line for epoch, _ in found],
        note=note,
    )


def _epochs(lines: Iterable[str]) -> list[_Epoch]:
    """Return what is said of each epoch, in the order of the lines."""
    epochs: list[_Epoch] = []
    for number, line in enumerate(lines, start=1):
        text = plain(line)
        named = _EPOCH.search(text)
        if named and (not epochs or epochs[-1].number != int(named[1])):
            epochs.append(_Epoch(number=int(named[1]), line=number))
        if epochs:
            _add(epochs[-1], text)
            if named and epochs[-1].together and epochs[-1].named is None:
                epochs[-1].named = epochs[-1].together[-1]
    return epochs


def _counted(lines: Iterable[str]) -> list[_Epoch]:
    """Return an epoch for each line that gives a training and a validation loss."""
    epochs: list[_Epoch] = []
    for number, line in enumerate(lines, start=1):
        epoch = _Epoch(number=len(epochs) + 1, line=number)
        _add(epoch, plain(line))
        if epoch.train and epoch.val:
            epochs.append(epoch)
    return epochs


def _mean(pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return pairs[0][0], repr(float(np.mean([float(value) for _, value in pairs])))


def _add(epoch: _Epoch, text: str) -> None:
    pairs = list(losses_in(text))
    train = [pair for pair in pairs if role_of(pair[0]) == "train"]
    val = [pair for pair in pairs if role_of(pair[0]) == "val"]
    epoch.train += train
    epoch.val += val
    if len(train) == len(val) == 1:
        epoch.together.append((train[0], val[0]))

"""Printed lines that name an epoch and its losses."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows, losses_in, plain, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["counted_lines", "epochs_of_lines"]

_EPOCH = re.compile(
    r"(?<!best )(?<!best_)(?<![a-z])(?:epoche?|[eé]po(?:ca|que)|эпоха)\b[^\w\n]{0,4}"
    r"(\d{1,18})(?!\d)",
    re.IGNORECASE,
)
_BAR = re.compile(r"\d+%\|.*")
_BATCH = re.compile(r"\b(?:mini)?batch\b", re.IGNORECASE)
_WHOLE_SHARE = 0.9
"""Share of epochs with both losses below which the lines are not what they were taken for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    """A line that names an epoch or a loss, and what it says: pairs of a name and a value."""

    number: int
    text: str
    epoch: int | None
    losses: tuple[tuple[str, str], ...]


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

        Of several training losses the one is taken that is named once, or else the mean. A test
        loss after the last epoch is another one.
        """
        if len(self.together) == 1:
            name = self.together[0][1][0]
            return self.together[0] if [n for n, _ in self.val].count(name) == 1 else None
        if len(self.val) != 1 or not self.train:
            return None
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
    read = list(_lines_of(lines))
    epochs = _epochs(read)
    return (
        _whole(epochs, "epochs")
        or _lines_with_both(epochs)
        or _whole(_epochs(map(_without_bar, read)), "epochs")
        or _of_training(_epochs(line for line in read if not _BATCH.search(line.text)))
    )


def counted_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return the lines with both losses, counted, if no line names an epoch."""
    epochs: list[_Epoch] = []
    for line in _lines_of(lines):
        if line.epoch is not None:
            return None
        epoch = _Epoch(number=len(epochs) + 1, line=line.number)
        _add(epoch, line.losses)
        if epoch.train and epoch.val:
            epochs.append(epoch)
    return _whole(epochs, "lines (no epoch is named, so these are counted)")


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


def _lines_of(lines: Iterable[str]) -> Iterator[_Line]:
    """Yield the lines that name an epoch or a loss."""
    for number, line in enumerate(lines, start=1):
        text = plain(line)
        named = _EPOCH.search(text)
        losses = tuple(pair for pair in losses_in(text) if role_of(pair[0]))
        if named or losses:
            epoch = None if named is None else int(named[1])
            yield _Line(number=number, text=text, epoch=epoch, losses=losses)


def _epochs(lines: Iterable[_Line]) -> list[_Epoch]:
    """Return what is said of each epoch, in the order of the lines."""
    epochs: list[_Epoch] = []
    for line in lines:
        if line.epoch is not None and (not epochs or epochs[-1].number != line.epoch):
            epochs.append(_Epoch(number=line.epoch, line=line.number))
        if epochs:
            _add(epochs[-1], line.losses)
            if line.epoch is not None and epochs[-1].together and epochs[-1].named is None:
                epochs[-1].named = epochs[-1].together[-1]
    return epochs


def _without_bar(line: _Line) -> _Line:
    """Return a line with the losses that stand before its bar of progress alone."""
    if "%|" not in line.text:
        return line
    losses = tuple(losses_in(_BAR.sub("", line.text)))
    return replace(line, losses=tuple(pair for pair in losses if role_of(pair[0])))


def _mean(pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return pairs[0][0], repr(float(np.mean([float(value) for _, value in pairs])))


def _add(epoch: _Epoch, losses: Sequence[tuple[str, str]]) -> None:
    train = [pair for pair in losses if role_of(pair[0]) == "train"]
    val = [pair for pair in losses if role_of(pair[0]) == "val"]
    epoch.train += train
    epoch.val += val
    if len(train) == len(val) == 1:
        epoch.together.append((train[0], val[0]))

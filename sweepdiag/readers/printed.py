"""Logs printed for people: lines that name an epoch and its losses by usual names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.names import loss_of
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["read_printed"]

_ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\x08")
_EPOCH = re.compile(r"(?<!best )(?<!best_)(?<![a-z])epoch\b[^\w\n]{0,4}(\d+)", re.IGNORECASE)
_LOSS = re.compile(
    r"(?<![a-z])(?P<name>(?:[a-z]+[ _]){0,6}loss)\s*[:=]?\s*"
    r"(?P<value>[-+]?(?:\d+\.?\d*(?:e[-+]?\d+)?|nan|inf))"
    r"(?![\w-])",
    re.IGNORECASE,
)
"""A loss with the words before it: of ``best val loss`` none is to be taken for ``val loss``. They
are counted, since a search over all words of a long line takes time by its square."""
_LEAST_EPOCHS = 3
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

    def losses(self) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """Return both losses if they are given once; those on one line before others."""
        if len(self.together) == 1 and len(self.val) == 1:
            return self.together[0]
        if len(self.train) == len(self.val) == 1:
            return self.train[0], self.val[0]
        return None


def read_printed(
    lines: Iterable[str], *, file: str, default_run: str, choose: Chooser
) -> RawTable | None:
    """Return the epochs of a printed log; ``None`` unless nearly all give each loss once.

    Lines as of Keras (``Epoch 3/50``, then ``loss: 0.1 - val_loss: 0.2``), of nnU-Net, and
    ``Epoch 3: train loss 0.1, val loss 0.2`` are known.

    Args:
        lines: The lines of the file.
        file: What messages call it.
        default_run: Name of its run.
        choose: Told the names of the columns.
    """
    epochs = [epoch for epoch in _epochs(lines) if epoch.train or epoch.val]
    found = [(epoch, losses) for epoch in epochs if (losses := epoch.losses()) is not None]
    if len(found) < _LEAST_EPOCHS or len(found) < _WHOLE_SHARE * len(epochs):
        return None
    _, (train, val) = found[0]
    names = ("epoch", train[0], val[0])
    wanted = set(choose(names))
    cells = zip(*((str(e.number), t[1], v[1]) for e, (t, v) in found), strict=True)
    note = (
        f"printed lines and no table: {len(found)} of {len(epochs)} epochs that name a loss name "
        "both once; all other lines are left out"
    )
    return RawTable(
        file=file,
        default_run=default_run,
        names=names,
        columns={n: column for n, column in zip(names, cells, strict=True) if n in wanted},
        lines=np.asarray([epoch.line for epoch, _ in found], dtype=np.int64),
        notes=(note,),
    )


def _epochs(lines: Iterable[str]) -> list[_Epoch]:
    """Return what is said of each epoch, in the order of the lines."""
    epochs: list[_Epoch] = []
    for number, line in enumerate(lines, start=1):
        text = _ESCAPE.sub("", line)
        named = _EPOCH.search(text)
        if named and (not epochs or epochs[-1].number != int(named[1])):
            epochs.append(_Epoch(number=int(named[1]), line=number))
        if epochs:
            _add(epochs[-1], text)
    return epochs


def _add(epoch: _Epoch, text: str) -> None:
    pairs = [(match["name"], match["value"]) for match in _LOSS.finditer(text)]
    train = [pair for pair in pairs if _role(pair[0]) == "train"]
    val = [pair for pair in pairs if _role(pair[0]) == "val"]
    epoch.train += train
    epoch.val += val
    if len(train) == len(val) == 1:
        epoch.together.append((train[0], val[0]))


@lru_cache(maxsize=1000)
def _role(name: str) -> str:
    if loss_of([name], is_train=True):
        return "train"
    return "val" if loss_of([name], is_train=False) else ""

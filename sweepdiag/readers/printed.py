"""Logs printed for people: lines that name an epoch and its losses by usual names."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sweepdiag.readers.columns import ColumnMap, find_columns
from sweepdiag.readers.names import loss_of, says_part
from sweepdiag.readers.raw import Chooser, RawTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
_PART = re.compile(r"\b(?:train(?:ing)?|val(?:id(?:ation)?)?|eval|dev|test)\b", re.IGNORECASE)
_LEAST_EPOCHS = 3
_WHOLE_SHARE = 0.9
"""Share of epochs with both losses below which the lines are not what they were taken for."""
_ROUND = re.compile(r"\s*(?:\[(\d+)\]:?|(\d+):)\s+(?=\S)")
"""How a line of XGBoost, LightGBM (``[3]``) or CatBoost (``3:``) begins."""
_SCORE = re.compile(
    r"(?P<name>[A-Za-z][\w' @-]*?)\s*:\s*(?P<value>[-+]?(?:\d[\w.+-]*|nan|inf))(?:\s|$)"
)


@dataclass(slots=True)
class _Epoch:
    """What the lines of one epoch say: pairs of a name and a value, by role."""

    number: int
    line: int
    is_named: bool = True
    train: list[tuple[str, str]] = field(default_factory=list)
    val: list[tuple[str, str]] = field(default_factory=list)
    together: list[tuple[tuple[str, str], tuple[str, str]]] = field(default_factory=list)

    def losses(self) -> tuple[tuple[str, str], tuple[str, str]] | None:
        """Return both losses if that of validation is given once; those on one line before others.

        Of several training losses the one is taken that is named once, or else the mean.
        """
        if len(self.val) != 1 or not self.train:
            return None
        if len(self.together) == 1:
            return self.together[0]
        counts = Counter(name for name, _ in self.train)
        single = [pair for pair in self.train if counts[pair[0]] == 1]
        return single[0] if len(single) == 1 else _mean(self.train), self.val[0]


def read_printed(
    lines: Iterable[str], *, file: str, default_run: str, choose: Chooser
) -> RawTable | None:
    """Return the epochs of a printed log; ``None`` unless nearly all give each loss once.

    Lines as of Keras (``Epoch 3/50``, then ``loss: 0.1 - val_loss: 0.2``), of nnU-Net, and
    ``Epoch 3: train loss 0.1, val loss 0.2`` are known, and rounds of boosting. Where no line
    names an epoch, those with both losses are counted.

    Args:
        lines: The lines of the file.
        file: What messages call it.
        default_run: Name of its run.
        choose: Told the names of the columns.
    """
    lines = list(lines)
    rounds = _read_rounds(lines, file=file, default_run=default_run, choose=choose)
    if rounds is not None:
        return rounds
    epochs = [epoch for epoch in _epochs(lines) or _counted(lines) if epoch.train or epoch.val]
    found = [(epoch, losses) for epoch in epochs if (losses := epoch.losses()) is not None]
    if len(found) < _LEAST_EPOCHS or len(found) < _WHOLE_SHARE * len(epochs):
        return None
    _, (train, val) = found[0]
    names = ("epoch", train[0], val[0])
    wanted = set(choose(names))
    cells = zip(*((str(e.number), t[1], v[1]) for e, (t, v) in found), strict=True)
    what = "epochs" if found[0][0].is_named else "lines (no epoch is named, so these are counted)"
    note = (
        f"printed lines and no table: {len(found)} of {len(epochs)} {what} that name a loss name "
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


def _counted(lines: Iterable[str]) -> list[_Epoch]:
    """Return an epoch for each line that gives a training and a validation loss."""
    epochs: list[_Epoch] = []
    for number, line in enumerate(lines, start=1):
        epoch = _Epoch(number=len(epochs) + 1, line=number, is_named=False)
        _add(epoch, _ESCAPE.sub("", line))
        if epoch.train and epoch.val:
            epochs.append(epoch)
    return epochs


def _read_rounds(
    lines: Iterable[str], *, file: str, default_run: str, choose: Chooser
) -> RawTable | None:
    """Return the rounds that a boosting library has printed; ``None`` if there are none.

    ``[3]  train-rmse:0.5  eval-rmse:0.6`` is such (XGBoost), with a loss for each part.
    """
    rounds = []
    for number, line in enumerate(lines, start=1):
        begin = _ROUND.match(line)
        if begin:
            found = _SCORE.finditer(line, begin.end())
            scores = {match["name"].replace("'s", ""): match["value"] for match in found}
            # CatBoost names no loss: learn: 0.5  test: 0.6  best: 0.6 (2)  total: 1s
            scores = {f"{n} loss" if n in {"learn", "test"} else n: v for n, v in scores.items()}
            rounds.append((number, begin[1] or begin[2], scores))
    columns = find_columns(list(rounds[0][2]), {}) if rounds else ColumnMap()
    if len(rounds) < _LEAST_EPOCHS or not (columns.train_loss and columns.val_loss):
        return None
    names = ("iteration", *rounds[0][2])
    wanted = set(choose(names))
    rows = [(at, *(scores.get(name) for name in names[1:])) for _, at, scores in rounds]
    cells = dict(zip(names, zip(*rows, strict=True), strict=True))
    return RawTable(
        file=file,
        default_run=default_run,
        names=names,
        columns={name: column for name, column in cells.items() if name in wanted},
        lines=np.asarray([number for number, _, _ in rounds], dtype=np.int64),
        notes=(f"printed lines and no table: {len(rounds)} rounds of boosting",),
    )


def _mean(pairs: Sequence[tuple[str, str]]) -> tuple[str, str]:
    return pairs[0][0], repr(float(np.mean([float(value) for _, value in pairs])))


def _add(epoch: _Epoch, text: str) -> None:
    pairs = list(_pairs(text))
    train = [pair for pair in pairs if _role(pair[0]) == "train"]
    val = [pair for pair in pairs if _role(pair[0]) == "val"]
    epoch.train += train
    epoch.val += val
    if len(train) == len(val) == 1:
        epoch.together.append((train[0], val[0]))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield each loss of a line, with its name: in ``Test set: average loss`` all of that."""
    end = 0
    for match in _LOSS.finditer(text):
        name, before = match["name"], text[end : match.start()]
        end = match.end()
        parts = [] if says_part(name) else _PART.findall(before)
        yield " ".join([*parts[-1:], name]), match["value"]


@lru_cache(maxsize=1000)
def _role(name: str) -> str:
    if loss_of([name], is_train=True):
        return "train"
    return "val" if loss_of([name], is_train=False) else ""

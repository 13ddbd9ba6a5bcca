"""Printed lines that name a step and its losses, mostly those of training and validation apart."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sweepdiag.readers.printed_rows import LEAST_ROWS, PrintedRows, losses_in, plain, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["steps_of_lines"]

_STEP = re.compile(
    r"(?<![a-z])(?:global[_ ]?step|step|iter(?:ation)?)\b[^\w\n]{0,4}(\d+)(?:\s*/\s*(\d+))?",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"(?<![a-z])epoch\b[^\w\n]{0,4}(\d+)", re.IGNORECASE)
_MAX_LENGTH = 2000
_CURVE = 10
"""Training losses that are a curve without those of validation."""
_RISING_SHARE = 0.9


@dataclass(slots=True)
class _Step:
    """What the lines of one step say: the first value of each name, by role."""

    number: int
    line: int
    epoch: int | None
    n_in_epoch: int | None
    train: dict[str, str] = field(default_factory=dict)
    val: dict[str, str] = field(default_factory=dict)
    together: tuple[str, str] | None = None

    def add(self, losses: Sequence[tuple[str, str]]) -> None:
        """Take the losses of a line, with the names of both where there are both."""
        own: dict[str, list[str]] = {"train": [], "val": []}
        for name, value in losses:
            role = role_of(name)
            if role:
                own[role].append(name)
                (self.train if role == "train" else self.val).setdefault(name, value)
        if own["train"] and own["val"]:
            self.together = (own["train"][0], own["val"][0])


def steps_of_lines(lines: Sequence[str]) -> PrintedRows | None:
    """Return what lines say that name a step and a loss, as nanoGPT and its kin print them.

    A validation loss on a later line is of the step before it. Where lines give both losses
    (``step 250: train loss 4.1, val loss 4.2``) all others are left out. Steps that begin anew in
    each epoch are counted on. Without validation the steps have to rise.
    """
    steps = _steps(lines)
    train, val = _most_common(s.train for s in steps), _most_common(s.val for s in steps)
    n_val = sum(val in step.val for step in steps)
    pair = _most_common({s.together: None} for s in steps if s.together)
    both = [step for step in steps if pair and step.together == pair]
    if len(both) >= LEAST_ROWS and len(both) == sum(pair[1] in step.val for step in steps):
        steps, (train, val), n_val = both, pair, len(both)
    steps = [step for step in steps if train in step.train or val in step.val]
    numbers, is_counted_on = _counted_on(steps)
    if n_val < LEAST_ROWS and not (n_val == 0 and _rises(numbers)):
        return None
    names = [name for name in (train, val) if name]
    rows = [
        (number, *((step.train | step.val).get(name) for name in names))
        for number, step in zip(numbers, steps, strict=True)
    ]
    note = f"{len(rows)} steps that are named beside a loss"
    return PrintedRows(
        names=("step", *names),
        rows=rows,
        lines=[step.line for step in steps],
        note=f"{note}, counted on from epoch to epoch" if is_counted_on else note,
    )


def _steps(lines: Sequence[str]) -> list[_Step]:
    """Return the steps that are named beside a loss, in the order of the lines."""
    steps: list[_Step] = []
    for number, line in enumerate(lines, start=1):
        if len(line) > _MAX_LENGTH or "loss" not in line.lower():
            continue
        text = plain(line)
        named = _STEP.search(text)
        if not named and not steps:
            continue
        losses = [pair for pair in losses_in(text) if role_of(pair[0])]
        if losses and named:
            at, of_epoch = int(named[1]), _EPOCH.search(text)
            epoch = int(of_epoch[1]) if of_epoch else None
            if not steps or (steps[-1].number, steps[-1].epoch) != (at, epoch):
                total = int(named[2]) if named[2] else None
                steps.append(_Step(number=at, line=number, epoch=epoch, n_in_epoch=total))
            steps[-1].add(losses)
        elif steps:
            steps[-1].add([pair for pair in losses if role_of(pair[0]) == "val"])
    return steps


def _most_common(names: Iterable[Mapping[Any, Any]]) -> Any:
    """Return the key that most mappings have, of several the first; '' if there is none."""
    counts = Counter(itertools.chain.from_iterable(names))
    return max(counts, key=counts.__getitem__, default="")


def _counted_on(steps: Sequence[_Step]) -> tuple[list[int], bool]:
    """Return the number of each step, and whether those that begin anew were counted on."""
    begins_anew = any(
        before.epoch is not None
        and after.epoch is not None
        and after.epoch > before.epoch
        and after.number <= before.number
        for before, after in itertools.pairwise(steps)
    )
    if not begins_anew or any(step.epoch is None for step in steps):
        return [step.number for step in steps], False
    totals = {step.n_in_epoch for step in steps}
    highest = max(step.number for step in steps)
    period = (totals.pop() if len(totals) == 1 else None) or highest
    first = steps[0].epoch or 0
    return [step.number + period * ((step.epoch or 0) - first) for step in steps], True


def _rises(numbers: Sequence[int]) -> bool:
    """Return whether steps are those of one curve of training losses."""
    pairs = list(itertools.pairwise(numbers))
    n_rising = sum(before < after for before, after in pairs)
    return len(numbers) >= _CURVE and n_rising >= _RISING_SHARE * len(pairs)

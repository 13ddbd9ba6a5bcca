"""What the names of runs tell: settings such as ``lr0.1_bs64_seed1``, and other words."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["settings_in_names", "words_in_names"]

_ASSIGNED = re.compile(r"(?:.*\d_)?(?P<name>[A-Za-z][\w.]*)=(?P<value>[^=]+)")
"""One of ``train_8_lr=0.1,width=64`` between the commas: what Ray Tune and Hydra call folders."""
_KNOWN = re.compile(
    r"(?<![A-Za-z])(?P<name>lr|learning_?rate|bs|batch_?size|batch|wd|weight_?decay|width|depth|"
    r"hidden(?:_?(?:size|dim|units))?|dropout|momentum|seed|fold)[_=-]?"
    r"(?P<value>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)(?![A-Za-z\d]|\.\d)",
    re.IGNORECASE,
)
"""A setting of a usual name with its number, wherever it stands: ``lr0.01``, ``bs_64``."""
_BETWEEN = re.compile(r"[\s_/,;&=#@:()\[\]]+|(?<!\d[eE])-")
"""What stands between the parts of a name; the minus of 1e-3 does not."""
_NUMBER = r"(?:\d+(?:\.\d*|p\d+)?|\.\d+)(?:e[+-]?\d+|em\d+)?"
"""A number; also 1p5 for 1.5 and 1em3 for 1e-3, as where a name may hold no dot."""
_PART = re.compile(rf"(?P<word>[^\W\d]*)(?P<number>{_NUMBER})?", re.IGNORECASE)
_SECOND = frozenset({"rate", "size", "dim", "units", "decay", "smoothing", "layers", "heads",
                     "steps", "clip", "factor", "ratio"})  # fmt: skip
"""Words that say too little without the one before: ``weight_decay_0.1``."""
_COUNTS = frozenset({
    "again", "attempt", "checkpoint", "ckpt", "config", "copy", "cfg", "epoch", "epochs", "exp",
    "experiment", "file", "gpu", "history", "id", "idx", "index", "job", "log", "logs", "metrics",
    "model", "net", "no", "node", "num", "part", "process", "rank", "rep", "repeat", "rerun",
    "restart", "result", "results", "resume", "resumed", "retry", "run", "runs", "set", "step",
    "sweep", "task", "train", "training", "trial", "try", "v", "version", "worker",
})  # fmt: skip
"""Words whose number counts runs or says where one ran."""
_USUAL = {
    "optimizer": {"adam", "adamw", "sgd", "rmsprop", "muon", "lion", "adagrad", "adadelta",
                  "nadam", "radam", "lamb", "lars", "lbfgs", "sophia",
                  "adafactor", "shampoo", "momentum"},
    "activation": {"relu", "tanh", "sigmoid", "gelu", "silu", "swish", "elu", "selu", "mish",
                   "leakyrelu", "softplus"},
}  # fmt: skip
"""Settings that are known by their values."""
_KINDS = frozenset({"opt", "optim", "optimizer", "act", "activation", "arch", "data", "dataset",
                    "init", "loss", "norm", "sched", "scheduler", "schedule"})  # fmt: skip
"""Words that name the text behind them."""
_OTHER = "variant"
"""A setting of which only the values are known."""
_FEW = 6
"""So many different texts may be a setting, however few runs there are."""
_DRAWN = re.compile(r"[a-z]+-[a-z]+-\d+")
"""``silver-sun-12``: names that Weights & Biases and MLflow draw."""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LONG_COUNT = re.compile(r"0\d\d+|\d{8,}")
"""``00012``, ``20250131``: no number of a setting."""

_Part = tuple[str, str]
"""A word and the number behind it, either of which may be empty; ("", "") is anything else."""


def settings_in_names(runs: Sequence[str]) -> dict[str, list[Any]]:
    """Return the settings that the names of runs tell, each with a value per run.

    Names with the same parts, such as ``w32_d4`` and ``w64_d4``, tell whatever changes from one to
    the next; of others those settings are known that all of them name in a usual way.

    Args:
        runs: Names such as ``lr_0.1_bs_64`` or ``train_8_lr=0.1,width=64``.

    Returns:
        Values by name of the setting, only of those that every name tells once.
    """
    found = [dict(_named(run)) for run in runs]
    shared = [name for name in (found[0] if found else {}) if all(name in one for one in found)]
    known = {name: [one[name] for one in found] for name in shared}
    if not runs or any("=" in run for run in runs):
        return known
    by_place = dict(_by_place(runs))
    names = {name.lower() for name in known}
    return known | {n: values for n, values in by_place.items() if n.lower() not in names}


def words_in_names(runs: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the words in each name that are no count of runs, and not drawn by chance.

    Args:
        runs: Names of runs.
    """
    if all(_DRAWN.fullmatch(run) for run in runs):
        return [()] * len(runs)
    parts = [_parts(run) for run in runs]
    if len({len(own) for own in parts}) == 1:
        kept = [cells for cells in zip(*parts, strict=True) if not _is_hash(cells)]
        parts = [list(own) for own in zip(*kept, strict=True)] or [[] for _ in runs]
    words = [tuple(w.lower() for w, _ in own if w and w.lower() not in _COUNTS) for own in parts]
    counts = Counter(word for own in words for word in set(own))
    is_lettered = all(counts[w] == 1 for w in counts if len(w) == 1)
    return [tuple(w for w in own if len(w) > 1 or not is_lettered) for own in words]


def _named(run: str) -> Iterator[tuple[str, Any]]:
    assigned = [match for part in re.split(r"[,/&;]", run) if (match := _ASSIGNED.fullmatch(part))]
    matches = assigned or list(_KNOWN.finditer(run))
    counts = Counter(match["name"].lower() for match in matches)
    for match in matches:
        if counts[match["name"].lower()] == 1:
            yield match["name"], _value(match["value"])


def _by_place(runs: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    """Yield what changes at each place of names that have the same number of parts."""
    parts = [_parts(run) for run in runs]
    if len({len(own) for own in parts}) > 1:
        return
    places = list(zip(*parts, strict=True))
    changing = [i for i, cells in enumerate(places) if len(set(cells)) > 1]
    names: Counter[str] = Counter()
    for i in changing:
        before = [_shared_word(cells) for cells in places[:i]]
        setting = _setting(places[i], before, is_alone=len(changing) == 1)
        if setting is not None:
            name, values = setting
            names[name] += 1
            yield (name if names[name] == 1 else f"{name}_{names[name]}"), values


def _setting(
    cells: Sequence[_Part], before: Sequence[str], *, is_alone: bool
) -> tuple[str, list[Any]] | None:
    """Return the name and the values of what changes at a place; ``None`` if it is no setting.

    Args:
        cells: The part of each name at this place.
        before: The words that all names have at each place before; empty where they differ.
        is_alone: Whether names differ in nothing else.
    """
    words = {word.lower() for word, _ in cells}
    numbers = [number for _, number in cells]
    if len(words) == 1 and all(numbers):
        name = _name([*before, *filter(None, [cells[0][0]])])
        if not name or name.lower() in _COUNTS or any(map(_LONG_COUNT.fullmatch, numbers)):
            return None
        values = [_value(number) for number in numbers]
        if name.lower() == "s" and all(value.is_integer() for value in values):
            return "seed", values
        is_usual = _KNOWN.fullmatch(f"{name}_1") is not None
        return None if is_alone and not is_usual and _is_count(values) else (name, values)
    texts = ["".join(cell) for cell in cells]
    if not _may_be_setting(texts) or words & _COUNTS or all(len(word) == 1 for word in words):
        return None
    usual = next((n for n, known in _USUAL.items() if {t.lower() for t in texts} <= known), "")
    if not usual and len(set(texts)) == len(texts):
        return None
    word = before[-1] if before else ""
    is_named = word.lower() in _KINDS or (word and any(not own for own, _ in cells))
    return usual or (word if is_named else _OTHER), texts


def _may_be_setting(texts: Sequence[str]) -> bool:
    """Return whether texts are few, all known, and no settings of different names."""
    n_texts = len(set(texts))
    is_few = n_texts <= max(_FEW, len(texts) / 2)
    return is_few and all(texts) and not any(map(_KNOWN.fullmatch, texts))


def _shared_word(cells: Sequence[_Part]) -> str:
    """Return the word that all names have at a place, if no number belongs to it."""
    return cells[0][0] if len(set(cells)) == 1 and not cells[0][1] else ""


def _name(words: Sequence[str]) -> str:
    """Return the last word as the name of a setting, with the one before where it needs it."""
    last = words[-1] if words else ""
    return "_".join(filter(None, words[-2:])) if last.lower() in _SECOND else last


def _is_count(values: Sequence[float]) -> bool:
    """Return whether numbers count runs: each is one more than another."""
    return all(b - a == 1 for a, b in pairwise(sorted(values)))


def _is_hash(cells: Sequence[_Part]) -> bool:
    """Return whether a part of names is something drawn: letters and digits, never the same."""
    return ("", "") in cells and len(set(cells) - {("", "")}) == len(
        [cell for cell in cells if cell != ("", "")]
    )


def _parts(run: str) -> list[_Part]:
    found = []
    for text in filter(None, _BETWEEN.split(_UUID.sub("0", run))):
        match = _PART.fullmatch(text)
        found.append((match["word"], match["number"] or "") if match else ("", ""))
    return found


def _value(text: str) -> Any:
    spelled = re.fullmatch(_NUMBER, text, re.IGNORECASE)
    plain = text.lower().replace("p", ".").replace("em", "e-") if spelled else text
    try:
        return float(plain)
    except ValueError:
        return text.strip()

"""How right the verdicts are, on real curves that others have published.

labels        OverfitGuard's curves against their labels "overfit" or not, beside other tools
facts         curves of which arithmetic alone says what class they cannot have
prefixes      the verdict on the first 25, 50 and 75 % of a curve against the one on all of it
seeds         verdicts on trainings that differ in their seed only
confidence    how often a verdict of a given confidence is right, or shared by another seed

Every curve is judged alone, without facts of its task, by the thresholds as they are shipped.
Those were chosen on the simulated curves, on deepobs_baselines, taskset_dpl and curves of our own;
the 40 real curves of OverfitGuard had no part in it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from _bench.curve_sources import open_folder
from _bench.diagnosis_figures import draw_confusions, draw_reliability
from _bench.other_tools import other_tools
from _bench.results import Results, add_options, cpu_name
from _bench.scores import (
    OVERFITTING,
    calibration_error,
    consequence,
    facts_of,
    macro_f1,
    named,
    prefix,
    reliability,
    wilson,
)
from sweepdiag.records import VerdictClass
from sweepdiag.rules import judge_curves

if TYPE_CHECKING:
    from _bench.curve_sources import CurveFolder, Source
    from _bench.diagnosis_figures import Confusion
    from _bench.scores import Bins
    from sweepdiag.records import Verdict

_QUICK = 300
_SHARES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Judged:
    """A source and the verdicts on its curves."""

    source: Source
    verdicts: tuple[Verdict, ...]

    @property
    def classes(self) -> list[VerdictClass]:
        return [verdict.verdict for verdict in self.verdicts]

    @property
    def named(self) -> list[VerdictClass]:
        return [named(verdict) for verdict in self.verdicts]

    @property
    def confidences(self) -> np.ndarray:
        return np.array([verdict.confidence for verdict in self.verdicts])


def judge(source: Source) -> Judged:
    return Judged(source, judge_curves(source.curves, facts=None))


def add_share(results: Results, row: str, column: str, hits: np.ndarray) -> None:
    """Add a share in percent, how many it is of, and its 95 % interval."""
    n_hits, n = int(np.sum(hits)), len(hits)
    if n == 0:
        results.skip(row, column, "no such curve")
        return
    low, high = wilson(n_hits, n)
    unit = f"% ({n_hits} of {n}; {100 * low:.1f} to {100 * high:.1f})"
    results.add(row, column, 100 * n_hits / n, unit)


def grade_labels(judged: Judged, results: Results) -> None:
    """Score "overfit or not"; a verdict is yes if it is one of both kinds of overfitting."""
    source = judged.source
    expected = source.is_overfit
    assert expected is not None
    answers = {"sweepdiag": np.array([verdict in OVERFITTING for verdict in judged.classes])}
    for name, ask in other_tools().items():
        try:
            answers[name] = ask(source.curves)
        except ImportError:
            results.skip(source.name, name, f"pip install {name.replace('_', '-')}")
    for name, found in answers.items():
        n_wrong, n = int((found != expected).sum()), len(expected)
        results.add(source.name, name, macro_f1(expected, found), f"macro F1, {n_wrong}/{n} wrong")


def grade_facts(judged: Judged, results: Results) -> None:
    """Score what arithmetic says of each curve; an open verdict contradicts nothing."""
    row = f"{judged.source.name}: facts"
    for fact in facts_of(judged.source.curves):
        classes = [judged.classes[i] for i in np.flatnonzero(fact.holds)]
        agrees = np.array([verdict in fact.allowed for verdict in classes])
        is_open = np.array([verdict is VerdictClass.INCONCLUSIVE for verdict in classes])
        add_share(results, row, f"{fact.name}: contradicted", ~agrees & ~is_open)
        add_share(results, row, f"{fact.name}: left open", is_open & ~agrees)


def grade_prefixes(judged: Judged, results: Results) -> None:
    row = f"{judged.source.name}: prefixes"
    final = [consequence(verdict) for verdict in judged.classes]
    for share in _SHARES:
        verdicts = judge_curves(prefix(judged.source.curves, share), facts=None)
        early = [consequence(verdict.verdict) for verdict in verdicts]
        told = [i for i, word in enumerate(early) if word != str(VerdictClass.INCONCLUSIVE)]
        is_same = np.array([early[i] == final[i] for i in told])
        percent = f"{100 * share:.0f} %"
        add_share(results, row, f"same consequence from {percent}", is_same)
        for word in ("does not train", "overfits"):
            kept = np.array([final[i] == word for i in told if early[i] == word])
            add_share(results, row, f"{word} at {percent}, and at the end", kept)


def grade_seeds(judged: Judged, results: Results) -> None:
    row = f"{judged.source.name}: seeds"
    for column, classes in (
        ("class of most seeds", [str(verdict) for verdict in judged.classes]),
        ("consequence of most seeds", [consequence(verdict) for verdict in judged.classes]),
    ):
        hits: list[bool] = []
        for group in judged.source.groups:
            words = [classes[i] for i in group]
            most = max(set(words), key=words.count)
            hits += [word == most for word in words]
        add_share(results, row, column, np.array(hits))


def against_labels(judged: Judged) -> Bins:
    expected = judged.source.is_overfit
    assert expected is not None
    is_right = np.array([c in OVERFITTING for c in judged.named]) == expected
    return reliability(judged.confidences, is_right)


def against_seeds(judged: Judged) -> Bins:
    """Compare each verdict with those on the same configuration's other seeds."""
    confidences: list[float] = []
    agreement: list[float] = []
    for group in judged.source.groups:
        words = [str(judged.named[i]) for i in group]
        for i, word in zip(group, words, strict=True):
            confidences.append(judged.confidences[i])
            agreement.append((words.count(word) - 1) / (len(words) - 1))
    return reliability(np.array(confidences), np.array(agreement))


def confusion_of_labels(judged: Judged) -> Confusion:
    expected = judged.source.is_overfit
    assert expected is not None
    return {
        label: [judged.classes[i] for i in np.flatnonzero(expected == answer)]
        for label, answer in (("overfit", True), ("not overfit", False))
    }


def confusion_of_facts(judged: Judged) -> Confusion:
    return {
        fact.name: [judged.classes[i] for i in np.flatnonzero(fact.holds)]
        for fact in facts_of(judged.source.curves)
    }


def grade(folder: CurveFolder, results: Results, *, is_quick: bool, figures: str | None) -> None:
    most = _QUICK if is_quick else None
    labelled = [judge(s) for s in (folder.simulated(most), folder.real(), folder.real_mended())]
    others = [judge(s) for s in (folder.deepobs(most), folder.taskset(most))]
    deepobs = others[0]
    for judged in labelled:
        grade_labels(judged, results)
    for judged in others:
        grade_facts(judged, results)
    for judged in (*labelled[1:2], *others):
        grade_prefixes(judged, results)
    grade_seeds(deepobs, results)
    diagrams = {
        f"labels of {labelled[0].source.name}": against_labels(labelled[0]),
        f"labels of {labelled[1].source.name}": against_labels(labelled[1]),
        f"other seeds of {deepobs.source.name}": against_seeds(deepobs),
    }
    for name, bins in diagrams.items():
        results.add(f"confidence against {name}", "error", calibration_error(bins), "mean")
    if figures is not None:
        Path(figures).mkdir(parents=True, exist_ok=True)
        confusions = {j.source.name: confusion_of_labels(j) for j in labelled}
        confusions |= {j.source.name: confusion_of_facts(j) for j in others}
        draw_confusions(confusions, Path(figures) / "diagnosis-confusion.png")
        draw_reliability(diagrams, Path(figures) / "diagnosis-reliability.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--curves", required=True, help="folder of the published curves")
    add_options(parser, quick="at most 300 curves of each source")
    parser.add_argument("--figures", help="draw the figures into this folder")
    arguments = parser.parse_args()
    results = Results(f"{cpu_name()}, one core")
    folder = open_folder(arguments.curves)
    grade(folder, results, is_quick=arguments.quick, figures=arguments.figures)
    print(results.table())
    results.write(arguments.json)


if __name__ == "__main__":
    main()

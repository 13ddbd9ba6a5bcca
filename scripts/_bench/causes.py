"""Whether findings name the causes that were planted, and stay silent on healthy sweeps.

Every sweep and what came of it is kept in the work folder, so that a run that broke off goes on
where it was. Where the package has changed since, what is trained already is only judged again.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import functools
import hashlib
import json
import logging
import os
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _bench import planted
from _bench.causes_report import add_figures, confusion_text, draw_confusion, missed_text
from _bench.causes_table import HELD_OUT, TUNED_ON
from _bench.planted import Spec, all_specs, build, n_trials
from _bench.results import Results, add_options, cpu_name, new_file
from sweepdiag.report.summary import open_findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sweepdiag.plotting import ReportData

QUICK = (
    "digits-mlp-unscaled_inputs-severe",
    "digits-mlp-leaking_validation-severe",
    "digits-residual-shuffled_labels-severe",
    "synthetic-residual-rate_too_low-severe",
    "cancer-mlp-tiny_validation-severe",
    "digits-mlp-healthy-none",
)
_MOST_TRIALS = 24


def main() -> None:
    arguments = _parse()
    specs = _chosen(arguments)
    folder = Path(arguments.work)
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.kept:
        specs = [s for s in specs if _path(s, folder, curves_only=arguments.curves_only).exists()]
        if not specs:
            sys.exit(f"bench-causes: {folder} holds no such outcome: run it without --kept")
    outcomes = []
    for place, spec in enumerate(specs, 1):
        outcome = _kept_outcome(spec, folder, curves_only=arguments.curves_only)
        outcomes.append(outcome)
        if not arguments.quiet:
            print(f"{place:>4}/{len(specs)} {_line(outcome)}", flush=True)
    results = Results(device=cpu_name())
    add_figures(results, outcomes)
    print(missed_text(outcomes))
    print(confusion_text(outcomes))
    print(results.table())
    if arguments.json is not None:
        text = {"device": results.device, "rows": results.rows, "sweeps": outcomes}
        Path(arguments.json).write_text(json.dumps(text, indent=1) + "\n")
    if arguments.figure is not None:
        draw_confusion(outcomes, Path(arguments.figure))
    if any("error" in outcome for outcome in outcomes):
        sys.exit(1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, quick="six sweeps, under 50 s")
    parser.add_argument(
        "--figure", metavar="PATH", type=new_file, help="where to draw the confusion matrix"
    )
    parser.add_argument(
        "--only", metavar="PATTERN", action="append", help="sweeps by name, as digits-*-mild"
    )
    parser.add_argument(
        "--held-out",
        choices=("with", "without", "only"),
        default="with",
        help=f"whether {HELD_OUT}, which was kept out of all tuning, is measured too",
    )
    parser.add_argument("--work", metavar="DIR", default="results/causes", help="kept sweeps")
    parser.add_argument(
        "--curves-only",
        action="store_true",
        help="as for other tools' logs: findings know nothing of the samples",
    )
    parser.add_argument(
        "--kept", action="store_true", help="report what the work folder holds, train nothing"
    )
    parser.add_argument("--quiet", action="store_true", help="only the figures")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[Spec]:
    """Return the sweeps that were asked for; exits if a pattern fits none of them."""
    data: Sequence[str] = TUNED_ON
    if arguments.held_out != "without" and not arguments.quick:
        reason = _why_no_fashion()
        if reason and arguments.held_out == "only":
            sys.exit(f"bench-causes: {reason}")
        if reason:
            print(f"{HELD_OUT} is left out: {reason}", file=sys.stderr)
        else:
            data = (HELD_OUT,) if arguments.held_out == "only" else (*TUNED_ON, HELD_OUT)
    specs = list(all_specs(tuple(data)))
    patterns = list(QUICK) if arguments.quick else arguments.only
    for pattern in patterns or ():
        if not any(fnmatch.fnmatch(spec.name, pattern) for spec in specs):
            names = f"such as {specs[0].name} or *-mild"
            sys.exit(f"bench-causes: --only must fit the name of a sweep, {names}, got {pattern}")
    if patterns:
        specs = [s for s in specs if any(fnmatch.fnmatch(s.name, p) for p in patterns)]
    return specs


def _why_no_fashion() -> str:
    from sweepdiag.errors import WorkloadError
    from sweepdiag.workloads.fashion_mnist import find_folder

    try:
        find_folder(os.environ.get("SWEEPDIAG_DATA"))
    except WorkloadError as error:
        return str(error)
    return ""


def _kept_outcome(spec: Spec, folder: Path, *, curves_only: bool) -> dict[str, Any]:
    """Return what came of a sweep, from the work folder if nothing has changed since."""
    kept = _path(spec, folder, curves_only=curves_only)
    sources = _sources()
    if kept.exists():
        record = json.loads(kept.read_text())
        if record["sources"] == sources:
            outcome: dict[str, Any] = record["outcome"]
            return outcome
    outcome = _outcome(spec, folder, curves_only=curves_only)
    if "error" not in outcome:
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({"sources": sources, "outcome": outcome}))
    return outcome


def _path(spec: Spec, folder: Path, *, curves_only: bool) -> Path:
    return folder / "outcomes" / f"{spec.name}{'-curves' if curves_only else ''}.json"


@functools.cache
def _sources() -> str:
    """Return a hash of everything that an outcome depends on."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for path in sorted([*(root / "sweepdiag").rglob("*.py"), Path(planted.__file__)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _outcome(spec: Spec, folder: Path, *, curves_only: bool) -> dict[str, Any]:
    """Return what the findings say of a sweep; an exception is reported in its place."""
    start = time.monotonic()
    outcome: dict[str, Any] = {
        "name": spec.name,
        "data": spec.data,
        "family": spec.family,
        "cause": spec.cause,
        "severity": spec.severity,
    }
    try:
        data = _diagnosed(spec, folder / spec.name, curves_only=curves_only)
    except Exception:  # noqa: BLE001 - reported, so that the others are measured
        return outcome | {"error": traceback.format_exc(), "codes": [], "tips": []}
    found = open_findings(data.findings)
    return outcome | {
        "codes": [finding.code for finding in found if finding.state.value == "finding"],
        "tips": [finding.code for finding in found if finding.state.value == "tip"],
        "seconds": round(time.monotonic() - start, 2),
        "training_s": round(float(data.trials["seconds"].sum()), 2),
    }


def _diagnosed(spec: Spec, folder: Path, *, curves_only: bool) -> ReportData:
    """Train what is not trained yet, and return the diagnosis with the findings of today."""
    from sweepdiag.execution import StopRequests, resolve_devices
    from sweepdiag.pipeline.diagnosis import judge_folder
    from sweepdiag.pipeline.execute import train
    from sweepdiag.pipeline.recording import claim, recorded_history
    from sweepdiag.pipeline.resolve import resolve_config, resolve_sweep
    from sweepdiag.pipeline.trying import check_that_some_trial_begins
    from sweepdiag.store import RunFolder

    workload, settings = build(spec)
    assert n_trials(settings) <= _MOST_TRIALS, spec.name
    options = {**settings, "output": str(folder), "execution": {"executor": "serial"}}
    config, workload = resolve_config(workload, options=options)
    devices = resolve_devices(0, address=None)
    try_first = functools.partial(check_that_some_trial_begins, kind=devices.kind)
    sweep = try_first(resolve_sweep(config, workload))
    run = RunFolder(folder)
    claim(run, sweep)
    with StopRequests() as stops, run.open_journal() as journal:
        history = recorded_history(
            run, journal, sweep, try_first=try_first, overwrite=True, accept_changed_code=False
        )
        train(run, journal, history, sweep, devices, _Silent(), (), stops)
    facts = sweep.facts
    if curves_only:
        facts = dataclasses.replace(facts, data=None, step=None)
    return judge_folder(run, facts=facts).data


class _Silent:
    def started(self, *_: Any) -> None: ...

    def progressed(self, *_: Any) -> None: ...

    def stage(self, *_: Any) -> None: ...


def _line(outcome: dict[str, Any]) -> str:
    if "error" in outcome:
        return f"{outcome['name']:<48} FAILED: {outcome['error'].splitlines()[-1]}"
    listed = " ".join(outcome["codes"]) or "-"
    return f"{outcome['name']:<48} {outcome['seconds']:>5.1f} s  {listed}"


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    main()

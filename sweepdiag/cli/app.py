"""The commands."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweepdiag.cli import options
from sweepdiag.cli.exits import ExitCode, Stopped, reported_errors, stop_signals_raise
from sweepdiag.cli.gate import Gate
from sweepdiag.cli.submit import submit
from sweepdiag.cli.watch import log_to_stderr, make_watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweepdiag.cli.watch import Watch
    from sweepdiag.pipeline import ShardResult, SweepResult

__all__ = ["app"]

app = typer.Typer(
    name="sweepdiag",
    help="Train a sweep, read every learning curve, say what is wrong and where to train.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_AXES = "Axes (low:high:n on a log scale, lin:low:high:n, or values)"
_HOW = "How to train"


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details.")] = False,
) -> None:
    """Train a sweep, read every learning curve, say what is wrong and where to train.

    Raises:
        Exit: After printing the version.
    """
    log_to_stderr(logging.INFO if verbose else logging.WARNING)
    if version:
        import sweepdiag

        _print(f"sweepdiag {sweepdiag.__version__}")
        raise typer.Exit


@app.command()
def run(
    what: options.What = None,
    lr: Annotated[
        str | None,
        typer.Option(help="Learning rates, such as 1e-4:10:8.", rich_help_panel=_AXES),
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Batch sizes, such as 16,64,256.", rich_help_panel=_AXES)
    ] = None,
    capacity: Annotated[
        str | None, typer.Option(help="Capacities, such as 4,16,64.", rich_help_panel=_AXES)
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds per configuration.", rich_help_panel=_AXES)
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="grid, or qmc for quasi-random points.", rich_help_panel=_AXES),
    ] = None,
    n_configurations: Annotated[
        int | None, typer.Option(min=1, help="Points that qmc draws.", rich_help_panel=_AXES)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs per training.", rich_help_panel=_HOW)
    ] = None,
    monitor: Annotated[
        str | None, typer.Option(help="val_loss or val_metric.", rich_help_panel=_HOW)
    ] = None,
    stop_early: Annotated[
        bool | None,
        typer.Option(
            "--stop-early/--no-stop-early",
            help="End trainings that diverge or learn nothing, and would to their end.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    numerics: Annotated[
        str | None,
        typer.Option(help="exact, or fast: curves up to rounding.", rich_help_panel=_HOW),
    ] = None,
    record: options.Record = None,
    output: Annotated[
        str | None, typer.Option(help="Folder of the run; continued if it holds this sweep.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a different sweep in that folder.")
    ] = False,
    accept_changed_code: options.AcceptChangedCode = False,
    gpus: options.Gpus = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    pack_size: options.PackSize = None,
    address: options.Address = None,
    shard: options.Shard = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the resolved settings and stop.")
    ] = False,
    print_schema: Annotated[
        bool, typer.Option("--print-schema", help="Print the settings' JSON Schema and stop.")
    ] = False,
    ignore: options.Ignore = None,
    fail_on: options.FailOn = None,
    junit: options.JUnit = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a sweep and diagnose it."""
    with reported_errors():
        if print_schema:
            from sweepdiag.config import json_schema

            _print(json.dumps(json_schema(), indent=2))
            return
        settings = {
            "parameters": _axis_options(
                {"--lr": lr, "--batch-size": batch_size, "--capacity": capacity}
            ),
            "seeds": seeds,
            "sampler": sampler,
            "n_configurations": n_configurations,
            "epochs": epochs,
            "monitor": monitor,
            "stop_early": stop_early,
            "numerics": numerics,
            "record": record or None,
            "diagnosis": {"ignore": options.split_commas(ignore)} if ignore else None,
            "output": output,
            "execution": options.execution_options(
                gpus=gpus,
                workers=workers,
                executor=executor,
                pack_size=pack_size,
                address=address,
                shard=shard,
            ),
        }
        target, overrides = options.split_arguments(what or [])
        asked = options.asked(target, settings, overrides)
        if print_config:
            from sweepdiag.pipeline import resolve_config

            config, _ = resolve_config(**asked)
            _print(config.to_yaml().rstrip())
            return
        gate = Gate(fail_on=options.split_commas(fail_on), junit=junit)
        _run(
            asked,
            overwrite=overwrite,
            accept_changed_code=accept_changed_code,
            quiet=quiet,
            gate=gate,
        )


@app.command()
def resume(
    directory: options.RunDirectory,
    retry: Annotated[
        list[str] | None,
        typer.Option(help="Train again what ended so: failed, timed_out, out_of_memory."),
    ] = None,
    accept_changed_code: options.AcceptChangedCode = False,
    gpus: options.Gpus = None,
    workers: options.Workers = None,
    executor: options.Executor = None,
    pack_size: options.PackSize = None,
    address: options.Address = None,
    quiet: options.Quiet = False,
) -> None:
    """Continue an interrupted sweep: its plan minus what is done."""
    with reported_errors():
        from sweepdiag.pipeline import resume_sweep

        execution = options.execution_options(
            gpus=gpus, workers=workers, executor=executor, pack_size=pack_size, address=address
        )
        states = _states(retry or [])
        _watched(
            lambda watch: resume_sweep(
                directory,
                retry=states,
                accept_changed_code=accept_changed_code,
                observer=watch,
                execution=execution,
            ),
            quiet=quiet,
        )


app.command()(submit)


@app.command()
def merge(
    directories: Annotated[
        list[str], typer.Argument(metavar="DIR...", help="Run folders of the parts.")
    ],
    output: Annotated[str, typer.Option(help="Folder of the whole; added to if it is there.")],
) -> None:
    """Put the shards of a sweep together and diagnose the whole."""
    with reported_errors():
        from sweepdiag.pipeline import merge_folders
        from sweepdiag.store import RunFolder

        result = merge_folders([RunFolder(Path(d)) for d in directories], RunFolder(Path(output)))
        _print_merged(result, output)


@app.command()
def report(
    directory: options.RunDirectory,
    output: Annotated[
        str | None,
        typer.Option(help="Folder for the report, if DIR is not to be written into."),
    ] = None,
    ignore: options.Ignore = None,
    fail_on: options.FailOn = None,
    junit: options.JUnit = None,
) -> None:
    """Diagnose a run folder again, also one that is still running, and print the summary."""
    with reported_errors():
        gate = Gate(fail_on=options.split_commas(fail_on), junit=junit)
        from sweepdiag.pipeline import diagnose_folder
        from sweepdiag.report import render_text
        from sweepdiag.store import RunFolder

        folder = RunFolder(Path(directory))
        target = folder if output is None else RunFolder(Path(output))
        data = diagnose_folder(
            folder,
            ignore=options.split_commas(ignore),
            into=None if output is None else target,
        ).data
        _print(render_text(data, width=_width()))
        _print(f"Report: {target.report}")
        _exit_with(ExitCode.FINDINGS if gate.judge(data) else ExitCode.OK)


@app.command()
def diagnose(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="CSV, Parquet or JSON file with one row per run and epoch, or a folder of them.",
        ),
    ],
    output: Annotated[
        str | None, typer.Option(help="Folder for the report. Default: a new one under results/.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Column that says which runs belong together; each value is a sweep."),
    ] = None,
    one_sweep: Annotated[
        bool, typer.Option("--one-sweep", help="All runs together are one sweep.")
    ] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=NAME,...",
            help="Which column holds what: run, epoch, step, seed, train_loss, val_loss, "
            "train_metric, val_metric. The rest is found by usual names.",
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Columns that are the axes of a sweep."),
    ] = None,
    monitor: Annotated[str | None, typer.Option(help="val_loss or val_metric.")] = None,
    quiet: options.Quiet = False,
) -> None:
    """Diagnose curves that you already have, from any program; nothing is trained."""
    with reported_errors():
        from sweepdiag.cli.diagnose import describe_reading, describe_sweeps
        from sweepdiag.pipeline import diagnose as diagnose_curves
        from sweepdiag.report import render_text

        result = diagnose_curves(
            path,
            output=output,
            group_by=group_by,
            one_sweep=one_sweep,
            columns=options.column_roles(columns or []),
            axes=None if axes is None else [name.strip() for name in axes.split(",")],
            monitor=monitor,
            on_stage=_stage_line(quiet=quiet),
        )
        if not quiet:
            _print(describe_reading(result, _width()))
            _print(render_text(result.data, width=_width()))
            if result.groups:
                _print(describe_sweeps(result, _width()))
            _print(f"Report: {result.report}")


@app.command()
def rebuild(directory: options.RunDirectory) -> None:
    """Make every derived file of a run folder again from its journal."""
    with reported_errors():
        from sweepdiag.pipeline import diagnose_folder
        from sweepdiag.store import RunFolder

        folder = RunFolder(Path(directory))
        diagnose_folder(folder)
        _print(f"Rebuilt {folder.path}")


@app.command()
def status(
    directory: options.RunDirectory,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Say how far a run is, from any machine that sees its folder, without touching it."""
    with reported_errors():
        from sweepdiag.cli.status import describe_status, status_json
        from sweepdiag.pipeline import read_status
        from sweepdiag.store import RunFolder

        found = read_status(RunFolder(Path(directory)))
        _print(status_json(found) if as_json else describe_status(found))


@app.command()
def doctor(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORKLOAD | SWEEP.yaml] [KEY=VALUE]...",
            help="What to look at, as for run; without it only the machine is described.",
        ),
    ] = None,
) -> None:
    """Say what this machine offers and what is wrong with it, and how a workload would be trained.

    Exits with 1 if something that is needed to train here is broken.
    """
    with reported_errors():
        from sweepdiag.cli.doctor import describe_check, describe_health, describe_training
        from sweepdiag.pipeline import Health, examine_machine

        n_broken = 0
        for check in examine_machine():
            _print(describe_check(check, _width()))
            sys.stdout.flush()
            n_broken += check.health is Health.BROKEN
        _print(describe_health(n_broken))
        if what:
            from sweepdiag.pipeline import examine_workload, resolve_config

            target, overrides = options.split_arguments(what)
            config, workload = resolve_config(**options.asked(target, {}, overrides))
            examinations = examine_workload(config, workload)
            _print(describe_training(workload.name, examinations, _width()))
        _exit_with(ExitCode.FINDINGS if n_broken else ExitCode.OK)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="Code of a finding, such as SD101.")],
) -> None:
    """Explain a finding: what it checks, why it matters, what to do."""
    with reported_errors():
        from sweepdiag.rules.findings.explain import explain_finding

        _print(explain_finding(code))


def _run(
    asked: dict[str, Any],
    *,
    overwrite: bool,
    accept_changed_code: bool,
    quiet: bool,
    gate: Gate,
) -> None:
    from sweepdiag.pipeline import resolve_config, run_config, train_shard

    def train(watch: Watch) -> SweepResult | ShardResult:
        config, workload = resolve_config(**asked)
        run = run_config if config.execution.shard is None else train_shard
        return run(
            config,
            workload,
            overwrite=overwrite,
            accept_changed_code=accept_changed_code,
            observer=watch,
        )

    _watched(train, quiet=quiet, gate=gate)


def _watched(
    train: Callable[[Watch], SweepResult | ShardResult],
    *,
    quiet: bool,
    gate: Gate | None = None,
) -> None:
    """Train under a panel, print the summary, and exit as the sweep went.

    Raises:
        SystemExit: If the sweep was interrupted.
    """
    watch = make_watch(quiet=quiet)
    try:
        with stop_signals_raise(), watch.shown():
            result = train(watch)
    except KeyboardInterrupt:
        _print_interrupted(watch)
        raise SystemExit(ExitCode.INTERRUPTED) from None
    except Stopped:
        _print_interrupted(watch)
        raise SystemExit(ExitCode.STOPPED) from None
    if not quiet:
        _print_result(result)
    from sweepdiag.pipeline import SweepResult

    is_failing = (
        gate is not None and isinstance(result, SweepResult) and gate.judge(result.diagnosis.data)
    )
    _exit_with(ExitCode.FAILED_TRIALS if result.n_failed else ExitCode.OK)
    _exit_with(ExitCode.FINDINGS if is_failing else ExitCode.OK)


def _exit_with(code: ExitCode) -> None:
    """Exit unless everything is in order.

    Raises:
        SystemExit: With any other code than 0.
    """
    if code is not ExitCode.OK:
        raise SystemExit(code)


def _print_result(result: SweepResult | ShardResult) -> None:
    from sweepdiag.pipeline import ShardResult
    from sweepdiag.report import render_text

    if isinstance(result, ShardResult):
        _print(str(result))
        return
    _print(render_text(result.diagnosis.data, width=_width()))
    _print(f"Report: {result.report}")


def _print_merged(result: SweepResult, output: str) -> None:
    """Print what a merge gave, and exit as its trials went."""
    _print_result(result)
    if result.n_missing:
        sys.stderr.write(
            f"sweepdiag: {result.n_missing} of {len(result.trials)} trials are missing: merge "
            f"again when they are done, or train them with: sweepdiag resume {output}\n"
        )
        _exit_with(ExitCode.STOPPED)
    _exit_with(ExitCode.FAILED_TRIALS if result.n_failed else ExitCode.OK)


def _print_interrupted(watch: Watch) -> None:
    if watch.path is None or watch.last is None:
        sys.stderr.write("sweepdiag: interrupted before anything was trained\n")
        return
    sys.stderr.write(
        f"\nInterrupted: {watch.last.n_done} of {watch.last.n_trials} trials are done and kept; "
        f"those under way begin again.\n  Go on:      sweepdiag resume {watch.path}\n"
        f"  Look at it: sweepdiag report {watch.path}\n"
    )


def _stage_line(*, quiet: bool) -> Callable[[str], None]:
    """Return what writes a line per step, for people who wait."""

    def say(name: str) -> None:
        if not quiet and sys.stderr.isatty():
            sys.stderr.write(f"{name}\n")

    return say


def _axis_options(given: dict[str, str | None]) -> dict[str, Any] | None:
    from sweepdiag.config import parse_axis

    axes = {
        option.removeprefix("--").replace("-", "_"): parse_axis(text, option=option)
        for option, text in given.items()
        if text is not None
    }
    return axes or None


def _states(names: list[str]) -> list[Any]:
    from sweepdiag.errors import ConfigError, unknown_name
    from sweepdiag.records import DONE_STATES, State

    for name in names:
        if name not in {state.value for state in DONE_STATES}:
            message = unknown_name("state for --retry", name, sorted(DONE_STATES))
            raise ConfigError(message)
    return [State(name) for name in names]


def _width() -> int:
    """Return how wide the summary may be: the terminal, but no wider than reads well."""
    return max(60, min(shutil.get_terminal_size((88, 24)).columns, 88))


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")

"""The commands."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweepdiag.cli import options
from sweepdiag.cli.exits import ExitCode, exit_with, reported_errors
from sweepdiag.cli.gate import Gate
from sweepdiag.cli.run import merge, resume, run
from sweepdiag.cli.submit import submit
from sweepdiag.cli.terminal import print_text, stage_line, terminal_width
from sweepdiag.cli.watch import log_to_stderr

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

        print_text(f"sweepdiag {sweepdiag.__version__}")
        raise typer.Exit


app.command()(run)
app.command()(resume)
app.command()(submit)
app.command()(merge)


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
        print_text(render_text(data, width=terminal_width()))
        print_text(f"Report: {target.report}")
        exit_with(ExitCode.FINDINGS if gate.judge(data) else ExitCode.OK)


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
            on_stage=stage_line(quiet=quiet),
        )
        if not quiet:
            print_text(describe_reading(result, terminal_width()))
            print_text(render_text(result.data, width=terminal_width()))
            if result.groups:
                print_text(describe_sweeps(result, terminal_width()))
            print_text(f"Report: {result.report}")


@app.command()
def rebuild(directory: options.RunDirectory) -> None:
    """Make every derived file of a run folder again from its journal."""
    with reported_errors():
        from sweepdiag.pipeline import diagnose_folder
        from sweepdiag.store import RunFolder

        folder = RunFolder(Path(directory))
        diagnose_folder(folder)
        print_text(f"Rebuilt {folder.path}")


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
        print_text(status_json(found) if as_json else describe_status(found))


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

    Exits with 1 if something that is needed to train here is broken, or a model does not run.
    """
    with reported_errors():
        from sweepdiag.cli.doctor import describe_check, describe_health, describe_training
        from sweepdiag.pipeline import Health, examine_machine

        n_broken = 0
        for check in examine_machine():
            print_text(describe_check(check, terminal_width()))
            sys.stdout.flush()
            n_broken += check.health is Health.BROKEN
        print_text(describe_health(n_broken))
        if what:
            from sweepdiag.execution import resolve_devices
            from sweepdiag.pipeline import examine_workload, resolve_config

            target, overrides = options.split_arguments(what)
            config, workload = resolve_config(**options.asked(target, {}, overrides))
            execution = config.execution
            devices = resolve_devices(execution.wanted_gpus, most=execution.most_gpus)
            device = "cuda:0" if devices.kind == "cuda" else "cpu"
            examinations = examine_workload(config, workload, device=device)
            print_text(f"\n{devices.line}")
            print_text(describe_training(workload.name, examinations, terminal_width()))
            n_broken += sum(not examination.tier for examination in examinations)
        exit_with(ExitCode.FINDINGS if n_broken else ExitCode.OK)


@app.command()
def explain(
    code: Annotated[str, typer.Argument(help="Code of a finding, such as SD101.")],
) -> None:
    """Explain a finding: what it checks, why it matters, what to do."""
    with reported_errors():
        from sweepdiag.rules.findings.explain import explain_finding

        print_text(explain_finding(code))

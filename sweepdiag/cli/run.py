"""``sweepdiag run``, ``resume`` and ``merge``: what trains a sweep, or puts it together."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweepdiag.cli import options
from sweepdiag.cli.exits import ExitCode, Stopped, exit_with, reported_errors, stop_signals_raise
from sweepdiag.cli.gate import Gate
from sweepdiag.cli.terminal import print_text, terminal_width
from sweepdiag.cli.watch import make_watch
from sweepdiag.errors import FailedTrialsError, WorkersLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweepdiag.cli.watch import Watch
    from sweepdiag.pipeline import ShardResult, SweepResult

__all__ = ["merge", "resume", "run"]

_AXES = "Axes (low:high:n on a log scale, lin:low:high:n, or values)"
_HOW = "How to train"


def run(
    what: options.What = None,
    lr: Annotated[
        str | None,
        typer.Option(
            "--lr",
            "--learning-rate",
            help="Learning rates, such as 1e-4:10:8.",
            rich_help_panel=_AXES,
        ),
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
    max_failed_fraction: options.MaxFailedFraction = None,
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

            print_text(json.dumps(json_schema(), indent=2))
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
                max_failed_fraction=max_failed_fraction,
                shard=shard,
            ),
        }
        target, overrides = options.split_arguments(what or [])
        asked = options.asked(target, settings, overrides)
        if print_config:
            from sweepdiag.pipeline import resolve_config

            config, _ = resolve_config(**asked)
            print_text(config.to_yaml().rstrip())
            return
        gate = Gate(fail_on=options.split_commas(fail_on), junit=junit)
        _run(
            asked,
            overwrite=overwrite,
            accept_changed_code=accept_changed_code,
            quiet=quiet,
            gate=gate,
        )


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
    max_failed_fraction: options.MaxFailedFraction = None,
    quiet: options.Quiet = False,
) -> None:
    """Continue an interrupted sweep: its plan minus what is done."""
    with reported_errors():
        from sweepdiag.pipeline import resume_sweep

        execution = options.execution_options(
            gpus=gpus,
            workers=workers,
            executor=executor,
            pack_size=pack_size,
            address=address,
            max_failed_fraction=max_failed_fraction,
        )
        states = _states(options.split_commas(retry))
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
        SystemExit: If the sweep was stopped before its end.
    """
    watch = make_watch(quiet=quiet)
    try:
        with stop_signals_raise(), watch.shown():
            result = train(watch)
    except KeyboardInterrupt:
        _print_stopped(watch)
        raise SystemExit(ExitCode.INTERRUPTED) from None
    except Stopped:
        _print_stopped(watch)
        raise SystemExit(ExitCode.STOPPED) from None
    except FailedTrialsError as error:
        _print_stopped(watch, str(error), is_retried=True)
        raise SystemExit(ExitCode.FAILED_TRIALS) from error
    except WorkersLostError as error:
        _print_stopped(watch, str(error))
        raise SystemExit(ExitCode.STOPPED) from error
    if not quiet:
        _print_result(result)
    from sweepdiag.pipeline import SweepResult

    is_failing = (
        gate is not None and isinstance(result, SweepResult) and gate.judge(result.diagnosis.data)
    )
    exit_with(ExitCode.FAILED_TRIALS if result.n_failed else ExitCode.OK)
    exit_with(ExitCode.FINDINGS if is_failing else ExitCode.OK)


def _print_result(result: SweepResult | ShardResult) -> None:
    from sweepdiag.pipeline import ShardResult
    from sweepdiag.report import render_text

    if isinstance(result, ShardResult):
        print_text(str(result))
        return
    print_text(render_text(result.diagnosis.data, width=terminal_width()))
    print_text(f"Report: {result.report}")


def _print_merged(result: SweepResult, output: str) -> None:
    """Print what a merge gave, and exit as its trials went."""
    _print_result(result)
    if result.n_missing:
        sys.stderr.write(
            f"sweepdiag: {result.n_missing} of {len(result.trials)} trials are missing: merge "
            f"again when they are done, or train them with: sweepdiag resume {output}\n"
        )
        exit_with(ExitCode.STOPPED)
    exit_with(ExitCode.FAILED_TRIALS if result.n_failed else ExitCode.OK)


def _print_stopped(watch: Watch, why: str = "", *, is_retried: bool = False) -> None:
    """Print why a sweep was stopped, by default because of a signal, and how to go on."""
    if watch.path is None or watch.last is None:
        sys.stderr.write(f"sweepdiag: {why or 'interrupted before anything was trained'}\n")
        return
    headline = f"sweepdiag: {why}\nStopped" if why else "\nInterrupted"
    resume = f"sweepdiag resume {watch.path}"
    ways = [("Go on:", resume)]
    if is_retried:
        # What has failed fails again until the code is another one.
        ways = [
            ("If mended:", f"{resume} --retry failed --accept-changed-code"),
            ("Try again:", f"{resume} --retry failed"),
            ("Go on:", resume),
        ]
    ways.append(("Look at it:", f"sweepdiag report {watch.path}"))
    sys.stderr.write(
        f"{headline}: {watch.last.n_done} of {watch.last.n_trials} trials are done and kept; "
        "those under way begin again.\n" + "".join(f"  {what:<12}{how}\n" for what, how in ways)
    )


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
            message = unknown_name("state for --retry", name, sorted(s.value for s in DONE_STATES))
            raise ConfigError(message)
    return [State(name) for name in names]

"""``sweepdiag submit``: a sweep as a Slurm job."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweepdiag.cli import options
from sweepdiag.cli.exits import ExitCode, reported_errors

if TYPE_CHECKING:
    from sweepdiag.config import SweepConfig
    from sweepdiag.execution.slurm_job import SlurmJob

__all__ = ["submit"]

_SLURM = "What to ask Slurm for"


def submit(
    what: options.What = None,
    output: Annotated[
        str | None, typer.Option(help="Folder of the run; continued if it holds this sweep.")
    ] = None,
    nodes: Annotated[
        int, typer.Option(min=1, help="Nodes, joined by Ray.", rich_help_panel=_SLURM)
    ] = 1,
    gpus_per_node: Annotated[
        int, typer.Option(min=0, help="GPUs per node; 0 for the CPU.", rich_help_panel=_SLURM)
    ] = 0,
    cpus_per_node: Annotated[
        int | None,
        typer.Option(min=1, help="Cores per node. Default: one per GPU.", rich_help_panel=_SLURM),
    ] = None,
    mem_gb: Annotated[
        int | None, typer.Option(min=1, help="Memory per node.", rich_help_panel=_SLURM)
    ] = None,
    timeout_min: Annotated[
        int,
        typer.Option(
            min=1,
            help="Time limit of a job. What is not done by then goes on in a further one.",
            rich_help_panel=_SLURM,
        ),
    ] = 60,
    partition: Annotated[
        str | None, typer.Option(help="One, or several with commas.", rich_help_panel=_SLURM)
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Account to charge.", rich_help_panel=_SLURM)
    ] = None,
    qos: Annotated[
        str | None, typer.Option(help="Quality of service.", rich_help_panel=_SLURM)
    ] = None,
    constraint: Annotated[
        str | None, typer.Option(help="Features of nodes, as of sbatch.", rich_help_panel=_SLURM)
    ] = None,
    sbatch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Further options of sbatch, such as gres=gpu:a100:4.",
            rich_help_panel=_SLURM,
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Further variables that the job gets. It has no others but PATH, HOME and the "
            "like.",
            rich_help_panel=_SLURM,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the job.", rich_help_panel=_SLURM)
    ] = None,
    array: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Train in K jobs without Ray between them, and merge what they leave.",
        ),
    ] = None,
    requeue_limit: Annotated[
        int, typer.Option(min=0, help="How often a job that was stopped requeues itself.")
    ] = 20,
    check: Annotated[
        bool,
        typer.Option(
            "--check/--no-check",
            help="Load the workload and check all settings before submitting.",
        ),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print scripts and commands, and submit nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the job, and exit with its exit code.")
    ] = False,
) -> None:
    """Run a sweep as a Slurm job that resumes by itself; see docs/cluster.md."""
    with reported_errors():
        from sweepdiag.execution.slurm_job import SlurmJob, render_scripts

        target, overrides = options.split_arguments(what or [])
        folder = output or _default_output(target or "sweep")
        job = SlurmJob(
            arguments=(*([target] if target else []), *overrides),
            output=folder.rstrip("/") or folder,
            python=sys.executable,
            name=name or _job_name(folder),
            nodes=nodes,
            gpus_per_node=gpus_per_node,
            cpus_per_node=cpus_per_node or max(gpus_per_node, 1),
            mem_gb=mem_gb,
            timeout_min=timeout_min,
            requeue_limit=requeue_limit,
            partition=partition,
            account=account,
            qos=qos,
            constraint=constraint,
            n_shards=array,
            exported=tuple(export or ()),
            sbatch=tuple(_pair(text) for text in sbatch or ()),
        )
        if check:
            workload = _checked(job, target, overrides)
            if output is None:
                folder = _default_output(workload)
                job = replace(job, output=folder, name=name or _job_name(folder))
        scripts = render_scripts(job, frozenset(os.environ))
        if dry_run:
            _show(job, scripts)
            return
        _submit(job, scripts, wait=wait)


def _checked(job: SlurmJob, target: str | None, overrides: list[str]) -> str:
    """Return the workload's name after everything has been checked that would end the job at once.

    The settings are checked with the options that the job's scripts add to them.

    Raises:
        ConfigError: If something is wrong.
    """
    from sweepdiag.errors import ConfigError
    from sweepdiag.pipeline import resolve_config

    config: SweepConfig
    config, workload = resolve_config(**options.asked(target, job.added_settings, overrides))
    if job.n_shards is not None and job.n_shards > config.n_trials:
        message = (
            f"--array must be at most the number of trials ({config.n_trials}), got {job.n_shards}"
        )
        raise ConfigError(message)
    return str(workload.name)


def _show(job: SlurmJob, scripts: dict[str, str]) -> None:
    from sweepdiag.execution.slurm_queue import sbatch_command

    # One script alone can be written into a file as it is printed.
    sys.stdout.write("\n".join(scripts.values()) + "\n")
    after = None
    for name in scripts:
        command = sbatch_command(job.folder / name, after=after)
        sys.stdout.write(f"# would be submitted with: {shlex.join(command)}\n")
        after = "JOBID"


def _submit(job: SlurmJob, scripts: dict[str, str], *, wait: bool) -> None:
    """Submit the scripts one after the other and say where their logs are.

    Raises:
        SystemExit: With the last job's exit code, if it is waited for.
    """
    from sweepdiag.execution.slurm_queue import submit_script, wait_for_job, write_scripts

    paths = write_scripts(job.folder, scripts)
    last = list(paths)[-1]
    after: str | None = None
    for name, path in paths.items():
        after, command = submit_script(path, after=after, wait=wait and name == last)
        log = job.log.replace("%j", after)
        if job.n_shards is not None and name != last:
            log = f"{job.folder}/*.out"
        sys.stdout.write(f"{name.removesuffix('.sbatch')}: job {after}, log {log}\n")
        sys.stdout.flush()
        if name == last and wait:
            try:
                raise SystemExit(wait_for_job(command))
            except KeyboardInterrupt:
                sys.stderr.write(f"\nThe job goes on; `scancel {after}` ends it.\n")
                raise SystemExit(ExitCode.INTERRUPTED) from None
        command.communicate()


def _default_output(workload: str) -> str:
    from sweepdiag.pipeline import default_output

    return str(default_output(re.sub(r"[^A-Za-z0-9._-]+", "-", Path(workload).stem)))


def _job_name(folder: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", Path(folder).name)[:64].lstrip("._-") or "sweepdiag"


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value

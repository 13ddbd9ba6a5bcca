"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "DEFAULT_WORKLOAD",
    "AcceptChangedCode",
    "Address",
    "Executor",
    "Gpus",
    "PackSize",
    "Quiet",
    "Record",
    "RunDirectory",
    "Shard",
    "What",
    "Workers",
    "asked",
    "execution_options",
    "split_arguments",
]

_WHERE = "Where it runs"

DEFAULT_WORKLOAD = "digits"

What = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORKLOAD | SWEEP.yaml] [KEY=VALUE]...",
        help="What to train: digits, fashion_mnist, synthetic, my_workload.py:build or a "
        "file of settings; then further settings, such as optimizer.momentum=0.95. "
        "Default: digits.",
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        min=0,
        help="GPUs to use in all; 0 for the CPU. Default: all there are.",
        rich_help_panel=_WHERE,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Worker processes on the CPU.", rich_help_panel=_WHERE),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        help="serial, ray, or auto: whichever is expected to end sooner.",
        rich_help_panel=_WHERE,
    ),
]
PackSize = Annotated[
    int | None,
    typer.Option(
        "--pack-size", min=1, help="Most trials trained as one program.", rich_help_panel=_WHERE
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster to join.", rich_help_panel=_WHERE),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="i/K",
        help="Train part i of K of the plan only, i from 0; see merge.",
        rich_help_panel=_WHERE,
    ),
]
Record = Annotated[
    list[str] | None,
    typer.Option(
        "--record",
        help="Record more with each curve: gradients (norms, update ratio, dead units).",
        rich_help_panel="How to train",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AcceptChangedCode = Annotated[
    bool,
    typer.Option(
        "--accept-changed-code",
        help="Go on although the workload's source files have changed.",
    ),
]
RunDirectory = Annotated[str, typer.Argument(metavar="DIR", help="Folder of a run.")]


def split_arguments(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the workload or file, if one leads the arguments, and the ``key=value`` pairs."""
    if arguments and "=" not in arguments[0]:
        return arguments[0], arguments[1:]
    return None, arguments


def asked(target: str | None, settings: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return the arguments of ``resolve_config`` for what the command line asked."""
    is_file = target is not None and target.endswith((".yaml", ".yml"))
    return {
        "workload": None if is_file else (target or DEFAULT_WORKLOAD),
        "path": Path(target) if is_file and target is not None else None,
        "options": {name: value for name, value in settings.items() if value is not None},
        "overrides": overrides,
    }


def execution_options(
    *,
    gpus: int | None,
    workers: int | None,
    executor: str | None,
    pack_size: int | None,
    address: str | None,
    shard: str | None = None,
) -> dict[str, object]:
    """Return the options that were given, as settings of ``execution``."""
    given = {
        "gpus": gpus,
        "workers": workers,
        "executor": executor,
        "pack_size": pack_size,
        "address": address,
        "shard": shard,
    }
    return {name: value for name, value in given.items() if value is not None}

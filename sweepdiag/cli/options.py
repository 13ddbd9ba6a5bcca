"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = [
    "AcceptChangedCode",
    "Address",
    "Executor",
    "Gpus",
    "PackSize",
    "Quiet",
    "Record",
    "RunDirectory",
    "Workers",
    "execution_options",
]

_WHERE = "Where it runs"

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


def execution_options(
    *,
    gpus: int | None,
    workers: int | None,
    executor: str | None,
    pack_size: int | None,
    address: str | None,
) -> dict[str, object]:
    """Return the options that were given, as settings of ``execution``."""
    given = {
        "gpus": gpus,
        "workers": workers,
        "executor": executor,
        "pack_size": pack_size,
        "address": address,
    }
    return {name: value for name, value in given.items() if value is not None}

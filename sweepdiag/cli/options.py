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
    "column_roles",
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


def column_roles(given: list[str]) -> dict[str, str]:
    """Return the column of each role from texts such as ``run=job,val_loss=dev``.

    Raises:
        ConfigError: If a part has no equals sign, or a role is given twice.
    """
    from sweepdiag.errors import ConfigError

    roles: dict[str, str] = {}
    for text in given:
        parts: list[str] = []
        for part in text.split(","):
            # A comma inside a column's name: what follows it names no role.
            if "=" not in part and parts:
                parts[-1] += f",{part}"
            else:
                parts.append(part)
        for part in parts:
            role, sign, name = part.partition("=")
            if not sign:
                message = f"--columns must be ROLE=NAME, such as val_loss=dev_nll, got {part!r}"
                raise ConfigError(message)
            if role.strip() in roles:
                message = f"--columns gives {role.strip()} twice"
                raise ConfigError(message)
            roles[role.strip()] = name.strip()
    return roles

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
    "FailOn",
    "Gpus",
    "Ignore",
    "JUnit",
    "MaxFailedFraction",
    "PackSize",
    "Quiet",
    "Record",
    "RunDirectory",
    "Shard",
    "What",
    "Workers",
    "asked",
    "column_roles",
    "execution_options",
    "split_arguments",
    "split_commas",
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
        help="serial, ray, auto (whichever of these is expected to end sooner), or tune (Ray "
        "Tune, for training loops of your own).",
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
MaxFailedFraction = Annotated[
    float | None,
    typer.Option(
        "--max-failed-fraction",
        help="Stop once more than this share of the planned trials failed to execute; 1 for "
        "never. Default: 0.5.",
        rich_help_panel=_WHERE,
    ),
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
_FINDINGS = "Findings"
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        help="Codes of findings to leave out, such as SD301,SD501.",
        rich_help_panel=_FINDINGS,
    ),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on",
        help="Exit with 1 if there is such a finding: warning, error, info (tips too) or codes.",
        rich_help_panel=_FINDINGS,
    ),
]
JUnit = Annotated[
    str | None,
    typer.Option(
        "--junit", metavar="PATH", help="Write the checks as JUnit XML.", rich_help_panel=_FINDINGS
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
    """Return the workload or file and the ``key=value`` pairs; None where a pair names it."""
    if arguments and "=" not in arguments[0]:
        return arguments[0], arguments[1:]
    is_named = any(pair.partition("=")[0].strip() == "workload" for pair in arguments)
    return None if is_named else DEFAULT_WORKLOAD, arguments


def asked(target: str | None, settings: dict[str, Any], overrides: list[str]) -> dict[str, Any]:
    """Return the arguments of ``resolve_config`` for what the command line asked."""
    is_file = target is not None and target.endswith((".yaml", ".yml"))
    return {
        "workload": None if is_file else target,
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
    max_failed_fraction: float | None,
    shard: str | None = None,
) -> dict[str, object]:
    """Return the options that were given, as settings of ``execution``."""
    given = {
        "gpus": gpus,
        "workers": workers,
        "executor": executor,
        "pack_size": pack_size,
        "address": address,
        "max_failed_fraction": max_failed_fraction,
        "shard": shard,
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


def split_commas(values: list[str] | None) -> list[str]:
    """Return the words of a repeated option, each of which may hold several: ``a,b``."""
    words = [word.strip() for value in values or () for word in value.split(",")]
    return [word for word in words if word]

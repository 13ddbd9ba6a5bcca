"""Handing batch scripts to Slurm."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from sweepdiag.errors import LaunchError, StoreError
from sweepdiag.messages import clean_message

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["sbatch_command", "submit_script", "wait_for_job", "write_scripts"]

_JOB_ID = re.compile(r"([0-9]+)(;.*)?")


def write_scripts(folder: Path, scripts: dict[str, str]) -> dict[str, Path]:
    """Write scripts into a folder, which is made if need be.

    Args:
        folder: Where to.
        scripts: Their texts by file name.

    Returns:
        Their paths by file name.

    Raises:
        StoreError: If they cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in scripts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"cannot write {folder}: {error.strerror}"
        raise StoreError(message) from error
    return {name: folder / name for name in scripts}


def sbatch_command(
    script: Path | str, *, after: str | None = None, wait: bool = False
) -> list[str]:
    """Return the command that submits a script.

    Args:
        script: The script.
        after: Job that has to have ended before, however it ended.
        wait: Let the command end with the job, and with its exit code.
    """
    options = ["--parsable", *(["--wait"] if wait else [])]
    if after is not None:
        options.append(f"--dependency=afterany:{after}")
    return ["sbatch", *options, str(script)]


def submit_script(
    script: Path, *, after: str | None = None, wait: bool = False
) -> tuple[str, subprocess.Popen[str]]:
    """Submit a script.

    Args:
        script: The script.
        after: Job that has to have ended before, however it ended.
        wait: Leave the command running until the job has ended; see ``wait_for_job``.

    Returns:
        The job's id, and the command.

    Raises:
        LaunchError: If there is no Slurm here, or it refuses the job.
    """
    if shutil.which("sbatch") is None:
        message = (
            "no sbatch on this machine: submit from a login node of a Slurm cluster, or use "
            "--dry-run to see the script"
        )
        raise LaunchError(message)
    command = subprocess.Popen(
        sbatch_command(script, after=after, wait=wait),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    # With --wait the id comes long before the end.
    answer = next(iter(command.stdout or ()), "").strip()
    match = _JOB_ID.fullmatch(answer)
    if match is None:
        rest, errors = command.communicate()
        told = clean_message(errors.strip() or f"{answer}\n{rest}", max_bytes=500)
        message = f"sbatch refused {script}: {told}"
        raise LaunchError(message)
    return match[1], command


def wait_for_job(command: subprocess.Popen[str]) -> int:
    """Return the exit code of a job that was submitted to be waited for."""
    command.communicate()
    return command.returncode


def _environment() -> dict[str, str]:
    """Return the environment for sbatch.

    ``SBATCH_…`` would override what the script says, its list of exported variables among it, and
    the ``SLURM_…`` of a job that submits another one would reach that one.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SBATCH_", "SLURM_"))
    }

"""Handing scripts to an sbatch that only answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweepdiag.errors import LaunchError
from sweepdiag.execution.slurm_queue import (
    sbatch_command,
    submit_script,
    wait_for_job,
    write_scripts,
)


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that tells how it was called, and then does what a test writes below."""
    program = tmp_path / "bin" / "sbatch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/called\nenv >{tmp_path}/environment\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def answers(program: Path, text: str) -> None:
    program.write_text(program.read_text() + text)


@pytest.mark.parametrize("answer", ["4711", "4711;cluster-b"])
def test_the_id_is_read_with_and_without_a_cluster(
    sbatch: Path, tmp_path: Path, answer: str
) -> None:
    answers(sbatch, f"echo '{answer}'\n")
    job, command = submit_script(Path("job.sbatch"), after="12")
    assert (job, wait_for_job(command)) == ("4711", 0)
    called = (tmp_path / "called").read_text()
    assert called == "--parsable --dependency=afterany:12 job.sbatch\n"


def test_waiting_ends_with_the_jobs_exit_code(sbatch: Path) -> None:
    answers(sbatch, "echo 5\nsleep 0.5\nexit 75\n")
    job, command = submit_script(Path("job.sbatch"), wait=True)
    assert command.poll() is None
    assert (job, wait_for_job(command)) == ("5", 75)


@pytest.mark.parametrize(
    "answer", ["echo 'sbatch: error: invalid partition' >&2; exit 1", "echo '12 34'", "true"]
)
def test_any_other_answer_is_told(sbatch: Path, answer: str) -> None:
    answers(sbatch, answer + "\n")
    with pytest.raises(LaunchError, match=r"^sbatch refused job.sbatch: "):
        submit_script(Path("job.sbatch"))


def test_nothing_overrides_the_script_or_leaks_from_another_job(
    sbatch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_EXPORT", "ALL")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "19")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    answers(sbatch, "echo 1\n")
    submit_script(Path("job.sbatch"))[1].communicate()
    environment = (tmp_path / "environment").read_text()
    assert "SBATCH_EXPORT" not in environment
    assert "SLURM_RESTART_COUNT" not in environment
    assert "SLURM_CONF=/etc/slurm/slurm.conf" in environment


def test_a_machine_without_slurm_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LaunchError, match="no sbatch on this machine"):
        submit_script(Path("job.sbatch"))


def test_scripts_are_written_where_they_are_submitted_from(tmp_path: Path) -> None:
    paths = write_scripts(tmp_path / "a" / "b.slurm", {"node.sbatch": "#!/bin/bash\n"})
    assert paths["node.sbatch"].read_text() == "#!/bin/bash\n"
    assert sbatch_command(paths["node.sbatch"], wait=True)[:3] == [
        "sbatch",
        "--parsable",
        "--wait",
    ]

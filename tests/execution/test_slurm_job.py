"""Batch scripts, without Slurm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sweepdiag.errors import ConfigError
from sweepdiag.execution.slurm_job import SlurmJob, render_script, render_scripts

TEMPLATES = Path(__file__).parents[2] / "slurm"
NAMES = ("merge.sbatch", "node.sbatch", "nodes.sbatch", "shard.sbatch")

# What people and machines have called things.
HOSTILE = [
    "x\n#SBATCH --wrap=touch",
    "$(touch x)",
    "'\";",
    "%x",
    "a b",
    "<script>",
    "=cmd|' /C calc'!A0",
    "x" * 2000,
    "\u202egnp.exe",
    "-x",
    "",
]


def job(**changes: Any) -> SlurmJob:
    given = {"arguments": ("digits",), "output": "results/x", "python": "python3", "name": "x"}
    return SlurmJob(**{**given, **changes})


def directives(script: str) -> dict[str, str]:
    return dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script, re.MULTILINE))


def one_script(asked: SlurmJob, *variables: str) -> str:
    (script,) = render_scripts(asked, frozenset(variables)).values()
    return script


def test_templates_are_scripts_and_are_all_there() -> None:
    assert sorted(path.name for path in TEMPLATES.iterdir()) == list(NAMES)
    for name in NAMES:
        subprocess.run(["bash", "-n", str(TEMPLATES / name)], check=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_template_in_which_nothing_is_changed_stays_as_it_is(name: str) -> None:
    assert render_script(name, {}, {}) == (TEMPLATES / name).read_text()


def test_stopping_and_requeueing_is_the_same_in_all_scripts() -> None:
    ends = {
        (TEMPLATES / name).read_text().partition("# Above 128:")[2]
        for name in NAMES
        if name != "merge.sbatch"
    }
    assert len(ends) == 1
    assert "scontrol requeue" in ends.pop()


def test_a_job_asks_for_what_it_was_told_to_ask_for() -> None:
    asked = job(
        gpus_per_node=4,
        cpus_per_node=16,
        mem_gb=64,
        timeout_min=90,
        partition="a100,h100",
        account="lab-7",
        qos="high",
        constraint="a100|h100&[nvlink*2]",
        requeue_limit=3,
        exported=("WANDB_MODE",),
        sbatch=(("reservation", "course"), ("gres", "tmpdisk:10")),
    )
    script = one_script(asked, "PATH", "HOME", "WANDB_MODE", "SECRET")
    assert directives(script) == {
        "job-name": "x",
        "nodes": "1",
        "ntasks-per-node": "1",
        "cpus-per-task": "16",
        "gpus-per-node": "4",
        "time": "90",
        "output": "results/x.slurm/%j.out",
        "export": "PATH,HOME,WANDB_MODE",
        "requeue": "",
        "open-mode": "append",
        "signal": "B:USR2@120",
        "mem": "64G",
        "partition": "a100,h100",
        "account": "lab-7",
        "qos": "high",
        "constraint": "a100|h100&[nvlink*2]",
        "reservation": "course",
        "gres": "tmpdisk:10",
    }
    assert "max_requeues=3 " in script
    assert "gpus-per-node" not in one_script(job())
    assert directives(one_script(job()))["export"] == "NIL"


def test_the_warning_leaves_a_short_job_time_to_train() -> None:
    assert directives(one_script(job(timeout_min=1)))["signal"] == "B:USR2@5"
    assert directives(one_script(job(timeout_min=5)))["signal"] == "B:USR2@60"
    assert directives(one_script(job(timeout_min=9)))["signal"] == "B:USR2@120"


def test_several_nodes_and_arrays_have_scripts_of_their_own() -> None:
    (nodes,) = render_scripts(job(nodes=4, gpus_per_node=8), frozenset())
    assert nodes == "nodes.sbatch"
    further = {"gres": "gpu:1", "gpus": "2", "time-min": "100", "mail-user": "me@lab.org"}
    asked = job(n_shards=5, partition="a100", sbatch=tuple(further.items()))
    scripts = render_scripts(asked, frozenset())
    assert list(scripts) == ["shard.sbatch", "merge.sbatch"]
    assert directives(scripts["shard.sbatch"])["array"] == "0-4"
    assert "n_shards=5 " in scripts["shard.sbatch"]
    assert further.items() <= directives(scripts["shard.sbatch"]).items()
    assert directives(scripts["merge.sbatch"]) == {
        "job-name": "x-merge",
        "nodes": "1",
        "ntasks-per-node": "1",
        "cpus-per-task": "1",
        "time": "30",
        "output": "results/x.slurm/%j.out",
        "export": "NIL",
        "requeue": "",
        "open-mode": "append",
        "partition": "a100",
        "mail-user": "me@lab.org",
    }


@pytest.mark.parametrize("word", [text for text in HOSTILE if text.isprintable() and text])
def test_what_only_the_shell_reads_reaches_the_sweep_as_it_was(word: str) -> None:
    script = one_script(job(arguments=("digits", f"name={word}")))
    block = script.partition("\n\n")[2].partition("\n\n")[0]
    shown = subprocess.run(
        ["bash", "-c", f"{block}\nprintf '%s\\n' \"${{sweep[@]}}\""],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == ["digits", f"name={word}", "--output", "results/x"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    ("option", "setting"),
    [
        ("--name", "name"),
        ("--output", "output"),
        ("--partition", "partition"),
        ("--account", "account"),
        ("--qos", "qos"),
        ("--constraint", "constraint"),
        ("--export", "exported"),
        ("--sbatch", "sbatch"),
    ],
)
def test_what_slurm_reads_is_refused_unless_it_is_plain(
    option: str, setting: str, value: str
) -> None:
    given: Any = value
    if setting == "exported":
        given = (value,)
    elif setting == "sbatch":
        given = (("comment", value),)
    with pytest.raises(ConfigError, match=rf"^{option}( comment)? must match .*, got "):
        job(**{setting: given})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": ("digits", "x=\n#SBATCH -p y")}, "must be printable"),
        ({"arguments": ("--print-config",)}, "not begin with a dash"),
        ({"timeout_min": 0}, r"--timeout-min must be in \[1, 525600\], got 0"),
        ({"n_shards": 2, "nodes": 2}, "--array gives each shard a node of its own"),
        ({"n_shards": 4096}, r"--array must be in \[1, 1000\], got 4096"),
        ({"sbatch": (("wrap", "rm"),)}, "--sbatch wrap is set by sweepdiag itself"),
        ({"sbatch": (("time", "7"),)}, "use --timeout-min"),
        ({"sbatch": (("hold", ""),)}, "--sbatch hold must match"),
        ({"sbatch": (("Hold", "x"),)}, "--sbatch must be KEY=VALUE"),
        ({"exported": ("TOKEN=hunter2",)}, "--export must match"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job(**changes)


RAY_IN_ITS_PLACE = """#!/bin/bash
mkdir -p "$scratch/session"
[ "$ENDS" ] && exit 3
touch "$shared/runs"
while :; do sleep 0.1; done
"""


@pytest.mark.parametrize("ends", ["by itself", ""])
def test_ray_leaves_nothing_on_any_node_however_its_step_ends(ends: str, tmp_path: Path) -> None:
    found = re.search(
        r"bash -c '\n(.*?)\n' 2>", (TEMPLATES / "nodes.sbatch").read_text(), re.DOTALL
    )
    assert found is not None
    ray = tmp_path / "python"
    ray.write_text(RAY_IN_ITS_PLACE)
    ray.chmod(0o755)
    variables = {"python": str(ray), "shared": str(tmp_path), "scratch": str(tmp_path / "scratch")}
    variables |= {"failed": str(tmp_path / "failed"), "head": "127.0.0.1", "port": "1"}
    variables |= {"SLURM_PROCID": "0", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1"}
    with subprocess.Popen(
        ["bash", "-c", found[1]],
        env={"PATH": os.environ["PATH"], "ENDS": ends, **variables},
        start_new_session=True,
    ) as step:
        deadline = time.monotonic() + 30
        while not ends and not (tmp_path / "runs").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        if not ends:
            os.killpg(step.pid, signal.SIGTERM)
        code = step.wait(timeout=30)
    assert not (tmp_path / "scratch").exists()
    assert code == (1 if ends else -signal.SIGTERM)
    assert (tmp_path / "failed").exists() == bool(ends)


def test_a_variable_for_the_job_has_to_be_set() -> None:
    asked = job(exported=("WANDB_MODE", "NOWHERE"))
    with pytest.raises(ConfigError, match=r"^--export NOWHERE: there is no such variable here"):
        render_scripts(asked, frozenset({"WANDB_MODE", "PATH"}))


def test_scripts_come_with_an_installed_package(tmp_path: Path) -> None:
    installed = tmp_path / "sweepdiag"
    (installed / "slurm").mkdir(parents=True)
    for name in NAMES:
        (installed / "slurm" / name).write_text((TEMPLATES / name).read_text() + "# installed\n")
    for part in (TEMPLATES.parent / "sweepdiag").iterdir():
        (installed / part.name).symlink_to(part)
    code = (
        "from sweepdiag.execution.slurm_job import _read_template\n"
        "print(_read_template('node.sbatch'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.rstrip().endswith("# installed"), done.stderr

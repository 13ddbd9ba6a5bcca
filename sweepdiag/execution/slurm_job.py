"""What a Slurm job asks for, and the batch scripts that ask for it.

The scripts come from the templates in the folder ``slurm/``, which are scripts that people edit
and copy. Rendering edits the lines that a person would edit: the ``#SBATCH`` lines at the top, and
the assignments in the block below them. Everything that Slurm itself reads is checked first; what
only the shell reads is quoted.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sweepdiag.errors import ConfigError, LaunchError

__all__ = ["EXPORTED_VARIABLES", "SlurmJob", "render_script", "render_scripts"]

EXPORTED_VARIABLES = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "OMP_NUM_THREADS",
    "SWEEPDIAG_FAKE_GPUS",
)
"""Variables that reach a job where they are set; others, such as tokens, only by their names."""

MAX_SHARDS = 1000

_WARNING_S = 120
_SHORTEST_WARNING_S = 5
_DIRECTIVE = re.compile(r"#SBATCH --([a-z-]+)(?:=.*)?")
_ASSIGNMENT = re.compile(r"([a-z_]+)=(?:\([^)]*\)|\$\(\(.*?\)\)|\S*)( +#.*)?")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAMES = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(,[A-Za-z0-9][A-Za-z0-9._-]{0,63})*")
_FEATURES = re.compile(r"[A-Za-z0-9\[(][A-Za-z0-9._*&|,\[\]()-]{0,254}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_PATH = re.compile(r"[A-Za-z0-9._/+=@:~][A-Za-z0-9._/+=@:~-]{0,1023}")
_KEY = re.compile(r"[a-z][a-z-]{1,40}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:,/@+=*-]{0,254}")

_OWN_KEYS = {
    "account": "--account",
    "array": "--array",
    "chdir": None,
    "constraint": "--constraint",
    "cpus-per-task": "--cpus-per-node",
    "dependency": None,
    "error": None,
    "exclusive": None,
    "export": "--export",
    "export-file": None,
    "get-user-env": None,
    "gpus-per-node": "--gpus-per-node",
    "input": None,
    "job-name": "--name",
    "mem": "--mem-gb",
    "nodes": "--nodes",
    "ntasks": None,
    "ntasks-per-node": None,
    "open-mode": None,
    "output": "--output",
    "parsable": None,
    "partition": "--partition",
    "qos": "--qos",
    "requeue": None,
    "no-requeue": None,
    "signal": None,
    "time": "--timeout-min",
    "wait": "--wait",
    "wrap": None,
}
"""Options of sbatch that are set here, with the option of ours that sets them."""

_KEYS_OF_MERGE = frozenset(
    {
        *("account", "clusters", "comment", "export", "mail-type", "mail-user", "mem", "nice"),
        *("output", "partition", "qos", "reservation", "wckey"),
    }
)
"""Options of the shards that their collector has as well: who pays, where it runs, whom it tells.

Its time, its one core and its node are its own, and it needs no GPU, features or licences.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class SlurmJob:
    """What to run and what to ask Slurm for; every value is checked when it is made.

    Attributes:
        arguments: What follows ``sweepdiag run``: a workload or a file, then ``key=value``.
        output: The run folder. Scripts, logs and shards go into ``<output>.slurm``.
        python: The interpreter that sweepdiag runs in.
        name: Of the job.
        nodes: Nodes; of an array, 1 for each shard.
        gpus_per_node: 0 for the CPU.
        cpus_per_node: Cores.
        mem_gb: Memory per node; ``None`` leaves it to Slurm.
        timeout_min: Time limit. The sweep is told to stop up to two minutes before it.
        requeue_limit: How often a job that was stopped may requeue itself.
        partition: Partitions, separated by commas.
        account: Account to charge.
        qos: Quality of service.
        constraint: Features that nodes must have.
        n_shards: Jobs of the array; ``None`` for one job.
        exported: Names of further variables that reach the job.
        sbatch: Further options of sbatch, as ``(key, value)``.
    """

    arguments: tuple[str, ...]
    output: str
    python: str
    name: str
    nodes: int = 1
    gpus_per_node: int = 0
    cpus_per_node: int = 1
    mem_gb: int | None = None
    timeout_min: int = 60
    requeue_limit: int = 20
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    n_shards: int | None = None
    exported: tuple[str, ...] = ()
    sbatch: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ConfigError: If one breaks its rule.
        """
        _check("--output", self.output, _PATH)
        _check("--name", self.name, _NAME)
        for option, value, pattern in (
            ("--partition", self.partition, _NAMES),
            ("--account", self.account, _NAME),
            ("--qos", self.qos, _NAME),
            ("--constraint", self.constraint, _FEATURES),
        ):
            if value is not None:
                _check(option, value, pattern)
        for name in self.exported:
            _check("--export", name, _VARIABLE)
        for key, value in self.sbatch:
            _check_key(key)
            _check(f"--sbatch {key}", value, _VALUE)
        for word in (*self.arguments, self.python):
            if word.startswith("-") or not word.isprintable():
                message = f"must be printable and not begin with a dash, got {word!r}"
                raise ConfigError(message)
        _check_range("--timeout-min", self.timeout_min, 1, 525_600)
        _check_range("--nodes", self.nodes, 1, 10_000)
        if self.n_shards is not None:
            _check_range("--array", self.n_shards, 1, MAX_SHARDS)
            if self.nodes > 1:
                message = (
                    f"--array gives each shard a node of its own: leave --nodes {self.nodes} away"
                )
                raise ConfigError(message)

    @property
    def folder(self) -> Path:
        """Where scripts, logs and shards go."""
        return Path(f"{self.output}.slurm")

    @property
    def added_settings(self) -> dict[str, Any]:
        """The settings of the options that the scripts add to ``arguments``, as far as known.

        Of an array those of its first shard. How many GPUs a node has is left to Slurm where a
        further option of sbatch may ask for them, and the address of a Ray cluster is known to
        its job alone.
        """
        is_open = any(key.startswith("g") for key, _ in self.sbatch)
        gpus = None if is_open else self.nodes * self.gpus_per_node
        execution: dict[str, Any] = {"gpus": gpus}
        if self.n_shards is not None:
            execution["shard"] = f"0/{self.n_shards}"
            return {"output": f"{self.folder}/shard-0", "execution": execution}
        if self.nodes > 1:
            execution["address"] = "HEAD:PORT"
            execution["workers"] = self.nodes * self.cpus_per_node if gpus == 0 else None
        return {"output": self.output, "execution": execution}

    @property
    def log(self) -> str:
        """Path of the log, with ``%j`` for the job's id."""
        return f"{self.folder}/%j.out"


def render_scripts(job: SlurmJob, variables: frozenset[str]) -> dict[str, str]:
    """Return the scripts of a job by file name, in the order of their submission.

    Args:
        job: What to ask for.
        variables: Names of the variables that are set here.

    Raises:
        ConfigError: If the job is to get a variable that is not set.
    """
    for name in job.exported:
        if name not in variables:
            message = f"--export {name}: there is no such variable here; set it, or leave it away"
            raise ConfigError(message)
    directives = _directives(job, variables)
    settings = {"python": shlex.quote(job.python)}
    limit = {"max_requeues": str(job.requeue_limit)}
    words = " ".join(shlex.quote(word) for word in job.arguments)
    whole = {**settings, **limit, "sweep": f"({words} --output {shlex.quote(job.output)})"}
    shards = {"shards": shlex.quote(str(job.folder))}
    if job.n_shards is not None:
        parts = {**settings, **limit, **shards, "sweep": f"({words})"}
        parts["n_shards"] = str(job.n_shards)
        array = {**directives, "array": f"0-{job.n_shards - 1}"}
        merged = {**settings, **shards, "output": shlex.quote(job.output)}
        return {
            "shard.sbatch": render_script("shard.sbatch", array, parts),
            "merge.sbatch": render_script("merge.sbatch", _of_merge(directives, job), merged),
        }
    if job.nodes == 1:
        return {"node.sbatch": render_script("node.sbatch", directives, whole)}
    shared = {"shared": shlex.quote(str(job.folder))}
    return {"nodes.sbatch": render_script("nodes.sbatch", directives, {**whole, **shared})}


def render_script(
    template: str, directives: dict[str, str | None], settings: dict[str, str]
) -> str:
    """Return a template with other values in its first two blocks.

    Args:
        template: File name in ``slurm/``.
        directives: Options of sbatch and their values; ``None`` leaves one out. Those that the
            template lacks are added.
        settings: Values of the assignments, quoted for the shell. Those that are not given stay.

    Raises:
        LaunchError: If the template has no such assignment.
    """
    header, _, rest = _read_template(template).partition("\n\n")
    block, _, program = rest.partition("\n\n")
    lines, left = [], dict(directives)
    for line in header.splitlines():
        match = _DIRECTIVE.fullmatch(line)
        if match is None or match[1] not in left:
            lines.append(line)
        elif (value := left.pop(match[1])) is not None:
            lines.append(f"#SBATCH --{match[1]}={value}")
    lines += [f"#SBATCH --{key}={value}" for key, value in left.items() if value is not None]
    assignments, unset = [], dict(settings)
    for line in block.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        is_set = match is not None and match[1] in unset
        assignments.append(
            f"{match[1]}={unset.pop(match[1])}{match[2] or ''}" if match and is_set else line
        )
    if unset:
        message = f"slurm/{template} has no line {next(iter(unset))}=…"
        raise LaunchError(message)
    return "\n\n".join(["\n".join(lines), "\n".join(assignments), program])


def _directives(job: SlurmJob, variables: frozenset[str]) -> dict[str, str | None]:
    exported = [
        name for name in dict.fromkeys((*EXPORTED_VARIABLES, *job.exported)) if name in variables
    ]
    # Slurm warns half a minute to a minute early, which is nearly all that a short job has.
    warning_s = min(_WARNING_S, max(_SHORTEST_WARNING_S, 15 * (job.timeout_min - 1)))
    return {
        "job-name": job.name,
        "nodes": str(job.nodes),
        "cpus-per-task": str(job.cpus_per_node),
        "gpus-per-node": str(job.gpus_per_node) if job.gpus_per_node else None,
        "mem": None if job.mem_gb is None else f"{job.mem_gb}G",
        "time": str(job.timeout_min),
        "output": job.log,
        "export": ",".join(exported) or "NIL",
        "signal": f"B:USR2@{warning_s}",
        "partition": job.partition,
        "account": job.account,
        "qos": job.qos,
        "constraint": job.constraint,
        **dict(job.sbatch),
    }


def _of_merge(directives: dict[str, str | None], job: SlurmJob) -> dict[str, str | None]:
    """Return what the collector asks for: of what the shards ask for only what fits any job."""
    kept = {key: value for key, value in directives.items() if key in _KEYS_OF_MERGE}
    return {**kept, "job-name": f"{job.name[:58]}-merge"}


def _read_template(name: str) -> str:
    """Return a file of ``slurm/``: part of an installed package, beside it in a checkout.

    Raises:
        LaunchError: If it is in neither place.
    """
    package = resources.files("sweepdiag")
    for place in (package / "slurm" / name, Path(str(package)).parent / "slurm" / name):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    message = f"this installation lacks slurm/{name}"
    raise LaunchError(message)


def _check(option: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        shown = value if len(value) <= 80 else value[:80] + "…"
        message = f"{option} must match {pattern.pattern}, got {shown!r}"
        raise ConfigError(message)


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        message = f"--sbatch must be KEY=VALUE with the name of an option of sbatch, got {key!r}"
        raise ConfigError(message)
    if key in _OWN_KEYS:
        own = _OWN_KEYS[key]
        fix = f"use {own}" if own else "edit the script of --dry-run to change it"
        message = f"--sbatch {key} is set by sweepdiag itself: {fix}"
        raise ConfigError(message)


def _check_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        message = f"{option} must be in [{low}, {high}], got {value}"
        raise ConfigError(message)

"""A real Slurm on one machine: munge, a controller and two nodes with eight fake GPUs each.

Everything listens on loopback and lives below one short folder; nothing of it outlives ``stop``.
It needs root, since jobs are started under their users, and Debian's packages ``slurm-wlm``,
``munge`` and ``slurm-wlm-basic-plugins``. Neither systemd, cgroups nor accounting are used, so
that it also runs in a container.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = ("sbatch", "scontrol", "slurmctld", "slurmd", "munged")

N_NODES = 2
GPUS_PER_NODE = 8

_CONFIGURATION = """
ClusterName=sweepdiag
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
# Requeued jobs wait as long as credentials live.
AuthInfo=socket={root}/run/munge.sock,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/run/slurmd-%n.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={root}/log/jobcomp.log
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
KillWait=5
MinJobAge=600
SlurmctldTimeout=10
SlurmdTimeout=30
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
PartitionName=batch Nodes=n[1-2] Default=YES MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=grace Nodes=n[1-2] MaxTime=60 PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes=n[1-2] MaxTime=60 PriorityTier=10 PreemptMode=OFF
"""
_NODE = (
    "NodeName=n{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=8000 "
    "Gres=gpu:fake:8 State=UNKNOWN\n"
)
_NULL_DEVICE = os.makedev(1, 3)


def missing_programs() -> list[str]:
    """Return what this machine lacks."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    return missing if os.getuid() == 0 else [*missing, "root"]


@dataclass(slots=True)
class Bed:
    """A running Slurm.

    Attributes:
        root: Its folder.
    """

    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp")))

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which commands reach this Slurm."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        path = f"{kept.get('PATH', '')}:/usr/sbin"
        return {**kept, "SLURM_CONF": str(self.root / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        self.root.chmod(0o755)  # munge insists
        for name in ("state", "log", "spool", "run", "munge", "dev"):
            (self.root / name).mkdir(mode=0o755)
        self._configure()
        key = self.root / "munge" / "key"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(1024))
        run, log = self.root / "run", self.root / "log"
        self.call(
            "munged",
            "--force",
            f"--key-file={key}",
            f"--socket={run}/munge.sock",
            f"--pid-file={run}/munged.pid",
            f"--log-file={log}/munged.log",
            f"--seed-file={self.root}/munge/seed",
        )
        self.start_controller()
        for n in range(1, N_NODES + 1):
            self.call("slurmd", "-N", f"n{n}")
        self.wait_for_idle_nodes()

    def stop(self) -> None:
        """End all jobs, then all daemons, by the ids that they have left."""
        with contextlib.suppress(subprocess.SubprocessError, AssertionError):
            self.cancel_jobs()
        run = self.root / "run"
        for path in (*run.glob("slurmd-*.pid"), run / "slurmctld.pid", run / "munged.pid"):
            end_process(path)
        shutil.rmtree(self.root, ignore_errors=True)

    def start_controller(self) -> None:
        """Start the controller, also again."""
        self.call("slurmctld")

    def kill_controller(self) -> None:
        """Kill the controller as a failing machine would."""
        pid = int((self.root / "run" / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{pid}").exists(), 10)

    def call(self, *command: str, timeout: float = 60) -> str:
        """Return what a command prints."""
        return self.call_in(self.root, self.environment, *command, timeout=timeout)

    def call_in(
        self, folder: Path, environment: dict[str, str], *command: str, timeout: float = 60
    ) -> str:
        """Return what a command prints that is run in a folder, with an environment."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def configured(self, *lines: str) -> Iterator[None]:
        """Let the controller follow further lines of its configuration while the block runs."""
        path = self.root / "slurm.conf"
        before = path.read_text()
        path.write_text(before + "".join(f"{line}\n" for line in lines))
        self.call("scontrol", "reconfigure")
        try:
            yield
        finally:
            path.write_text(before)
            self.call("scontrol", "reconfigure")

    def jobs(self) -> list[str]:
        """Return the ids of the jobs that have not ended."""
        return self.call("squeue", "--noheader", "--format=%A").split()

    def cancel_jobs(self) -> None:
        """End all jobs."""
        if jobs := self.jobs():
            self.call("scancel", "--full", *jobs)
        until(lambda: not self.jobs(), 60)

    def wait_for_idle_nodes(self, timeout_s: float = 60) -> None:
        """Wait until nothing runs on any node."""
        until(
            lambda: self.call("sinfo", "-h", "-p", "batch", "-o", "%T %D") == "idle 2\n", timeout_s
        )

    def show(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job: ``JobState``, ``Restarts``, ``ExitCode``, …."""
        return dict(re.findall(r"(\w+)=(\S+)", self.call("scontrol", "show", "job", job)))

    def wait_for_state(self, job: str, *states: str, timeout_s: float = 300) -> dict[str, str]:
        """Return what is known of a job as soon as it is in one of the states."""
        until(lambda: self.show(job)["JobState"] in states, timeout_s)
        return self.show(job)

    def _configure(self) -> None:
        host, port = socket.gethostname().partition(".")[0], free_ports(N_NODES + 1)
        text = _CONFIGURATION.format(host=host, port=port, root=self.root)
        devices = ""
        for n in range(1, N_NODES + 1):
            text += _NODE.format(n=n, host=host, port=port + n)
            devices += f"NodeName=n{n} Name=gpu Type=fake File={self.root}/dev/n{n}-gpu[0-7]\n"
            for gpu in range(GPUS_PER_NODE):
                path = self.root / "dev" / f"n{n}-gpu{gpu}"
                os.mknod(path, 0o666 | stat.S_IFCHR, _NULL_DEVICE)
        # Nodes have to be known before their partitions.
        nodes, partitions = text.partition("PartitionName")[0], re.findall("Partition.*", text)
        nodes += "".join(re.findall("NodeName.*\n", text.partition("PartitionName")[2]))
        (self.root / "slurm.conf").write_text(nodes + "\n".join(partitions) + "\n")
        (self.root / "gres.conf").write_text(devices)


def until(is_true: Callable[[], object], timeout_s: float, *, every_s: float = 0.2) -> None:
    """Wait until something is true, or fail."""
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(every_s)


def end_process(pid_file: Path) -> None:
    """End the process of a file, and kill it if it does not."""
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, AssertionError):
            os.kill(pid, number)
            until(lambda: not Path(f"/proc/{pid}").exists(), 10)
            return


def free_ports(count: int) -> int:
    """Return the first of so many neighbouring free ports, below those given out by the system."""
    for first in range(21_000 + os.getpid() % 1000 * 8, 32_000, 8):
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    listener = held.enter_context(socket.socket())
                    listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    pytest.fail("no free ports")

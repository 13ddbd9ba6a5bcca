"""Programs that bring up a Ray cluster of several nodes, use it, and take nodes away.

Run as processes by ``test_ray_cluster.py`` and ``tests/faults/test_cluster.py``: Ray keeps tokens
and addresses per process. Nodes have fake GPUs, listen on loopback and ask for a token. Each
program writes what it finds as JSON into the file ``found`` of the folder that is its second
argument.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweepdiag import run_sweep
from sweepdiag.execution import _ray_state
from sweepdiag.execution._ray import RayExecutor
from sweepdiag.records import Event, Pack, TrialEnded
from sweepdiag.testing.executors import ScriptedWorker, scripted_packs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sweepdiag.pipeline import Progress

N_GPUS = 2
"""Of each node but the first, which has none."""

SWEEP: dict[str, Any] = {
    "workload": "synthetic",
    "workload_parameters": {"n_train": 64, "n_validation": 32},
    "parameters": {"lr": [0.01, 0.1, 1.0], "batch_size": [16, 32], "capacity": [4]},
    "seeds": 4,
    "epochs": 400,
}
PACK_SIZE = 2


class FakeCluster:
    """A cluster whose nodes are processes of this machine."""

    def __init__(self, place: Path) -> None:
        token = place / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        joining = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "SWEEPDIAG_FAKE_GPUS": str(N_GPUS),
            # A busy machine takes its time.
            "RAY_raylet_start_wait_time_s": "120",
        }
        # Before Ray is imported, which reads some of them then.
        os.environ.update(joining)
        from ray.cluster_utils import Cluster

        self._place = place
        with self._as_node():
            _ray_state.forget_token()
            self._cluster = Cluster(initialize_head=True, head_node_args=self._arguments(gpus=0))
        self.address: str = self._cluster.address
        self.nodes: list[Any] = []

    def add_nodes(self, count: int) -> None:
        with self._as_node():
            for _ in range(count):
                self.nodes.append(self._cluster.add_node(**self._arguments(gpus=N_GPUS)))

    def remove_node(self, index: int = 0) -> str:
        """Kill a node's processes, and return its id."""
        node = self.nodes.pop(index)
        self._cluster.remove_node(node, allow_graceful=False)
        return str(node.node_id)

    def kill_head(self) -> None:
        """Kill what all other nodes depend on."""
        self._cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()

    def _arguments(self, *, gpus: int) -> dict[str, Any]:
        return {
            "node_ip_address": "127.0.0.1",
            "num_cpus": 1,
            "num_gpus": gpus,
            "include_dashboard": False,
            "object_store_memory": 80 * 2**20,
            "temp_dir": str(self._place / "ray"),
        }

    @contextlib.contextmanager
    def _as_node(self) -> Iterator[None]:
        visible = ",".join(map(str, range(N_GPUS)))
        variables = {"CUDA_VISIBLE_DEVICES": visible, "OMP_NUM_THREADS": "1"}
        with _ray_state.borrowed_process_state(variables), _ray_state.loopback_only():
            yield


class Watcher:
    """Calls a function once a share of a sweep has been trained."""

    def __init__(self, at: float, act: Callable[[], object]) -> None:
        self._at = at
        self._act: Callable[[], object] | None = act

    def started(self, path: Path, lines: Sequence[str], progress: Progress) -> None:
        """Wait for more."""

    def progressed(self, progress: Progress) -> None:
        if progress.fraction >= self._at and self._act is not None:
            self._act, act = None, self._act
            act()

    def stage(self, name: str) -> None:
        """Wait for more."""


class Warnings(logging.Handler):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.told: list[str] = []
        logging.getLogger("sweepdiag").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def lost_nodes(cluster: FakeCluster, place: Path, first: str, last: str) -> dict[str, Any]:
    """Train one sweep per seed, take a node away in the middle of each, and give one back."""
    warnings = Warnings()
    cluster.add_nodes(2)
    at = {}
    for seed in range(int(first), int(last)):
        at[seed] = random.Random(seed).uniform(0.05, 0.6)
        run_sweep(
            **SWEEP,
            output=place / f"run-{seed}",
            execution={"address": cluster.address, "gpus": 2 * N_GPUS, "pack_size": PACK_SIZE},
            observer=Watcher(at[seed], cluster.remove_node),
        )
        cluster.add_nodes(1)
        _wait_for_gpus(cluster, 2 * N_GPUS)
    return {"at": at, "warnings": warnings.told}


def all_nodes_lost(cluster: FakeCluster, place: Path, which: str) -> dict[str, Any]:
    """Take from the command line's sweep all nodes with GPUs, or Ray's first node."""
    cluster.add_nodes(2)
    # Without its head a driver lives for another minute.
    epochs = 4000 if which == "head" else SWEEP["epochs"]
    settings = {**SWEEP, "epochs": epochs, "execution": {"pack_size": PACK_SIZE}}
    (place / "sweep.yaml").write_text(json.dumps(settings))
    command = [
        *(sys.executable, "-m", "sweepdiag", "run", str(place / "sweep.yaml")),
        *("--output", str(place / "run"), "--address", cluster.address, f"--gpus={2 * N_GPUS}"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        journal = place / "run" / "journal.jsonl"
        while not (journal.exists() and b'"points"' in journal.read_bytes()):
            time.sleep(0.1)
        began = time.monotonic()
        if which == "head":
            cluster.kill_head()
        else:
            cluster.remove_node()
            cluster.remove_node()
        out, err = p.communicate(timeout=120)
    seconds = time.monotonic() - began
    return {"code": p.returncode, "out": out, "err": err, "seconds": seconds}


class TellingWorker(ScriptedWorker):
    """Trains nothing, and tells by each trial's reason which device it was on."""

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        for batch in super().__call__(pack, device=device):
            yield [
                TrialEnded(trial_id=e.trial_id, attempt=e.attempt, state=e.state, reason=seat())
                if isinstance(e, TrialEnded)
                else e
                for e in batch
            ]


class DeadlyPlaceWorker(TellingWorker):
    """Dies wherever its node's name or its seat is listed in a file."""

    def __call__(self, pack: Pack, *, device: str) -> Iterator[list[Event]]:
        node, _, _ = seat().partition("/")
        for step, batch in enumerate(super().__call__(pack, device=device)):
            if step == 1 and {node, seat()} & set(Path(str(self.gate)).read_text().split()):
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def seat() -> str:
    """Return the node and the GPU of this process."""
    import ray

    return f"{ray.get_runtime_context().get_node_id()}/{os.environ['CUDA_VISIBLE_DEVICES']}"


def spread(cluster: FakeCluster, place: Path) -> dict[str, Any]:
    """Use half of the GPUs, then all, then those of a node that comes in another's place."""
    cluster.add_nodes(2)
    worker = TellingWorker(n_points=20, pause_s=0.1)
    found: dict[str, Any] = {}
    for n_workers in (2, 4):
        with RayExecutor(n_workers, gpus=n_workers, address=cluster.address) as executor:
            ends = _ends(executor.run(scripted_packs([["train"]] * 12), worker))
        found[f"seats_{n_workers}"] = sorted({end.reason for end in ends})
    with RayExecutor(4, gpus=4, address=cluster.address) as executor:
        ends = []
        for batch in executor.run(scripted_packs([["train"]] * 60), worker):
            ends += [event for event in batch if isinstance(event, TrialEnded)]
            if len(ends) >= 4 and "gone" not in found:
                found["gone"] = cluster.remove_node()
                cluster.add_nodes(1)
                found["came"] = str(cluster.nodes[-1].node_id)
    found["by_node"] = Counter(end.reason.partition("/")[0] for end in ends)
    found["states"] = Counter(end.state for end in ends)
    return found


def bad_place(cluster: FakeCluster, place: Path, kind: str) -> dict[str, Any]:
    """Train on a cluster of which one device, or one node, kills whatever is trained there."""
    warnings = Warnings()
    cluster.add_nodes(2)
    bad = str(cluster.nodes[0].node_id) + ("/1" if kind == "device" else "")
    (place / "bad").write_text(bad)
    worker = DeadlyPlaceWorker(n_points=5, gate=str(place / "bad"), pause_s=0.1)
    packs = scripted_packs([["train", "train", "train"]] * 60)
    with RayExecutor(4, gpus=4, address=cluster.address) as executor:
        events = [event for batch in executor.run(packs, worker) for event in batch]
    ends = _ends([events])
    return {
        "bad": bad,
        "states": Counter(end.state for end in ends),
        "seats": sorted({end.reason for end in ends}),
        "attempts": Counter(end.attempt for end in ends),
        "warnings": warnings.told,
    }


def _ends(batches: Any) -> list[TrialEnded]:
    return [event for batch in batches for event in batch if isinstance(event, TrialEnded)]


def _wait_for_gpus(cluster: FakeCluster, count: int) -> None:
    """Wait until the cluster has taken note of who came and who went."""
    from sweepdiag.execution._ray_session import count_cluster_gpus

    deadline = time.monotonic() + 60
    while count_cluster_gpus(cluster.address, wanted=0, join_timeout_s=None) != count:
        assert time.monotonic() < deadline
        time.sleep(0.5)


if __name__ == "__main__":
    programs = {f.__name__: f for f in (lost_nodes, all_nodes_lost, spread, bad_place)}
    name, folder, *rest = sys.argv[1:]
    fake = FakeCluster(Path(folder))
    try:
        found = programs[name](fake, Path(folder), *rest)
    finally:
        fake.close()
    (Path(folder) / "found").write_text(json.dumps(found))

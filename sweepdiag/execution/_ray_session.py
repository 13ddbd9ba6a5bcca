"""Getting hold of a Ray to run on, and leaving everything as it was found.

Three cases: the caller's process already uses Ray (borrowed, never shut down), an address is given
(joined, and left at the end), or neither (private: started for one executor, reachable from this
machine by this user only, gone when the executor closes).
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import re
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Any, Protocol

from sweepdiag.errors import LaunchError
from sweepdiag.execution._ray_address import ADDRESS_PATIENCE_S, wait_for_address
from sweepdiag.execution._ray_directory import make_directory
from sweepdiag.execution._ray_state import (
    borrowed_process_state,
    forget_token,
    loopback_only,
    silenced,
)
from sweepdiag.execution.processes import RUN_ID_VARIABLE, end_processes
from sweepdiag.execution.stop_requests import StopRequests
from sweepdiag.messages import describe_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["RaySession", "count_cluster_gpus", "open_session"]

_log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 100 * 2**20
"""Batches of events are small; a large store would only take memory from the trainings."""

_PATIENCE_S = 3.0
"""How long processes may take to end before they are killed."""

_POLL_S = 0.5

_LAST_WORDS = 1000
"""Characters that are read of what a dead worker wrote last."""

_RAY_NOISE = re.compile(
    r"^:\w+:|\blogging\.cc:|^\s*(PC: )?@ +0x|^Extension modules:|/ray/_private/|_ray_worker\.py"
)
"""What Ray and its part of the stack add to that."""


class RaySession(Protocol):
    """A Ray that actors can be started on.

    Attributes:
        actor_environment: Variables that actors do not inherit and have to be given.
    """

    actor_environment: Mapping[str, str]

    def last_words(self, pid: int) -> str:
        """Return the end of what a dead worker wrote to its standard error, where it is known.

        Args:
            pid: The worker's process id.
        """
        ...

    def close(self) -> None:
        """Give it back: shut down what was started for it, and nothing else."""
        ...


def open_session(
    *, n_workers: int, gpus: int, is_fake: bool, address: str | None, join_timeout_s: float | None
) -> RaySession:
    """Return the caller's Ray, the cluster at ``address``, or a private Ray.

    Each of them may raise :class:`~sweepdiag.errors.LaunchError`: there is no Ray to be had, or
    it is too small.

    Args:
        n_workers: Workers that will be started on it.
        gpus: Whole GPUs that the workers need in all; 0 for CPU workers.
        is_fake: Whether the GPUs are only counted.
        address: Address of a running cluster, or ``None``.
        join_timeout_s: How long that cluster may take to answer, and then to have room for all
            workers; ``None``: 10 s to answer, and it must have room at once.
    """
    is_in_use = _import_ray().is_initialized()
    if not is_in_use and address is None:
        return _PrivateRay(n_cpus=n_workers, gpus=gpus, is_fake=is_fake)
    session: RaySession
    patience_s = 0.0
    if is_in_use or address is None:
        session = _BorrowedRay(gpus=gpus)
    else:
        session = _JoinedRay(address, gpus=gpus, join_timeout_s=join_timeout_s)
        patience_s = join_timeout_s or 0.0
    resource, needed = ("GPU", gpus) if gpus else ("CPU", n_workers)
    try:
        _check_size(_wait_for(resource, needed, patience_s=patience_s), needed, resource)
    except BaseException:
        session.close()
        raise
    return session


def count_cluster_gpus(address: str, *, wanted: int, join_timeout_s: float | None) -> int:
    """Return the GPUs that the living nodes of a cluster have announced.

    Args:
        address: Address of the cluster; if none answers there, a
            :class:`~sweepdiag.errors.LaunchError` says so.
        wanted: As soon as there are so many, no further node is waited for.
        join_timeout_s: How long the cluster may take to answer, and then to have that many;
            ``None``: 10 s to answer, and it must have them at once.
    """
    if _import_ray().is_initialized():
        return _resource("GPU")
    session = _JoinedRay(address, gpus=0, join_timeout_s=join_timeout_s)
    try:
        return _wait_for("GPU", wanted, patience_s=join_timeout_s or 0.0)
    finally:
        session.close()


class _BorrowedRay:
    """The Ray that the caller's process already uses."""

    def __init__(self, *, gpus: int) -> None:
        self._run_id = secrets.token_hex(8)
        self.actor_environment: Mapping[str, str] = _marks(self._run_id, gpus)

    def last_words(self, pid: int) -> str:  # noqa: ARG002 - it keeps its own logs
        return ""

    def close(self) -> None:
        """End what workers have left behind on this machine; Ray itself is not ours."""
        end_processes(self._run_id, patience_s=_PATIENCE_S)


class _JoinedRay(_BorrowedRay):
    """A cluster that was running before, and runs on after."""

    def __init__(self, address: str, *, gpus: int, join_timeout_s: float | None) -> None:
        super().__init__(gpus=gpus)
        self._silence = contextlib.ExitStack()
        patience_s = ADDRESS_PATIENCE_S if join_timeout_s is None else join_timeout_s
        wait_for_address(address, patience_s=patience_s)
        try:
            with borrowed_process_state({}):
                self._silence.enter_context(silenced())
                _init(address=address)
        except Exception as error:
            self.close()
            message = f"no Ray cluster to join at {address!r}: {describe_error(error)}"
            raise LaunchError(message) from error

    def close(self) -> None:
        """Leave the cluster."""
        import ray

        with self._silence:
            ray.shutdown()
            super().close()


class _PrivateRay:
    """A Ray for one executor, on this machine, on loopback, behind a token.

    All of its processes carry a mark in their environment, by which :meth:`close` finds what is
    left of them.
    """

    def __init__(self, *, n_cpus: int, gpus: int, is_fake: bool) -> None:
        self.actor_environment: Mapping[str, str] = {}
        self._run_id = secrets.token_hex(8)
        self._silence = contextlib.ExitStack()
        self._directory = make_directory()
        # A caller that forgets to close leaves nothing either.
        atexit.register(self.close)
        try:
            self._start(n_cpus=n_cpus, gpus=gpus, is_fake=is_fake)
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            raise LaunchError(_no_start(error)) from error

    def _start(self, *, n_cpus: int, gpus: int, is_fake: bool) -> None:
        token = self._directory / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        variables = _private_variables(token, self._run_id, gpus=gpus, is_fake=is_fake)
        with borrowed_process_state(variables), loopback_only():
            self._silence.enter_context(silenced())
            forget_token()
            _init(
                address="local",
                num_cpus=n_cpus,
                num_gpus=gpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                _temp_dir=str(self._directory / "ray"),
                _node_ip_address="127.0.0.1",
            )

    def last_words(self, pid: int) -> str:
        """Return the end of a dead worker's standard error, such as a crash report of its own."""
        logs = self._directory.glob(f"ray/session_latest/logs/worker-*-{pid}.err")
        try:
            text = "\n".join(log.read_text(errors="replace") for log in logs)
        except OSError:
            return ""
        lines = (line for line in text.splitlines() if line and not _RAY_NOISE.search(line))
        return "\n".join(lines)[-_LAST_WORDS:].strip()

    def close(self) -> None:
        """Shut Ray down, end what outlives it, and remove its directory."""
        import ray

        atexit.unregister(self.close)
        try:
            with self._silence:
                ray.shutdown()
        finally:
            killed = end_processes(self._run_id, patience_s=_PATIENCE_S)
            if killed:
                _log.info("killed %d processes that outlived their worker", len(killed))
            shutil.rmtree(self._directory, ignore_errors=True)
            forget_token()


def _import_ray() -> Any:
    """Return Ray's module.

    Raises:
        LaunchError: If it is not installed, or not for this Python.
    """
    try:
        with borrowed_process_state({}):  # importing Ray sets a variable of its own
            import ray
    except ImportError as error:
        raise LaunchError(_no_start(error)) from error
    return ray


def _no_start(error: BaseException) -> str:
    return (
        f"Ray does not start on this machine: {describe_error(error)}; train without it "
        "(--executor serial), and see `sweepdiag doctor`"
    )


def _init(**arguments: Any) -> None:
    import ray

    ray.init(logging_level=logging.CRITICAL, log_to_driver=False, **arguments)


def _marks(run_id: str, gpus: int) -> dict[str, str]:
    """Return what an actor on somebody else's Ray has to be told; a private Ray inherits it."""
    marks = {RUN_ID_VARIABLE: run_id, "OMP_NUM_THREADS": "1"}
    return marks if gpus else {**marks, "CUDA_VISIBLE_DEVICES": ""}


def _private_variables(token: Path, run_id: str, *, gpus: int, is_fake: bool) -> dict[str, str]:
    variables = {
        RUN_ID_VARIABLE: run_id,
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Despite its name this decides on every system whether Ray listens beyond loopback.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        # Silences a warning of older Rays: workers without a GPU are given an empty list below.
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    if gpus == 0:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    elif is_fake:
        # Ray refuses to count more GPUs than are visible.
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(str(index) for index in range(gpus))
    return variables


def _resource(name: str) -> int:
    import ray

    # Ray leaves this function without annotations.
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get(name, 0))


def _wait_for(name: str, needed: int, *, patience_s: float) -> int:
    """Return how much of a resource the nodes have, as soon as that is enough or time is up."""
    deadline = time.monotonic() + patience_s
    with StopRequests() as stops:
        while True:
            with stops.held():
                present = _resource(name)
            if present >= needed or time.monotonic() >= deadline:
                return present
            time.sleep(_POLL_S)


def _check_size(present: int, needed: int, name: str) -> None:
    """Refuse a Ray that could never hold all workers: they would wait for ever.

    Raises:
        LaunchError: If it is too small.
    """
    if present < needed:
        message = f"{needed} workers need {needed} {name}s, the running Ray has {present}"
        raise LaunchError(message)

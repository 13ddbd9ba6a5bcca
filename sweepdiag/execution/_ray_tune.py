"""Trials of a training loop on Ray Tune: one Tune trial for each trial of the plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sweepdiag.errors import ConfigError
from sweepdiag.execution._ray_base import RayBase
from sweepdiag.execution._ray_tune_run import TuneRun
from sweepdiag.execution._ray_tune_trial import TrialSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sweepdiag.execution.base import PackWorker
    from sweepdiag.records import Event, Pack

__all__ = ["TuneExecutor"]


class TuneExecutor(RayBase):
    """Trains packs of one trial each as trials of Ray Tune; :mod:`sweepdiag.execution.base`.

    A Tune trial can report only itself, so a pack of several is refused. Of Tune it takes the
    scheduling of trials on processes, which are used again, and the second chance of a trial whose
    process dies. It takes no searcher and no scheduler, since the plan is made and the rules that
    end trials are asked where they train; no files of Tune's are read or left; and nothing is told
    that other executors would not tell.

    Args:
        n_workers: Trials at the same time, each in a worker process; see :class:`RayBase`, as for
            ``gpus``, ``address`` and ``join_timeout_s``.
        gpus: Likewise.
        address: Likewise.
        join_timeout_s: Likewise.
        start_timeout_s: How long a run goes on while not a single worker has started.

    Raises:
        ConfigError: If ``n_workers`` or ``gpus`` makes no sense.
    """

    def __init__(
        self,
        n_workers: int,
        *,
        gpus: int = 0,
        address: str | None = None,
        join_timeout_s: float | None = None,
        start_timeout_s: float = 180.0,
    ) -> None:
        super().__init__(n_workers, gpus=gpus, address=address, join_timeout_s=join_timeout_s)
        self._start_timeout_s = start_timeout_s

    def run(self, packs: Sequence[Pack], worker: PackWorker) -> Iterator[list[Event]]:
        """Train the packs; see :mod:`sweepdiag.execution.base`.

        Args:
            packs: Of one trial each, in the order in which they should be begun.
            worker: Trains one pack. It travels to the workers pickled.

        Yields:
            What the trials report as it comes, and the ends of trials whose worker died.

        Raises:
            ConfigError: If a pack has several trials.

        A ``LaunchError`` says that the executor is closed or already running, that the worker
        cannot be sent to another process, or that no worker gets anywhere.
        """
        most = max((len(pack.trials) for pack in packs), default=0)
        if most > 1:
            message = f"a Tune trial reports one training, got a pack of {most}: use RayExecutor"
            raise ConfigError(message)
        with self._running():
            if not packs:
                return
            yield from TuneRun(
                TrialSource(
                    packs=tuple(packs),
                    pickled_worker=self._send(worker),
                    device=self.device,
                    environment=dict(self._session.actor_environment),
                    search_path=tuple(sys.path),
                    directory=str(Path.cwd()),
                ),
                self._session,
                n_workers=self.n_workers,
                has_gpu=self.has_gpu,
                start_timeout_s=self._start_timeout_s,
            ).events()

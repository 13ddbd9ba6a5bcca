"""Where packs run: in this process, or in Ray workers here and on clusters.

An executor is handed packs and a worker, a callable that trains one pack, and streams back what
the workers report. It does not know what training is. See :mod:`sweepdiag.execution.base` for
what every executor promises.
"""

from sweepdiag.execution.base import Executor, PackWorker
from sweepdiag.execution.choose import ExecutorChoice, choose_executor, make_executor
from sweepdiag.execution.devices import Devices, count_gpus, resolve_devices, usable_cpus
from sweepdiag.execution.serial import SerialExecutor
from sweepdiag.execution.stop_requests import StopRequests

__all__ = [
    "Devices",
    "Executor",
    "ExecutorChoice",
    "PackWorker",
    "SerialExecutor",
    "StopRequests",
    "choose_executor",
    "count_gpus",
    "make_executor",
    "resolve_devices",
    "usable_cpus",
]

import math
import os
from pathlib import Path

import pytest

from sweepdiag.workloads import memory


def test_a_limit_that_is_given_holds():
    assert memory.host_room_bytes(0.5) == 5e8
    assert memory.device_room_bytes("cuda:0", 2.0) == 2e9


def test_a_device_without_memory_of_its_own_has_no_limit():
    assert memory.device_room_bytes("cpu", 0.0) == math.inf


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="no /proc/meminfo")
def test_a_share_of_what_is_free_is_taken():
    room = memory.host_room_bytes(None)
    n_cores = len(os.sched_getaffinity(0))
    assert 0 < room <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2 / n_cores


@pytest.mark.gpu
def test_a_share_of_a_gpus_free_memory_is_taken(cuda):
    import torch

    free, total = torch.cuda.mem_get_info(torch.device(cuda))
    assert 0 < memory.device_room_bytes(cuda, None) <= total / 2
    assert free <= total

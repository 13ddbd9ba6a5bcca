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


def test_trainings_share_what_is_free_among_the_workers_of_a_host(monkeypatch):
    monkeypatch.setattr(memory, "free_host_bytes", lambda: 24e9)
    assert memory.pack_room_bytes("cpu", n_workers=1) == 12e9
    assert memory.pack_room_bytes("cpu", n_workers=4) == 3e9
    monkeypatch.setattr(memory, "_n_cores", lambda: 8)
    assert memory.pack_room_bytes("cpu") == 1.5e9
    assert memory.pack_room_bytes("cpu", 0.25, n_workers=4) == 0.25e9


GROUPS_OF_VERSION_2 = {
    "a/memory.max": "max",
    "a/b/memory.max": "1000",
    "a/b/memory.current": "700",
    "a/b/memory.stat": "anon 100\ninactive_file 250\n",
    "a/b/c/memory.max": "5000",
    "a/b/c/memory.current": "600",
}
GROUPS_OF_VERSION_1 = {
    "memory/a/memory.limit_in_bytes": "2000",
    "memory/a/memory.usage_in_bytes": "1500",
    "memory/a/memory.stat": "total_inactive_file 100\n",
}


@pytest.mark.parametrize(
    ("groups", "own", "left"),
    [
        (GROUPS_OF_VERSION_2, "0::/a/b/c", 550),  # of the group around it, less what is cached
        (GROUPS_OF_VERSION_2, "0::/a", math.inf),
        (GROUPS_OF_VERSION_1, "7:cpu:/x\n4:cpuset,memory:/a\n", 600),
        # In a container: the path is the host's, the root is the container's.
        ({"memory.max": "900", "memory.current": "100"}, "0::/docker/12ab", 800),
        ({}, "", math.inf),
    ],
)
def test_limits_of_control_groups_hold(monkeypatch, tmp_path, groups, own, left):
    for name, text in groups.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "self").write_text(own)
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "self")
    monkeypatch.setattr(memory, "_CGROUP_ROOT", tmp_path / "cgroup")
    assert memory._free_of_containers() == left


def test_a_limit_of_the_address_space_holds(monkeypatch):
    resource = pytest.importorskip("resource")
    used = memory._numbers(Path("/proc/self/status")).get("VmSize", 0) * 1024
    monkeypatch.setattr(resource, "getrlimit", lambda _: (used + 10**9, -1))
    assert memory._free_of_process() == pytest.approx(1e9, rel=0.2)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, -1))
    assert memory._free_of_process() == math.inf


@pytest.mark.gpu
def test_trainings_take_less_than_is_free_on_a_gpu(cuda):
    import torch

    free, _ = torch.cuda.mem_get_info(torch.device(cuda))
    kept = torch.cuda.memory_reserved(cuda) - torch.cuda.memory_allocated(cuda)
    assert memory.pack_room_bytes(cuda) == pytest.approx(0.8 * (free + kept), rel=0.05)


@pytest.mark.gpu
def test_a_share_of_a_gpus_free_memory_is_taken(cuda):
    import torch

    free, total = torch.cuda.mem_get_info(torch.device(cuda))
    assert 0 < memory.device_room_bytes(cuda, None) <= total / 2
    assert free <= total

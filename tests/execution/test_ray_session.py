"""Getting hold of a Ray, without one."""

from __future__ import annotations

import sys

import pytest

from sweepdiag.errors import LaunchError
from sweepdiag.execution import make_executor, resolve_devices

NO_RAY = r"^Ray does not start on this machine: ModuleNotFoundError: .*--executor serial"


@pytest.mark.parametrize("name", ["ray", "tune"])
@pytest.mark.parametrize("address", [None, "127.0.0.1:6379"])
def test_a_ray_that_cannot_be_imported_is_told_as_one_that_does_not_start(
    name: str, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = resolve_devices(0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LaunchError, match=NO_RAY):
        make_executor(name, devices=devices, address=address)
    with pytest.raises(LaunchError, match=NO_RAY):
        resolve_devices(1, address="127.0.0.1:6379")

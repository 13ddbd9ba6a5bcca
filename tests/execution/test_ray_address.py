from __future__ import annotations

import socket
import threading

import pytest

from sweepdiag.errors import ConfigError, LaunchError
from sweepdiag.execution._ray_address import wait_for_address


@pytest.mark.parametrize(
    "address",
    [
        *("nonsense", "ray://host:10001", ":6379", "host:", "host:port", ""),
        *("host:²", "host:٣", "host:0", "host:99999", "host:065536"),
    ],
)
def test_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="address must be HOST:PORT"):
        wait_for_address(address)


def test_address_without_anyone_is_refused() -> None:
    with pytest.raises(LaunchError, match=r"no Ray cluster to join at '127.0.0.1:1'"):
        wait_for_address("127.0.0.1:1", patience_s=0.2)


def test_address_that_answers_is_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        wait_for_address(f"127.0.0.1:{server.getsockname()[1]}", patience_s=5.0)


def test_cluster_that_is_still_starting_is_waited_for() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{server.getsockname()[1]}"
        timer = threading.Timer(0.7, server.listen)
        timer.start()
        wait_for_address(address, patience_s=20.0)
        timer.join()


def test_auto_is_left_to_ray() -> None:
    wait_for_address("auto", patience_s=0.0)

"""Whether anything answers at the address of a Ray cluster.

Ray itself tries a wrong address for minutes, and complains on the terminal meanwhile.
"""

from __future__ import annotations

import re
import socket
import time

from sweepdiag.errors import ConfigError, LaunchError

__all__ = ["ADDRESS_PATIENCE_S", "answers", "wait_for_address"]

_ADDRESS = re.compile(r"([^/]+):([0-9]{1,5})")
_MOST_PORTS = 65_535

ADDRESS_PATIENCE_S = 10.0
"""How long an address is tried where nobody says otherwise."""

_POLL_S = 0.5

_ANSWER_S = 1.0
"""How long a node that is alive may take to answer."""


def wait_for_address(address: str, *, patience_s: float = ADDRESS_PATIENCE_S) -> None:
    """Return when something listens at an address.

    A batch job may start the cluster and what joins it in the same breath, hence the patience.

    Args:
        address: ``HOST:PORT``, or ``auto`` for the cluster that Ray finds by itself, which is not
            looked at.
        patience_s: How long to wait.

    Raises:
        ConfigError: If the address is no address.
        LaunchError: If nothing listens there.
    """
    if address == "auto":
        return
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match[2]) <= _MOST_PORTS:
        message = (
            "address must be HOST:PORT of a Ray cluster's head, with a port from 1 to "
            f"{_MOST_PORTS}, or auto; got {address!r}"
        )
        raise ConfigError(message)
    host, port = match[1].strip("[]"), int(match[2])
    deadline = time.monotonic() + patience_s
    while (refusal := _refusal(host, port, max(patience_s, _POLL_S))) is not None:
        if time.monotonic() >= deadline:
            message = f"no Ray cluster to join at {address!r}: {refusal}"
            raise LaunchError(message)
        time.sleep(_POLL_S)


def answers(host: str, port: int) -> bool:
    """Return whether anything listens at an address.

    Args:
        host: Name or address.
        port: Port there.
    """
    return _refusal(host, port, _ANSWER_S) is None


def _refusal(host: str, port: int, timeout_s: float) -> str | None:
    """Return why a port cannot be reached, or ``None`` if it can."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError as error:
        return str(error)
    return None

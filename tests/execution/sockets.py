"""Which addresses processes listen on, read from /proc."""

from __future__ import annotations

import ipaddress
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LISTENING = "0A"


def listening_addresses(pids: Iterable[int]) -> set[str]:
    """Return the addresses of all TCP sockets on which any of the processes listens."""
    inodes = {inode for pid in pids for inode in _socket_inodes(pid)}
    return {address for inode, address in _listening_sockets() if inode in inodes}


def _socket_inodes(pid: int) -> Iterator[str]:
    try:
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it has just ended
        return
    yield from (link[len("socket:[") : -1] for link in links if link.startswith("socket:["))


def _listening_sockets() -> Iterator[tuple[str, str]]:
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING:
                yield fields[9], _decode(fields[1].partition(":")[0])


def _decode(raw: str) -> str:
    """Decode an address, whose 32-bit words the kernel prints in the machine's byte order."""
    words = bytes.fromhex(raw)
    if sys.byteorder == "little":
        words = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
    address = ipaddress.ip_address(words)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)

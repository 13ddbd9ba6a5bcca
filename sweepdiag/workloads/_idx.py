"""A reader of IDX files, the format of MNIST and its kin: unsigned bytes with a short header."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepdiag.errors import WorkloadError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_idx"]

_GZIP_START = b"\x1f\x8b"
_UNSIGNED_BYTES = b"\x00\x00\x08"


def read_idx(path: Path, *, n_dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, compressed with gzip or not.

    Args:
        path: The file.
        n_dimensions: Number of dimensions it must have (labels 1, images 3).

    Returns:
        The array, read-only.

    Raises:
        WorkloadError: If the file is not IDX, has other dimensions, or is too short or too long.
    """
    content = _read_bytes(path)
    header_size = 4 + 4 * n_dimensions
    if len(content) < header_size or content[:3] != _UNSIGNED_BYTES or content[3] != n_dimensions:
        message = (
            f"{path} is not an IDX file of unsigned bytes in {n_dimensions} dimensions: it begins "
            f"with {content[:4].hex(' ') or 'nothing'}, expected 00 00 08 {n_dimensions:02x} and "
            f"a header of {header_size} bytes"
        )
        raise WorkloadError(message)
    shape: tuple[Any, ...] = struct.unpack(f">{n_dimensions}I", content[4:header_size])
    n_expected = int(np.prod(shape, dtype=object))
    if len(content) - header_size != n_expected:
        message = (
            f"{path} is damaged: its header says {' x '.join(map(str, shape))} = {n_expected} "
            f"bytes, it holds {len(content) - header_size}"
        )
        raise WorkloadError(message)
    return np.frombuffer(content, dtype=np.uint8, offset=header_size).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == _GZIP_START else content
    except (OSError, EOFError, zlib.error) as error:
        message = f"{path} cannot be read: {error}"
        raise WorkloadError(message) from error

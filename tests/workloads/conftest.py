from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sweepdiag.workloads import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray


def linear_model(capacity: int = 1, n_inputs: int = 3, n_outputs: int = 3) -> Any:
    from torch import nn

    return nn.Linear(n_inputs, n_outputs)


@pytest.fixture
def make_workload() -> Callable[..., Workload]:
    """A three-class workload of 30 samples; every argument can be replaced."""

    def make(**changes: Any) -> Workload:
        inputs = np.arange(90, dtype=np.float32).reshape(30, 3)
        arguments = {
            "name": "small",
            "train": (inputs, np.arange(30) % 3),
            "model": linear_model,
            **changes,
        }
        return Workload(**arguments)

    return make


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if name.startswith("sweepdiag_user_") or (file or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write_idx() -> Callable[[Path, NDArray[np.uint8]], None]:
    """Writes an array of bytes as an IDX file."""

    def write(path: Path, array: NDArray[np.uint8]) -> None:
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        path.write_bytes(header + array.astype(np.uint8).tobytes())

    return write

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that no other test writes into; its path is short enough for Ray's sockets."""
    directory = Path(tempfile.mkdtemp(prefix="sd-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def temporary_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, where this process makes its temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults import sweeps

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep that nothing happened to."""
    path = tmp_path_factory.mktemp("reference") / "run"
    sweeps.whole(path)
    return path


@pytest.fixture(scope="session")
def seconds(reference: Path) -> float:
    """How long such a sweep takes; the first one waits for everything to be imported."""
    return sweeps.whole(reference.with_name("again"))

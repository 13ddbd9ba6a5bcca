from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sweepdiag.execution._ray_directory import make_directory, ray_directory
from sweepdiag.store.process import this_process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder for temporary files."""
    path = Path(tempfile.mkdtemp(prefix="sd-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    yield path
    shutil.rmtree(path)


def test_what_a_killed_process_has_left_is_removed(parent: Path) -> None:
    code = (
        "import os, signal, tempfile\n"
        f"tempfile.tempdir = {str(parent)!r}\n"
        "from sweepdiag.execution._ray_directory import make_directory\n"
        "(make_directory() / 'token').write_text('secret')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = parent.iterdir()
    assert (left / "token").exists()
    directory = make_directory()
    assert list(parent.iterdir()) == [directory]


def test_what_may_be_in_use_stays(parent: Path) -> None:
    mine = make_directory()
    dead = {**this_process(), "pid": 2**22 + 1}
    holders = {"elsewhere": {**dead, "host": "node7"}, "list": [], "nobody": None}
    for name, holder in holders.items():
        (parent / f"sweepdiag-{name}").mkdir()
        if holder is not None:
            (parent / f"sweepdiag-{name}" / "holder.json").write_text(json.dumps(holder))
    (parent / "other").mkdir()
    (parent / "other" / "holder.json").write_text(json.dumps(dead))
    (parent / "sweepdiag-link").symlink_to(parent / "other")
    before = set(parent.iterdir())
    assert not ray_directory().exists()
    assert set(parent.iterdir()) == before
    assert (parent / "other" / "holder.json").exists()
    assert mine.stat().st_mode & 0o777 == 0o700

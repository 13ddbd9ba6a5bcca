from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from sweepdiag.execution._ray_directory import make_directory, ray_directory
from sweepdiag.store.process import this_process

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_killed_process_has_left_is_removed(temporary_place: Path) -> None:
    code = (
        "import os, signal, tempfile\n"
        f"tempfile.tempdir = {str(temporary_place)!r}\n"
        "from sweepdiag.execution._ray_directory import make_directory\n"
        "(make_directory() / 'token').write_text('secret')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    (left,) = temporary_place.iterdir()
    assert (left / "token").exists()
    directory = make_directory()
    assert list(temporary_place.iterdir()) == [directory]


def test_what_may_be_in_use_stays(temporary_place: Path) -> None:
    mine = make_directory()
    dead = {**this_process(), "pid": 2**22 + 1}
    holders = {"elsewhere": {**dead, "host": "node7"}, "list": [], "nobody": None}
    for name, holder in holders.items():
        (temporary_place / f"sweepdiag-{name}").mkdir()
        if holder is not None:
            (temporary_place / f"sweepdiag-{name}" / "holder.json").write_text(json.dumps(holder))
    (temporary_place / "other").mkdir()
    (temporary_place / "other" / "holder.json").write_text(json.dumps(dead))
    (temporary_place / "sweepdiag-link").symlink_to(temporary_place / "other")
    before = set(temporary_place.iterdir())
    assert not ray_directory().exists()
    assert set(temporary_place.iterdir()) == before
    assert (temporary_place / "other" / "holder.json").exists()
    assert mine.stat().st_mode & 0o777 == 0o700

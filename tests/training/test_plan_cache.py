import json
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from sweepdiag.training import plan_cache
from sweepdiag.training.plan_cache import PlanCache, cache_folder

KEY, VALUE = "a" * 64, {"tier": "TRACED", "width": 17, "step_s": 1.5e-5}


@pytest.mark.parametrize("value", ["", "off", "OFF", "  "])
def test_the_variable_turns_it_off(monkeypatch, value):
    monkeypatch.setenv("SWEEPDIAG_CACHE_DIR", value)
    assert cache_folder() is None
    cache = PlanCache(cache_folder())
    cache.store(KEY, VALUE)
    assert not cache.is_on
    assert cache.load(KEY) is None


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPDIAG_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SWEEPDIAG_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "sweepdiag"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard tells us to ignore
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "sweepdiag"


def test_what_is_stored_is_found_by_its_key_only(tmp_path):
    PlanCache(tmp_path).store(KEY, VALUE)
    assert PlanCache(tmp_path).load(KEY) == VALUE
    assert PlanCache(tmp_path).load("b" * 64) is None
    assert [path.suffix for path in (tmp_path / "plans").iterdir()] == [".json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[1, 2]",
        b'{"key": "other", "created_s": 1e12, "value": {}}',
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b"x" * 2**20,
    ],
    ids=["empty", "torn", "null", "list", "another key", "no text", "deep", "large"],
)
def test_a_file_that_is_no_plan_counts_as_none_and_is_replaced(tmp_path, content):
    cache = PlanCache(tmp_path)
    cache.store(KEY, VALUE)
    (tmp_path / "plans" / f"{KEY}.json").write_bytes(content)
    assert cache.load(KEY) is None
    cache.store(KEY, VALUE)
    assert cache.load(KEY) == VALUE


def test_plans_are_measured_anew_after_a_month(tmp_path, monkeypatch):
    cache = PlanCache(tmp_path)
    cache.store(KEY, VALUE)
    now = time.time()
    monkeypatch.setattr(plan_cache.time, "time", lambda: now + 29 * 86400)
    assert cache.load(KEY) == VALUE
    monkeypatch.setattr(plan_cache.time, "time", lambda: now + 31 * 86400)
    assert cache.load(KEY) is None


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="sweepdiag")
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")  # also for root, whom no permission stops
    cache = PlanCache(in_the_way)
    for key in (KEY, "b" * 64):
        cache.store(key, VALUE)
        assert cache.load(key) is None
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_breaks_nothing(tmp_path):
    tmp_path.chmod(0o500)
    PlanCache(tmp_path).store(KEY, VALUE)
    assert PlanCache(tmp_path).load(KEY) is None
    tmp_path.chmod(0o700)


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_cache, "_MOST_FILES", 4)
    monkeypatch.setattr(plan_cache, "_LEFT_FILES", 3)
    cache = PlanCache(tmp_path)
    for age, key in enumerate("abcd"):
        cache.store(key, VALUE)
        os.utime(tmp_path / "plans" / f"{key}.json", (1000 + age, 1000 + age))
    assert cache.load("a") == VALUE  # and so it is the newest now
    cache.store("e", VALUE)
    assert {path.stem for path in (tmp_path / "plans").iterdir()} == {"a", "d", "e"}


def _write(folder: str, number: int) -> None:
    cache = PlanCache(Path(folder))
    for _ in range(200):
        cache.store(KEY, {"number": number, "filling": "x" * 2000})


def test_processes_that_write_at_once_leave_one_whole_file(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(tmp_path), n)) for n in range(2)]
    for writer in writers:
        writer.start()
    cache, n_found = PlanCache(tmp_path), 0
    while any(writer.is_alive() for writer in writers):
        found = cache.load(KEY)
        if found is not None:
            n_found += 1
            assert found["number"] in {0, 1}
            assert len(found["filling"]) == 2000
        else:
            assert n_found == 0  # once there, it is never gone or half there
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    (left,) = (tmp_path / "plans").iterdir()
    assert json.loads(left.read_text())["key"] == KEY

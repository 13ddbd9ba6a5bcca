import gc
import json

import pandas as pd
import pytest

from sweepdiag.errors import StoreError
from sweepdiag.store import RunFolder


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(sweep_yaml="workload: digits\n")
    return folder


def test_a_created_folder_holds_a_sweep(folder):
    assert folder.exists
    assert not folder.is_free
    assert folder.read_sweep() == "workload: digits\n"


def test_missing_and_empty_folders_are_free(tmp_path):
    assert RunFolder(tmp_path).is_free
    assert RunFolder(tmp_path / "missing").is_free


def test_a_table_is_read_back(folder):
    table = pd.DataFrame({"trial_id": ["a"], "tags": [["edge"]], "loss": [float("nan")]})
    folder.write_table("verdicts", table)
    read = folder.read_table("verdicts")
    assert list(read["tags"][0]) == ["edge"]
    assert read["loss"].isna().all()


def test_json_has_no_nan(folder):
    folder.write_json("findings.json", {"share": float("nan"), "low": float("-inf")})
    text = (folder.path / "findings.json").read_text()
    assert json.loads(text) == {"share": "NaN", "low": "-Infinity"}


def test_a_failed_write_leaves_the_old_file_and_no_other(folder):
    folder.write_text("report.html", "old")
    with pytest.raises(TypeError):
        folder.write_text("report.html", b"not text")
    assert (folder.path / "report.html").read_text() == "old"
    assert sorted(path.name for path in folder) == ["report.html", "sweep.yaml"]


def test_clear_removes_only_what_sweepdiag_wrote(folder):
    folder.write_text("report.html", "x")
    folder.figures.mkdir()
    (folder.figures / "class_heatmap.png").write_bytes(b"x")
    (folder.path / "notes.txt").write_text("mine")
    folder.clear()
    assert [path.name for path in folder] == ["notes.txt", "sweep.yaml"]


def test_a_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"is not a run folder: it has no sweep\.yaml"):
        RunFolder(tmp_path).read_sweep()


def test_a_table_that_is_not_there_is_named(folder):
    with pytest.raises(StoreError, match=r"cannot read .*verdicts\.parquet"):
        folder.read_table("verdicts")


def test_a_damaged_table_is_an_error_of_the_store(folder):
    (folder.path / "verdicts.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=r"cannot read .*verdicts\.parquet"):
        folder.read_table("verdicts")


def test_a_path_that_is_a_file_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot create"):
        RunFolder(tmp_path / "file").create(sweep_yaml="")


@pytest.mark.parametrize("was_on", [True, False])
def test_a_journal_is_read_without_the_search_for_cycles(folder, monkeypatch, was_on):
    (folder.path / "journal.jsonl").write_text("damaged\n")
    during = []

    def look(records):
        assert list(records) == []
        during.append(gc.isenabled())

    monkeypatch.setattr("sweepdiag.store.folder.History", look)
    (gc.enable if was_on else gc.disable)()
    try:
        folder.read_history()
        assert during == [False]
        assert gc.isenabled() is was_on
    finally:
        gc.enable()

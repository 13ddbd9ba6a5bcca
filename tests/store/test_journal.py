import errno
import os
import resource
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepdiag.errors import StoreError
from sweepdiag.store import Journal, read_journal
from sweepdiag.store.journal import decode_line, encode_line

RECORDS = [
    {"kind": "points", "trial": f"{i:016x}", "points": [[0.5, i, "NaN", 1e-300]]} for i in range(4)
]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def write(path, records):
    with Journal(path) as journal:
        journal.append(records)


@given(st.dictionaries(st.text(), json_values, min_size=1, max_size=4))
def test_a_line_decodes_to_the_record_that_was_encoded(record):
    line = encode_line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_line(line[:-1]) == record


def test_nan_is_refused_rather_than_written_as_bad_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_line({"loss": float("nan")})


def test_appended_records_are_read_back_in_order(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, RECORDS[:2])
    write(path, RECORDS[2:])
    assert read_journal(path) == (RECORDS, [])


def test_cut_at_every_byte_keeps_all_before_the_cut_and_goes_on(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, RECORDS)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        n_complete = sum(end <= cut for end in ends)
        records, damages = read_journal(path)
        assert records == RECORDS[:n_complete]
        assert bool(damages) == (cut not in {0, *ends})
        write(path, [{"kind": "next"}])
        assert read_journal(path) == ([*RECORDS[:n_complete], {"kind": "next"}], [])


@settings(max_examples=60)
@given(st.data())
def test_a_flipped_byte_costs_its_own_line_only(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    write(path, RECORDS)
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    records, damages = read_journal(path)
    assert all(record in RECORDS for record in records)
    assert len(records) >= len(RECORDS) - 2  # a flipped newline joins two lines
    assert damages


def test_garbage_in_the_middle_is_reported_by_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, RECORDS[:1])
    with path.open("ab") as file:
        file.write(b"\x00garbage\n")
    write(path, RECORDS[1:])
    records, damages = read_journal(path)
    assert records == RECORDS
    assert [(damage.line, damage.is_torn_tail) for damage in damages] == [(2, False)]


@pytest.mark.parametrize("block_bytes", [1, 100, 2**18])
def test_a_line_with_a_right_checksum_that_is_no_record_costs_itself_only(
    tmp_path, monkeypatch, block_bytes
):
    monkeypatch.setattr("sweepdiag.store.journal._BLOCK_BYTES", block_bytes)
    path = tmp_path / "journal.jsonl"
    write(path, RECORDS[:1])
    bodies = [b'"half":', b'"kind":"a"},{"kind":"b"}', b'"open":[1', b"]"]
    with path.open("ab") as file:
        for body in bodies:
            file.write(b'{"crc32":"%08x",%s\n' % (zlib.crc32(body), body))
    write(path, RECORDS[1:])
    records, damages = read_journal(path)
    assert records == RECORDS
    assert [damage.line for damage in damages] == [2, 3, 4, 5]
    offsets = np.cumsum([0, *map(len, path.read_bytes().splitlines(keepends=True))])
    assert [damage.offset for damage in damages] == offsets[1:5].tolist()


def test_two_writers_are_refused(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path), pytest.raises(StoreError, match="is being written by another sweepdiag"):
        Journal(path)
    with Journal(path) as again:
        again.append(RECORDS)


def test_a_disk_that_takes_no_more_loses_no_complete_record(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, RECORDS[:2])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, before[1]))
        try:
            with pytest.raises(StoreError, match=r"cannot write .*journal\.jsonl: File too large"):
                journal.append(RECORDS[2:])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    records, damages = read_journal(path)
    assert records == RECORDS[:2]
    assert [damage.is_torn_tail for damage in damages] == [True]
    write(path, RECORDS[2:])
    assert read_journal(path) == (RECORDS, [])


def test_a_folder_that_is_not_there_names_the_file(tmp_path):
    with pytest.raises(StoreError, match=os.strerror(errno.ENOENT)):
        Journal(tmp_path / "missing" / "journal.jsonl")
    with pytest.raises(StoreError, match=os.strerror(errno.ENOENT)):
        read_journal(tmp_path / "missing.jsonl")


def test_close_twice_is_harmless(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.close()
    journal.close()

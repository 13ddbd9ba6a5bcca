import json
import textwrap

import pandas as pd
import pytest

from sweepdiag import resume_sweep, run_sweep
from sweepdiag.errors import ConfigError, StoreError
from sweepdiag.pipeline import (
    ShardResult,
    merge_folders,
    read_status,
    resolve_config,
    train_shard,
)
from sweepdiag.records import State
from sweepdiag.store import RunFolder


def shard(small, path, number, **changes):
    execution = {**small["execution"], "shard": number}
    options = {**small, "execution": execution, "output": str(path), **changes}
    return train_shard(*resolve_config(options=options))


def table(folder, name):
    kept = folder.read_table(name)
    return kept.drop(columns=["seconds", "device", "peak_memory_mb"], errors="ignore")


@pytest.fixture
def shards(small, tmp_path):
    for i in range(3):
        shard(small, tmp_path / f"shard-{i}", f"{i}/3")
    return [RunFolder(tmp_path / f"shard-{i}") for i in range(3)]


@pytest.fixture
def output(tmp_path):
    return RunFolder(tmp_path / "merged")


def test_merged_shards_are_the_unsharded_sweep_bit_for_bit(small, shards, output, tmp_path):
    merged = merge_folders(shards, output)
    assert merged.n_missing == merged.n_failed == 0
    whole = RunFolder(run_sweep(**small, output=tmp_path / "whole").path)
    for name in ("plan", "curves", "trials", "verdicts", "configurations", "features"):
        pd.testing.assert_frame_equal(
            table(output, name), table(whole, name), check_exact=True, obj=name
        )
    for name in ("findings.json", "recommendation.json", "next_sweep.yaml"):
        assert (output.path / name).read_text() == (whole.path / name).read_text()
    # It was put together, in no time that would tell a pace.
    assert read_status(output).trials_per_s is None
    assert read_status(shards[0]).trials_per_s is not None
    # The merged folder is a sweep like any other.
    before = (output.path / "journal.jsonl").read_bytes()
    run_sweep(**small, output=output.path)
    merge_folders(shards, output)
    assert (output.path / "journal.jsonl").read_bytes() == before


def test_each_shard_plans_everything_and_trains_its_part(small, shards, tmp_path):
    histories = [folder.read_history()[0] for folder in shards]
    assert len({tuple(history.trials) for history in histories}) == 1
    done = [{t for t, h in history.trials.items() if h.rows} for history in histories]
    assert sum(len(part) for part in done) == len(histories[0].trials) == 16
    assert not set.intersection(*done)
    assert all(not folder.report.exists() for folder in shards)

    again = shard(small, tmp_path / "shard-1", "1/3")
    assert str(again).endswith(f"shard 1/3, trials: {len(done[1])} finished")
    with pytest.raises(ConfigError, match="holds shard 1/3 of its sweep, and shard 2/3 is asked"):
        shard(small, tmp_path / "shard-1", "2/3")
    with pytest.raises(ConfigError, match="at most 16 shards, got 17"):
        shard(small, tmp_path / "shard-9", "0/17")
    assert not (tmp_path / "shard-9").exists()


def test_a_merge_before_the_last_shard_has_ended_is_completed_later(shards, output, tmp_path):
    nothing_yet = RunFolder(tmp_path / "shard-9")
    early = merge_folders([shards[0], nothing_yet, shards[2]], output)
    assert 0 < early.n_missing < 16
    torn = json.loads((output.path / "journal.jsonl").read_text().splitlines()[-1])
    assert torn["kind"] == "ended"
    merged = merge_folders(shards, output)
    assert merged.n_missing == 0
    assert not merged.curves.duplicated(["trial_id", "step"]).any()


def test_a_merge_that_was_killed_while_writing_can_be_repeated(shards, output):
    merge_folders(shards, output)
    journal = output.path / "journal.jsonl"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    for kept in (1, len(lines) // 2, len(lines) - 1):
        journal.write_bytes(b"".join(lines[:kept]) + lines[kept][:20])
        merged = merge_folders(shards, output)
        assert merged.n_missing == 0
        assert not merged.curves.duplicated(["trial_id", "step"]).any()


def test_folders_that_do_not_belong_together_are_refused(small, shards, output, tmp_path):
    shard(small, tmp_path / "other", "0/3", epochs=5)
    with pytest.raises(ConfigError, match="are not of one sweep: epochs: 4 there, 5 here"):
        merge_folders([shards[0], RunFolder(tmp_path / "other")], output)
    shard(small, tmp_path / "halves", "0/2")
    with pytest.raises(ConfigError, match="shards of one sweep have no trial in common"):
        merge_folders([*shards, RunFolder(tmp_path / "halves")], output)
    with pytest.raises(ConfigError, match="shard-0 is given twice"):
        merge_folders([shards[0], shards[0]], output)
    with pytest.raises(StoreError, match="nothing to merge"):
        merge_folders([RunFolder(tmp_path / "nowhere")], output)
    assert not output.path.exists()
    run_sweep(**{**small, "epochs": 2}, output=output.path)
    with pytest.raises(ConfigError, match="holds a different sweep"):
        merge_folders(shards, output)


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused(small, tmp_path, text):
    with pytest.raises(ConfigError, match=r"shard.*must be i/K"):
        shard(small, tmp_path / "x", text)


FLAKY = """
    from pathlib import Path


    def train(config, report):
        if config["lr"] > 0.5 and not Path(__file__).with_name("mended").exists():
            raise ValueError("not yet")
        for epoch in range(config["epochs"] + 1):
            report(epoch=epoch, train_loss=1.0 / (epoch + 1), val_loss=1.0 / (epoch + 1))
"""


def test_what_a_shard_has_trained_again_is_merged_again(tmp_path):
    loop = tmp_path / "loop.py"
    loop.write_text(textwrap.dedent(FLAKY))
    sweep = {
        "workload": f"{loop}:train",
        "parameters": {"lr": [0.1, 1.0]},
        "seeds": 2,
        "epochs": 3,
        "execution": {"executor": "serial"},
    }
    folders = [RunFolder(tmp_path / f"part-{i}") for i in range(2)]
    for i, folder in enumerate(folders):
        shard(sweep, folder.path, f"{i}/2")
    output = RunFolder(tmp_path / "merged")
    assert merge_folders(folders, output).n_failed == 2
    loop.with_name("mended").write_text("")
    for folder in folders:
        again = resume_sweep(folder.path, retry=[State.FAILED])
        assert isinstance(again, ShardResult)
    merged = merge_folders(folders, output)
    assert (merged.n_failed, merged.n_missing) == (0, 0)
    assert merged.trials["attempt"].max() > 1
    size = (output.path / "journal.jsonl").stat().st_size
    assert merge_folders(folders, output).n_failed == 0
    assert (output.path / "journal.jsonl").stat().st_size == size


def test_a_finished_shard_is_complete(small, shards):
    found = read_status(shards[1])
    assert found.is_complete
    assert found.n_trials == found.n_done < 16

"""Settings that lie beside logs, or stand in the names of runs."""

import json

import pandas as pd
import pytest

from sweepdiag.readers import read_curves
from sweepdiag.readers.run_names import settings_in_names, words_in_names
from sweepdiag.readers.settings import settings_beside

TABLE = "epoch,train_loss,val_loss\n" + "".join(f"{i},{4 - i},{5 - i}\n" for i in range(4))


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("hparams.yaml", "lr: 1.0e-05\nmodel:\n  width: 64\nlayers:\n- 1\n- 2\n"),
        ("args.yaml", "lr: 1e-5\nmodel: {width: 64}\nlayers: [1, 2]\n"),
        ("params.json", '{"lr": 1e-05, "model": {"width": 64}, "layers": [1, 2]}'),
        (".hydra/config.yaml", "lr: 1e-05\nmodel:\n  width: 64\nlayers: [1, 2]\n"),
    ],
)
def test_files_of_settings(tmp_path, file, text):
    write(tmp_path / file, text)
    expected = {"config/lr": 1e-5, "config/model/width": 64, "config/layers": "[1, 2]"}
    assert settings_beside(tmp_path, tmp_path) == expected


def test_a_nearer_folder_comes_first_and_none_above_the_one_asked_for(tmp_path):
    write(tmp_path / "config.yaml", "lr: 3\n")
    write(tmp_path / "runs/config.yaml", "lr: 2\nwidth: 8\n")
    write(tmp_path / "runs/a/hparams.yaml", "lr: 1\n")
    write(tmp_path / "runs/a/config.yaml", "lr: 9\ndepth: 4\n")
    found = settings_beside(tmp_path / "runs/a", tmp_path / "runs")
    assert found == {"config/lr": 1, "config/width": 8, "config/depth": 4}


@pytest.mark.parametrize("text", ["{", "- 1", "", "\x00", "a: &x [1]\nb: *x\n" * 3])
def test_what_is_no_settings_says_nothing(tmp_path, text):
    write(tmp_path / "config.yaml", text)
    write(tmp_path / "config.json", text)
    assert "config/lr" not in settings_beside(tmp_path, tmp_path)


def test_settings_are_attributes_of_runs(tmp_path):
    for i, lr in enumerate((0.1, 0.2)):
        write(tmp_path / f"version_{i}/metrics.csv", TABLE)
        write(tmp_path / f"version_{i}/hparams.yaml", f"optimizer:\n  lr: {lr}\n")
    runs = read_curves(tmp_path, with_attributes=True).runs
    assert runs["config/optimizer/lr"].tolist() == [0.1, 0.2]
    assert list(read_curves(tmp_path).runs.columns) == ["trial_id"]


def test_columns_of_the_log_come_before_files(tmp_path):
    rows = [{"config": {"lr": 0.5}, "epoch": i, "loss": 4 - i} for i in range(4)]
    write(tmp_path / "trial/result.json", "\n".join(map(json.dumps, rows)))
    write(tmp_path / "trial/params.json", '{"lr": 7, "width": 8}')
    runs = read_curves(tmp_path, with_attributes=True).runs
    assert runs[["config/lr", "config/width"]].to_numpy().tolist() == [[0.5, 8]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lr0.1_bs_64", "lr1e-3_bs_128"], {"lr": [0.1, 1e-3], "bs": [64, 128]}),
        (
            ["train_a1b_00000_0_lr=0.1,act=relu", "train_a1b_00001_1_lr=0.2,act=tanh"],
            {"lr": [0.1, 0.2], "act": ["relu", "tanh"]},
        ),
        (["model.width=8", "model.width=16"], {"model.width": [8, 16]}),
        (["a/seed_1", "a/seed_2"], {"seed": [1, 2]}),
        (["lr0.1", "wd0.1"], {}),
        (["lr0.1_lr0.2", "lr0.3"], {}),
        (["solr0.1", "solr0.2"], {"solr": [0.1, 0.2]}),
        (["dr0.1_ls0", "dr0.2_ls0.1"], {"dr": [0.1, 0.2], "ls": [0, 0.1]}),
        (
            ["adamw_lr_1em3_wd_1p0", "muon_lr_3em2_wd_0p03"],
            {"optimizer": ["adamw", "muon"], "lr": [1e-3, 0.03], "wd": [1, 0.03]},
        ),
        (
            ["weight_decay-1e-3_w8", "weight_decay-1e-2_w16"],
            {"weight_decay": [1e-3, 1e-2], "w": [8, 16]},
        ),
        (
            ["rnn_w8_s0", "lstm_w16_s1", "rnn_w8_s1"],
            {"variant": ["rnn", "lstm", "rnn"], "w": [8, 16, 8], "seed": [0, 1, 1]},
        ),
        (
            ["drop_none_w8", "drop_0.1_w8", "drop_0.1_w9"],
            {"drop": ["none", "0.1", "0.1"], "w": [8, 8, 9]},
        ),
        (["run1", "run2"], {}),
        (["version_0", "version_7"], {}),
        (["w1", "w2", "w3"], {}),
        (["train", "train2"], {}),
        (["net_20250101", "net_20250102"], {}),
        (["net_8fa3c1", "net_77b0e2"], {}),
        (["silver-sun-1", "golden-moon-9"], {}),
        (["lr0.1x", "lr0.2x"], {}),
        ([], {}),
    ],
)
def test_names_tell_settings_that_all_of_them_name_once(names, expected):
    assert settings_in_names(names) == expected


def test_settings_in_names_are_told_unless_known_already(tmp_path):
    for lr in (0.1, 0.2):
        for seed in (1, 2):
            write(tmp_path / f"lr{lr}_seed{seed}/metrics.csv", TABLE)
            write(tmp_path / f"lr{lr}_seed{seed}/hparams.yaml", f"learning_rate: {lr}\n")
    reading = read_curves(tmp_path, with_attributes=True)
    assert set(reading.runs.columns) == {"trial_id", "config/learning_rate", "seed"}
    assert "the names of the runs tell their settings: seed" in reading.notes


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["lr0.1_aug", "lr0.1"], [("lr", "aug"), ("lr",)]),
        (["run_1", "run_2"], [(), ()]),
        (["a", "b"], [(), ()]),
        (["silver-sun-1", "golden-moon-9"], [(), ()]),
        (["x8fa3c1", "abcdefg"], [(), ()]),
        ([f"{i}e9d952c-2fea-49dd-a271-845d449ed524" for i in (0, 1)], [(), ()]),
    ],
)
def test_words_in_names_are_those_that_no_chance_has_drawn(names, expected):
    assert words_in_names(names) == expected


def test_settings_that_have_changed_are_read_again(tmp_path):
    write(tmp_path / "log.csv", TABLE)
    for lr in (1, 2):
        write(tmp_path / "config.yaml", f"lr: {lr}\n")
        runs = read_curves(tmp_path, with_attributes=True).runs
        assert runs["config/lr"].tolist() == [lr]


def test_settings_of_a_run_whose_metrics_alone_were_asked_for(tmp_path):
    run = tmp_path / "run"
    write(run / "meta.yaml", "")
    write(run / "params/lr", "0.1")
    for name in ("train_loss", "val_loss"):
        write(run / "metrics" / name, "".join(f"{i} {4 - i} {i}\n" for i in range(4)))
    runs = read_curves(run / "metrics", with_attributes=True).runs
    assert runs["config/lr"].tolist() == [0.1]


def test_halves_of_characters_and_huge_numbers_in_settings(tmp_path):
    write(tmp_path / "log.csv", TABLE)
    write(tmp_path / "config.json", f'{{"kind": "\\ud800", "n": 1{"0" * 400}}}')
    (run,) = read_curves(tmp_path, with_attributes=True).runs.to_dict("records")
    assert run["config/kind"] == "\\ud800"
    assert run["config/n"] == float("inf")


def test_names_in_a_column_tell_what_differs_in_every_run():
    rows = [{"run": f"lr={lr}", "epoch": i, "loss": 4 - i} for lr in (0.1, 0.2) for i in range(4)]
    frame = pd.DataFrame(rows)
    assert read_curves(frame, with_attributes=True).runs["lr"].tolist() == [0.1, 0.2]
    frame["rate"] = frame["run"].str[3:].astype(float)
    assert "lr" not in read_curves(frame, with_attributes=True).runs

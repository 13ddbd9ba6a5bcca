"""What must hold whatever a run folder or a log of somebody else's holds; see docs/security.md."""

from __future__ import annotations

import ast
import contextlib
import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest

import sweepdiag
from sweepdiag.errors import ConfigError, StoreError, SweepdiagError
from sweepdiag.pipeline import diagnose, diagnose_folder, resume_sweep, run_sweep
from sweepdiag.pipeline.status import read_status
from sweepdiag.store import RunFolder
from sweepdiag.workloads import TrainLoop

PACKAGE = Path(sweepdiag.__file__).parent
SMALL = {
    "workload": "synthetic",
    "workload_parameters": {"n_train": 64, "n_validation": 32},
    "parameters": {"lr": [0.01, 0.1], "batch_size": [16], "capacity": [4]},
    "seeds": 1,
    "epochs": 3,
    "execution": {"executor": "serial"},
}
UNPICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "_pickle"}
DANGEROUS_CALLS = {
    "eval", "exec", "torch.load", "np.load", "numpy.load", "pd.read_pickle", "yaml.load",
    "yaml.full_load", "yaml.unsafe_load", "os.system", "os.popen", "tune.Tuner.restore",
}  # fmt: skip
ALLOWED = {
    ("execution/_ray_base.py", "import cloudpickle"),  # what we send to workers that we started
    ("execution/_ray_worker.py", "import cloudpickle"),  # what they get from us
    ("execution/_ray_tune_trial.py", "import cloudpickle"),  # the same, in the workers of Tune
    ("workloads/_usercode.py", "exec"),  # the user's own workload: code by design
}


def dangers(tree: ast.AST) -> set[str]:
    """Name what a module imports or calls that could run code from data."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names.append(node.module or "")
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {f"import {name}" for name in names if set(name.split(".")) & UNPICKLERS}
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            found |= {name} if name in DANGEROUS_CALLS else set()
            for keyword in node.keywords:
                is_true = getattr(keyword.value, "value", None) is True
                if is_true and keyword.arg in {"shell", "allow_pickle"}:
                    found.add(f"{keyword.arg}=True")
    return found


def test_the_search_finds_what_it_looks_for():
    source = (
        "import pickle\nfrom ray import cloudpickle\neval(x)\ntorch.load(p)\n"
        "run(c, shell=True)\nnp.load(p, allow_pickle=True)\n"
    )
    assert dangers(ast.parse(source)) == {
        "import pickle", "import cloudpickle", "import ray.cloudpickle", "eval", "torch.load",
        "shell=True", "np.load", "allow_pickle=True",
    }  # fmt: skip


def test_no_module_runs_code_from_data():
    found = {
        (path.relative_to(PACKAGE).as_posix(), danger)
        for path in PACKAGE.rglob("*.py")
        for danger in dangers(ast.parse(path.read_text()))
    }
    found = {(file, danger.replace("ray.cloudpickle", "cloudpickle")) for file, danger in found}
    assert found == ALLOWED


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("swept") / "run"
    run_sweep(output=path, **SMALL)
    return path


@pytest.fixture
def folder(swept, tmp_path):
    shutil.copytree(swept, tmp_path / "run")
    return RunFolder(tmp_path / "run")


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("planted", ["all others", "sweep.yaml", "journal.jsonl"])
def test_a_planted_pickle_is_never_loaded(folder, tmp_path, monkeypatch, planted):
    monkeypatch.setattr("sweepdiag.plotting.draw_figures", lambda data, directory: [])
    monkeypatch.setattr("sweepdiag.report.html.sweep_figures", lambda data: iter(()))
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    names = {path.name for path in folder if path.parent == folder.path}
    others = names - {"sweep.yaml", "journal.jsonl"} | {"model.pt", "results.pkl"}
    for name in sorted(others) if planted == "all others" else [planted]:
        (folder.path / name).write_bytes(bomb)
    for look in (read_status, diagnose_folder, lambda f: diagnose(f.path, output=tmp_path / "o")):
        with contextlib.suppress(SweepdiagError):
            look(folder)
    assert not (tmp_path / "exploded").exists()
    pickle.loads(bomb)
    assert (tmp_path / "exploded").exists()  # it does explode


def test_looking_at_a_folder_does_not_import_its_workload(folder, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\ndef build(): ...\n")
    sweep = folder.path / "sweep.yaml"
    text = sweep.read_text().replace("workload: synthetic", f"workload: {evil}:build")
    sweep.write_text(text)
    assert str(evil) in folder.read_sweep()
    read_status(folder)
    diagnose_folder(folder)
    assert not (tmp_path / "ran").exists()
    # Going on with a sweep runs its workload, by design.
    with pytest.raises(SweepdiagError):
        resume_sweep(folder.path)
    assert (tmp_path / "ran").exists()


def test_nothing_is_written_through_links(folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim"
    victim.write_text("mine")
    for name in ("report.html", "trials.parquet", "figures/class_heatmap.png"):
        (folder.path / name).unlink()
        (folder.path / name).symlink_to(victim)
    diagnose_folder(folder)
    assert victim.read_text() == "mine"
    assert not (folder.path / "report.html").is_symlink()

    folder.figures.rename(tmp_path / "figures")
    folder.figures.symlink_to(outside)
    with pytest.raises(StoreError, match=r"figures is a symbolic link"):
        diagnose_folder(folder)
    assert list(outside.iterdir()) == [victim]

    (folder.path / "journal.lock").unlink()
    (folder.path / "journal.lock").symlink_to(victim)
    with pytest.raises(StoreError, match=r"journal\.lock is a symbolic link"):
        folder.open_journal()
    assert victim.read_text() == "mine"
    (folder.path / "journal.lock").unlink()

    (folder.path / "journal.jsonl").rename(outside / "journal.jsonl")
    (folder.path / "journal.jsonl").symlink_to(outside / "journal.jsonl")
    with pytest.raises(StoreError, match=r"journal\.jsonl is a symbolic link"):
        folder.open_journal()


def test_files_are_as_private_as_the_umask_says(tmp_path):
    modes = {}
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            folder = RunFolder(tmp_path / f"{mask:o}")
            folder.create(sweep_yaml="workload: digits\n")
            folder.open_journal().close()
            paths = [folder.path, *folder]
        finally:
            os.umask(before)
        modes[mask] = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths}
    assert set(modes[0o077].values()) == {0}
    assert modes[0o022]["sweep.yaml"] == 0o044


NAMES = [
    "x\n#SBATCH --wrap=id", "$(touch x)", "'\";", "../../x", "/etc/x", "<script>", "=cmd|'/c'!A0",
    "$\\undefined$", "n" * 300, "\u202eabc", "", ".", "-x",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_become_files_and_columns_are_identifiers(name):
    with pytest.raises(ConfigError, match="1 to 64 letters, digits"):
        TrainLoop(name=name, function=lambda config, report: None)
    with pytest.raises(ConfigError, match="must have axis names that match"):
        run_sweep(**{**SMALL, "parameters": {name: [1, 2]}})
    with pytest.raises(ConfigError):
        run_sweep(**{**SMALL, "parameters": {"capacity": [name, "b"]}})


@pytest.mark.parametrize("grouped", [False, True])
def test_names_in_somebody_elses_log_stay_text(tmp_path, grouped):
    import csv

    names = [*(name for name in NAMES if name.strip()), "NA", "nan", "null", "None"]
    path = tmp_path / "log.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "epoch", "train_loss", "val_loss", "where"])
        for name in names:
            for epoch in range(6):
                loss = 1 / (1 + epoch)
                writer.writerow([name, epoch, loss, loss + 0.1, name])
    result = diagnose(path, output=tmp_path / "out", group_by="where" if grouped else None)
    found = {str(name) for name in result.trials["trial_id"]}
    assert len(found) == len(names)
    assert {"NA", "nan", "null", "None"} <= found
    pages = [page.read_text() for page in (tmp_path / "out").rglob("*.html")]
    assert pages
    # Two scripts of ours, and one element of data at most.
    assert all(page.count("<script") <= 3 for page in pages)
    assert not any("<script></td>" in page or "<script> " in page for page in pages)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "out"]
    outside = [p for p in (tmp_path / "out").rglob("*") if p.is_symlink()]
    assert outside == []


@pytest.mark.ray
@pytest.mark.slow
def test_the_token_is_in_no_file_of_the_run(tmp_path, monkeypatch, caplog):
    from sweepdiag.execution import _ray_session

    tokens = []

    def remembered(n_bytes):
        tokens.append(os.urandom(n_bytes).hex())
        return tokens[-1]

    monkeypatch.setattr(_ray_session.secrets, "token_hex", remembered)
    caplog.set_level("DEBUG", logger="sweepdiag")
    run_sweep(output=tmp_path / "run", **{**SMALL, "execution": {"executor": "ray", "workers": 2}})
    (token,) = (t for t in tokens if len(t) == 64)
    assert token not in caplog.text
    for path in RunFolder(tmp_path / "run"):
        assert token.encode() not in path.read_bytes(), path

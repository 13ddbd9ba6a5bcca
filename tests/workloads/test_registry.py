from __future__ import annotations

import hashlib
import pickle
import sys
from importlib import metadata

import numpy as np
import pytest

from sweepdiag.errors import ConfigError, WorkloadError
from sweepdiag.workloads import (
    TrainLoop,
    Workload,
    load_workload,
    registry,
    source_hashes,
    workload_names,
)

BUILD = """
import numpy as np
from sweepdiag.workloads import TrainLoop, Workload

def model(capacity):
    from torch import nn
    return nn.Linear(3, 2)

def build(n_train=20, *, scale=1.0) -> Workload:
    x = np.ones((n_train, 3)) * scale
    return Workload(name="mine", train=(x, np.arange(n_train) % 2), model=model)
"""


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_loaded_with_parameters(user_folder):
    write(user_folder, "my.py", BUILD)
    workload = load_workload("my.py:build", {"n_train": 6, "scale": 3.0})
    assert isinstance(workload, Workload)
    assert workload.train[0].shape == (6, 3)
    assert workload.train[0][0, 0] == 3.0


def test_a_function_of_a_file_can_be_pickled_and_found_again(user_folder):
    write(user_folder, "my.py", BUILD)
    model = load_workload("my.py:build").model
    assert pickle.loads(pickle.dumps(model)) is model
    assert load_workload("my.py:build").model is model


def test_a_changed_file_is_run_again_even_within_the_same_second(user_folder):
    path = write(user_folder, "my.py", BUILD)
    assert load_workload("my.py:build").name == "mine"
    path.write_text(BUILD.replace("mine", "main"))
    assert load_workload("my.py:build").name == "main"


def test_files_of_the_same_name_do_not_meet(user_folder):
    write(user_folder, "a/my.py", BUILD)
    write(user_folder, "b/my.py", BUILD.replace("mine", "other"))
    assert load_workload("a/my.py:build").name == "mine"
    assert load_workload(f"{user_folder}/b/my.py:build").name == "other"


def test_a_file_imports_its_neighbours_also_late(user_folder):
    write(user_folder, "code/neighbour_one.py", "size = 4")
    write(user_folder, "code/neighbour_two.py", "size = 5")
    write(
        user_folder,
        "code/my.py",
        "from neighbour_one import size\n"
        + BUILD.replace("n_train=20", "n_train=size")
        + "\ndef train(config, report):\n    import neighbour_two\n"
        + "    return neighbour_two.size\n",
    )
    assert len(load_workload("code/my.py:build").train[1]) == 4
    assert load_workload("code/my.py:train").function({}, None) == 5


def test_a_module_of_the_current_folder_is_loaded(user_folder):
    write(user_folder, "my_package/__init__.py", "")
    write(user_folder, "my_package/my_module.py", BUILD)
    assert load_workload("my_package.my_module:build").name == "mine"
    assert load_workload("my_package.my_module:build", {"n_train": 8}).train[1].size == 8


def test_a_workload_or_loop_may_stand_in_the_file_itself(user_folder):
    write(
        user_folder,
        "my.py",
        BUILD + "\nready = build()\nloop = TrainLoop(name='l', "
        "function=lambda config, report: None)\n",
    )
    assert load_workload("my.py:ready").name == "mine"
    assert load_workload("my.py:loop").name == "l"


def test_a_function_of_config_and_report_is_a_training_loop(user_folder):
    write(user_folder, "my loop.py", "def train(config, report, scale=2):\n return scale\n")
    loop = load_workload("my loop.py:train")
    assert isinstance(loop, TrainLoop)
    assert loop.name == "my_loop.train"
    assert loop.version == "1"  # a changed file is noticed by its hash, and may be accepted
    assert loop.function({}, None) == 2
    assert load_workload("my loop.py:train", {"scale": 7}).function({}, None) == 7


def test_a_function_may_return_a_training_loop_with_axes(user_folder):
    text = BUILD + (
        "\ndef loop():\n    return TrainLoop(name='l', axes={'lr': (1e-3, 1.0)}, "
        "function=lambda config, report: None)\n"
    )
    write(user_folder, "my.py", text)
    assert load_workload("my.py:loop").axes == {"lr": (1e-3, 1.0)}


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("def build(a, b) -> 'Workload': ...", {}, "needs the parameters a, b"),
        ("def build(a): ...", {}, "needs the parameters a: .* exactly two, `config, report`"),
        ("def build(a, b, c): ...", {"a": 1}, "needs the parameters b, c"),
        ("def build(a, b): ...", {"a": 1}, "needs the parameters b"),
        ("def build(*, a, b): ...", {}, "needs the parameters a, b"),
        ("def build(): ...", {"a": 1}, "takes no parameters, got 'a'"),
        ("def build(size=1): ...", {"sise": 1}, r"'sise'. Did you mean 'size'\?"),
        ("def biuld(): ...", {}, r"unknown function 'build'. Did you mean 'biuld'\?"),
        ("", {}, "my.py has no 'build'$"),
    ],
)
def test_a_wrong_call_is_a_config_error(user_folder, text, parameters, message):
    write(user_folder, "my.py", text)
    with pytest.raises(ConfigError, match=message):
        load_workload("my.py:build", parameters)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("build = 3", "must be a function that returns a Workload, .* got int"),
        ("def build(): pass", r"must return a sweepdiag.Workload, got nothing \(is a return"),
        ("def build(): return {}", "must return a sweepdiag.Workload, got a dict"),
        (
            "x = 1\ny = x / 0",
            r"my.py: importing it failed at .*my.py:2: ZeroDivisionError: division by zero",
        ),
        ("def build(:", r"importing it failed at .*my.py:1: SyntaxError"),
        ("import not_there", "importing it failed .*:1: ModuleNotFoundError: .*'not_there'"),
        ("import sys\nsys.exit('no')", "importing it failed .*:2: SystemExit: no"),
        (
            "import numpy\ndef build():\n    return numpy.zeros(-1)",
            r"my.py:build: calling it failed at .*my.py:3: ValueError: negative dimensions",
        ),
        ("raise RuntimeError('two\\n  lines')", "my.py:1: RuntimeError: two lines"),
        ("from broken import x", r"importing it failed at .*broken.py:1: KeyError: 'k'"),
    ],
)
def test_an_error_in_user_code_is_told_with_its_place(user_folder, text, message):
    write(user_folder, "broken.py", "x = {}['k']")
    write(user_folder, "my.py", text)
    with pytest.raises(WorkloadError, match=message) as caught:
        load_workload("my.py:build")
    assert "\n" not in str(caught.value)


def test_a_file_whose_import_failed_is_tried_again(user_folder):
    path = write(user_folder, "my.py", "1 / 0")
    before = set(sys.modules)
    with pytest.raises(WorkloadError, match="ZeroDivisionError: division by zero"):
        load_workload("my.py:build")
    assert not [name for name in set(sys.modules) - before if name.startswith("sweepdiag_user_")]
    path.write_text(BUILD)
    assert load_workload("my.py:build").name == "mine"


def test_a_mistake_in_the_workload_itself_is_told_as_it_is(user_folder):
    write(user_folder, "my.py", BUILD.replace('"mine"', '"my net"'))
    with pytest.raises(ConfigError, match=r"^name must be text"):
        load_workload("my.py:build")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("digit", r"unknown workload 'digit'. Did you mean 'digits'\?"),
        ("nowhere.py:build", "workload file nowhere.py does not exist"),
        ("nowhere.py", "must name a function too: nowhere.py:build"),
        ("my.py:", "must be path/to/file.py:function or module:function"),
        (":build", "must be path/to/file.py:function or module:function"),
        ("no_such_module:build", "there is no Python module 'no_such_module'"),
        ("json.no_such:build", "there is no Python module 'json.no_such'"),
        ("json.decoder.no_such:build", "there is no Python module"),
        ("sys:build", "there is no Python module 'sys'"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_config_error(user_folder, reference, message):
    with pytest.raises(ConfigError, match=message):
        load_workload(reference)


def test_an_error_in_a_package_on_the_way_is_not_called_a_missing_module(user_folder):
    write(user_folder, "bad_package/__init__.py", "1 / 0")
    write(user_folder, "bad_package/inner.py", BUILD)
    with pytest.raises(WorkloadError, match=r"__init__.py:1: ZeroDivisionError"):
        load_workload("bad_package.inner:build")


def test_entry_points_are_found_by_name(user_folder, monkeypatch):
    write(user_folder, "plug_in_module.py", BUILD)
    point = metadata.EntryPoint("shiny", "plug_in_module:build", "sweepdiag.workloads")
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [point])
    assert workload_names() == ("digits", "fashion_mnist", "synthetic", "shiny")
    assert load_workload("shiny", {"n_train": 4}).name == "mine"
    assert list(source_hashes("shiny")) == ["plug_in_module.py"]


def test_built_in_names():
    assert workload_names()[:3] == ("digits", "fashion_mnist", "synthetic")
    assert source_hashes("digits") == {}
    assert load_workload("synthetic", {"n_features": 5}).train[0].shape[1] == 5


def test_hashes_name_the_file_and_the_neighbours_it_imports(user_folder):
    write(
        user_folder,
        "code/my.py",
        "import numpy\nimport one\n\ndef f():\n    from pack import two\n",
    )
    write(user_folder, "code/one.py", "import my\n")
    write(user_folder, "code/pack/__init__.py", "from . import three\n")
    write(user_folder, "code/pack/two.py", "from .sub.four import x\n")
    write(user_folder, "code/pack/three.py", "")
    write(user_folder, "code/pack/sub/four.py", "")
    write(user_folder, "code/unrelated.py", "")
    hashes = source_hashes("code/my.py:f")
    names = ["my", "one", "pack/__init__", "pack/sub/four", "pack/three", "pack/two"]
    assert list(hashes) == [f"code/{name}.py" for name in names]
    assert hashes["code/one.py"] == sha256(user_folder / "code/one.py")


def test_hashes_change_with_a_neighbour(user_folder):
    write(user_folder, "my.py", "from one import *")
    one = write(user_folder, "one.py", "x = 1")
    before = source_hashes("my.py:f")
    one.write_text("x = 2")
    after = source_hashes("my.py:f")
    assert before["my.py"] == after["my.py"]
    assert before["one.py"] != after["one.py"]


def test_hashes_of_a_module_are_relative_to_where_it_is_imported_from(user_folder):
    write(user_folder, "hashed_package/__init__.py", "")
    write(user_folder, "hashed_package/my.py", "from hashed_package import other")
    write(user_folder, "hashed_package/other.py", "")
    assert list(source_hashes("hashed_package.my:f")) == [
        "hashed_package/__init__.py",
        "hashed_package/my.py",
        "hashed_package/other.py",
    ]


def test_an_installed_package_is_hashed_without_its_dependencies():
    names = list(source_hashes("hypothesis.strategies:floats"))
    assert "hypothesis/strategies/__init__.py" in names
    assert all(name.startswith("hypothesis/") for name in names)


def test_sweepdiags_own_source_is_not_the_users(user_folder):
    (user_folder / "sweepdiag").symlink_to(registry.Path(registry.__file__).parents[1])
    write(user_folder, "my.py", "import sweepdiag\nfrom sweepdiag.workloads import Workload\n")
    assert list(source_hashes("my.py:build")) == ["my.py"]


def test_data_of_a_loaded_workload_are_arrays(user_folder):
    write(user_folder, "my.py", BUILD)
    assert isinstance(load_workload("my.py:build").train[0], np.ndarray)

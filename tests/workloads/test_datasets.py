from __future__ import annotations

import logging
import pickle
import random

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from sweepdiag.errors import WorkloadError
from sweepdiag.records import SplitSettings
from sweepdiag.workloads import StreamedSamples, prepare

INPUTS = np.random.default_rng(0).normal(size=(1300, 3)).astype(np.float32)
CLASSES = np.arange(1300) % 3
PARTS = ("train", "train_eval", "validation")
NOTHING = 0.0
PLENTY = 1.0


class Items(Dataset):
    """Items by a function, with a count of how often each was read."""

    def __init__(self, item=lambda n: (INPUTS[n], CLASSES[n]), n=60):
        self.item = item
        self.n = n
        self.n_read = np.zeros(n, dtype=int)

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        self.n_read[index] += 1
        return self.item(index)


class Labelled(Items):
    def __init__(self, targets, **arguments):
        super().__init__(**arguments)
        self.targets = targets


class Batched(Items):
    def __getitems__(self, indices):
        return [self.item(index) for index in indices]

    def __getitem__(self, index):
        raise AssertionError


def get(make_workload, train, *, memory_gb=PLENTY, seed=0, **changes):
    workload = make_workload(train=train, **changes)
    return prepare(workload, SplitSettings(seed=seed), memory_gb=memory_gb)


def contents(samples, size=7):
    parts = list(samples.chunks(size))
    assert all(len(inputs) == len(targets) <= size for inputs, targets in parts)
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def assert_same(some, others):
    for part in PARTS:
        for a, b in zip(
            contents(getattr(some, part)), contents(getattr(others, part)), strict=True
        ):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def kinds():
    tensors = TensorDataset(torch.from_numpy(INPUTS[:60]), torch.from_numpy(CLASSES[:60]))
    return {
        "items": Items(),
        "tensors": tensors,
        "numbers": Items(lambda n: (INPUTS[n].tolist(), int(CLASSES[n]))),
        "batched": Batched(),
        "doubles": Items(lambda n: (INPUTS[n].astype(float), torch.tensor(CLASSES[n]))),
        "subset": Subset(Items(n=1300), range(60)),
        "loader": DataLoader(Items(), batch_size=4, shuffle=True),
        "collated": DataLoader(Items(lambda n: n), collate_fn=lambda n: (INPUTS[n], CLASSES[n])),
    }


@pytest.mark.parametrize("memory_gb", [PLENTY, NOTHING], ids=["held", "streamed"])
@pytest.mark.parametrize("kind", kinds())
def test_items_give_the_samples_of_the_same_arrays(make_workload, kind, memory_gb):
    expected = get(make_workload, (INPUTS[:60], CLASSES[:60]))
    found = get(make_workload, kinds()[kind], memory_gb=memory_gb)
    assert isinstance(found.train, StreamedSamples) is (memory_gb == NOTHING)
    assert found.facts == expected.facts
    assert_same(found, expected)


@pytest.mark.parametrize("memory_gb", [PLENTY, NOTHING], ids=["held", "streamed"])
def test_a_validation_set_of_items(make_workload, memory_gb):
    arrays = (INPUTS[60:100], CLASSES[60:100])
    items = Items(lambda n: (INPUTS[60 + n], CLASSES[60 + n]), n=40)
    expected = get(make_workload, (INPUTS[:60], CLASSES[:60]), validation=arrays)
    for train in (Items(), (INPUTS[:60], CLASSES[:60])):
        found = get(make_workload, train, validation=items, memory_gb=memory_gb)
        assert_same(found, expected)


def test_a_set_that_fits_is_read_once(make_workload):
    items = Items()
    get(make_workload, items)
    tried = items.n_read > 1
    assert tried.sum() == 16
    assert (items.n_read[~tried] == 1).all()


def test_the_sets_own_targets_save_reading_the_items(make_workload):
    plain, labelled = Items(n=1300), Labelled(CLASSES.tolist(), n=1300)
    expected, found = (get(make_workload, items, memory_gb=NOTHING) for items in (plain, labelled))
    assert torch.equal(found.train.targets, expected.train.targets)
    assert plain.n_read.sum() == labelled.n_read.sum() + 1300


@pytest.mark.parametrize(
    "targets", [[1] * 60, CLASSES[:59], "no targets", np.full(60, 0.5)], ids=lambda t: type(t)
)
def test_targets_that_are_not_those_of_the_items_are_not_used(make_workload, targets):
    expected = get(make_workload, Items(), memory_gb=NOTHING)
    found = get(make_workload, Labelled(targets), memory_gb=NOTHING)
    assert torch.equal(found.train.targets, expected.train.targets)


def test_memory_changes_no_fingerprint(make_workload):
    for train in (Items(), (INPUTS, CLASSES)):
        held, streamed = (
            get(make_workload, train, memory_gb=memory_gb).fingerprint
            for memory_gb in (PLENTY, NOTHING)
        )
        assert held == streamed


def test_a_fingerprint_of_items_changes_with_targets_length_and_sampled_inputs(make_workload):
    relabelled = CLASSES.copy()
    relabelled[5] = 0
    variants = [
        Items(n=60),
        Items(n=59),
        Items(lambda n: (INPUTS[n], relabelled[n]), n=60),
        Items(lambda n: (2 * INPUTS[n], CLASSES[n]), n=60),
        Items(lambda n: (INPUTS[n] + (n == 30), CLASSES[n]), n=60),
    ]
    found = {get(make_workload, items).fingerprint for items in variants}
    assert len(found) == len(variants)


def test_evaluation_samples_are_held_first(make_workload):
    # 48 that train take 48 * (3 * 4 + 8) bytes; 12 and 12 that are evaluated 480.
    prepared = get(make_workload, Items(), memory_gb=500e-9)
    assert [isinstance(getattr(prepared, part), StreamedSamples) for part in PARTS] == [
        True,
        False,
        False,
    ]


def test_a_memory_map_is_streamed_from_the_disk(make_workload, tmp_path):
    inputs = np.lib.format.open_memmap(
        tmp_path / "inputs.npy", mode="w+", dtype=np.float64, shape=INPUTS.shape
    )
    inputs[:] = INPUTS
    inputs.flush()
    stored = np.load(tmp_path / "inputs.npy", mmap_mode="r")
    found = get(make_workload, (stored, CLASSES), memory_gb=NOTHING)
    assert np.shares_memory(found.train.part.rows.inputs, stored)
    assert_same(found, get(make_workload, (INPUTS, CLASSES)))


def test_samples_that_do_not_fit_on_a_device_are_streamed_to_it(make_workload):
    prepared = get(make_workload, Items())
    samples = prepared.train.to("cpu", room_bytes=prepared.train.n_bytes - 1)
    assert isinstance(samples, StreamedSamples)
    inputs, targets = samples.take(torch.tensor([5, 1, 5]))
    assert torch.equal(inputs, prepared.train.inputs[[5, 1, 5]])
    assert torch.equal(targets, prepared.train.targets[[5, 1, 5]])
    assert torch.equal(samples.examples, prepared.train.examples)


def test_what_did_not_fit_on_the_host_may_fit_on_a_device(make_workload):
    held = get(make_workload, (INPUTS, CLASSES)).train
    samples = get(make_workload, (INPUTS, CLASSES), memory_gb=NOTHING).train
    on_device = samples.to("meta", room_bytes=samples.n_bytes)
    assert on_device.inputs.device.type == on_device.targets.device.type == "meta"
    assert isinstance(samples.to("meta", room_bytes=samples.n_bytes - 1), StreamedSamples)
    assert isinstance(samples.to("cpu", room_bytes=samples.n_bytes), StreamedSamples)
    gathered = samples.gathered("cpu")
    assert torch.equal(gathered.inputs, held.inputs)
    assert torch.equal(gathered.targets, held.targets)


def test_streamed_samples_can_be_pickled(make_workload):
    tensors = TensorDataset(torch.from_numpy(INPUTS[:60]), torch.from_numpy(CLASSES[:60]))
    prepared = get(make_workload, tensors, memory_gb=NOTHING)
    copy = pickle.loads(pickle.dumps(prepared))
    assert_same(copy, prepared)


DRAWS = {
    "torch": lambda n: torch.randn(3).numpy(),
    "numpy": lambda n: np.random.normal(size=3).astype(np.float32),  # noqa: NPY002
    "python": lambda n: np.array([random.random()] * 3, dtype=np.float32),
}


@pytest.mark.parametrize("library", DRAWS)
def test_random_items_are_always_streamed_and_drawn_from_the_seed(make_workload, library, caplog):
    caplog.set_level(logging.INFO, logger="sweepdiag")
    draw = DRAWS[library]
    items = Items(lambda n: (INPUTS[n] + draw(n), CLASSES[n]))
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    prepared = get(make_workload, items)
    assert "train: reading an item draws random numbers" in caplog.text
    assert isinstance(prepared.train, StreamedSamples)
    assert torch.equal(*(contents(prepared.validation)[0] for _ in range(2)))
    places = np.arange(4)
    one, same, other_seed, other_step = (
        prepared.train.fetch(places, seed=seed, stream=stream)[0]
        for seed, stream in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other_seed)
    assert not torch.equal(one, other_step)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert str(np.random.get_state()) == states[2]  # noqa: NPY002
    assert get(make_workload, items).fingerprint == prepared.fingerprint


def test_random_numbers_that_nothing_seeds_are_refused(make_workload):
    own = np.random.default_rng(0)
    items = Items(lambda n: (INPUTS[n] + own.normal(), CLASSES[n]))
    with pytest.raises(WorkloadError, match="items of train differ from one reading to the next"):
        get(make_workload, items)


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(INPUTS, CLASSES, strict=True)


class WithoutLength(Dataset):
    def __getitem__(self, index):
        return INPUTS[index], CLASSES[index]


def bad_item(value, at=37):
    return Items(lambda n: value if n == at else (INPUTS[n], CLASSES[n]))


@pytest.mark.parametrize(
    ("train", "told"),
    [
        (Stream(), "map-style Dataset .* got Stream: minibatches are drawn by index"),
        (DataLoader(Stream()), "map-style Dataset .* got Stream: minibatches are drawn by index"),
        (WithoutLength(), "got WithoutLength"),
        (Items(n=0), "train must hold at least one sample, got an empty Items"),
        (INPUTS, r"pair \(inputs, targets\) or a map-style Dataset, got ndarray"),
        (Items(lambda n: INPUTS[n]), r"pairs \(input, target\), got ndarray as item 0"),
        (
            Items(lambda n: {"labels": 1, "pixel_values": INPUTS[n]}),
            r"got dict as item 0; return item\['pixel_values'\], item\['labels'\] of it; pack",
        ),
        (Items(lambda n: {"x": 1}), r"pairs \(input, target\), got dict as item 0; pack several"),
        (
            Items(lambda n: ({"a": INPUTS[n], "b": INPUTS[n]}, CLASSES[n])),
            r"got dict in item 0: pack several .* loop of your own, train\(config, report\)",
        ),
        (
            ((INPUTS, INPUTS[:, :1]), CLASSES),
            r"train inputs must be one tensor or NumPy array, got tuple of 2: pack several",
        ),
        (
            DataLoader(
                Items(lambda n: (np.ones(1 + n % 59, np.float32), CLASSES[n]), n=600),
                collate_fn=lambda items: (
                    pad_sequence([torch.tensor(x) for x, _ in items], batch_first=True),
                    [y for _, y in items],
                ),
            ),
            r"one batch has float32 of shape .* sequences to one length for all batches",
        ),
        (bad_item((1, 2, 3)), r"pairs \(input, target\), got tuple of 3 as item 37"),
        (bad_item(("text", 1)), "inputs of train must be tensors, arrays or numbers, got str in"),
        (bad_item((INPUTS[0], None)), "targets of train must be tensors, .* got NoneType in item"),
        (bad_item((INPUTS[0, :2], 1)), r"item 0 has float32 of shape \(3,\), item 37 .* \(2,\)"),
        (
            bad_item((INPUTS[0] * np.nan, 1)),
            "train inputs must be finite .* the first at index 37",
        ),
        (bad_item((INPUTS[0], -1)), "class numbers from 0, got -1 at index 37"),
        (
            Items(lambda n: (np.zeros(3, dtype=np.uint8), CLASSES[n])),
            "uint8, which may mean pixels or tokens",
        ),
        (Items(lambda n: (INPUTS[n], 0.5)), "must be integers"),
        (Items(lambda n: (INPUTS[n], 1)), "train targets are all 1: there is nothing to learn"),
        (
            Items(lambda n: (INPUTS[n], [CLASSES[n]][n == 37])),
            r"item 37 of train could not be read: IndexError",
        ),
        (
            DataLoader(Items(), collate_fn=lambda items: (INPUTS[:3], CLASSES[:3])),
            "collate_fn of train must keep the number of samples, got 3 inputs and 3 targets of",
        ),
        (
            DataLoader(Items(), collate_fn=lambda items: {}),
            r"collate_fn of train must return a pair \(inputs, targets\), got dict",
        ),
        (
            DataLoader(Items(), collate_fn=lambda items: items.missing),
            "collate_fn of train failed with items 0, .* AttributeError",
        ),
    ],
)
@pytest.mark.parametrize("memory_gb", [PLENTY, NOTHING], ids=["held", "streamed"])
def test_what_cannot_be_trained_on_is_refused(make_workload, train, told, memory_gb):
    with pytest.raises(WorkloadError, match=told):
        get(make_workload, train, memory_gb=memory_gb)


def test_validation_items_unlike_those_that_train_are_refused(make_workload):
    wide = Items(lambda n: (np.zeros(4, dtype=np.float32), CLASSES[n]))
    with pytest.raises(WorkloadError, match=r"validation inputs must be like train inputs"):
        get(make_workload, Items(), validation=wide)


def test_one_item_cannot_be_split_but_trained(make_workload):
    with pytest.raises(WorkloadError, match=r"one sample only\); pass validation"):
        get(make_workload, Items(n=1))
    for memory_gb in (PLENTY, NOTHING):
        prepared = get(make_workload, Items(n=1), validation=Items(), memory_gb=memory_gb)
        assert (prepared.facts.n_train, prepared.facts.n_train_eval) == (1, 1)
        assert contents(prepared.train_eval)[0].shape == (1, 3)


def test_what_a_loader_brings_and_is_not_used_is_logged(make_workload, caplog):
    caplog.set_level(logging.WARNING, logger="sweepdiag")
    get(make_workload, DataLoader(Items(), batch_size=4, shuffle=True))
    assert not caplog.text
    sampler = WeightedRandomSampler([1.0] * 60, 60)
    get(make_workload, DataLoader(Items(), sampler=sampler))
    assert "train: not used of its DataLoader: sampler WeightedRandomSampler" in caplog.text


def test_how_many_samples_a_workload_has(make_workload):
    for train in (Items(), DataLoader(Items()), (INPUTS[:60], CLASSES[:60])):
        assert make_workload(train=train).n_samples == 60

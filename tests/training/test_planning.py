"""Plans are measured once, remembered where everything is the same, and may be decided by hand."""

import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

from sweepdiag.records import PackSettings, TrainingSettings
from sweepdiag.training import PackTrainer, planning, threads, timed_trial
from sweepdiag.training.members import common_timetable
from sweepdiag.training.numerics import reproducible_cpu, tiny_numbers_as_zero
from sweepdiag.training.openmp import can_share_modes, on_threads, share_modes
from sweepdiag.training.plans import Tier
from tests.training.conftest import assert_same_bits, curves, mlp, pack, prepared, trial

TRIALS = [trial(lr, seed=seed) for lr in (0.01, 0.1) for seed in (0, 1)]
FUSED = pytest.mark.usefixtures("_fusing_pays")


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SWEEPDIAG_CACHE_DIR", str(tmp_path))
    return tmp_path / "plans"


@pytest.fixture
def n_probes(monkeypatch):
    """Count how often something is measured."""
    probed, real = [], planning.probe

    def counted(*arguments, **options):
        probed.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(planning, "probe", counted)
    return lambda: len(probed)


def trainer(model=mlp, *, packing=None, epochs=2, room_bytes=float("inf"), **settings):
    return PackTrainer(
        prepared=prepared(model),
        settings=TrainingSettings(epochs=epochs, **settings),
        device="cpu",
        packing=packing,
        room_bytes=lambda: room_bytes,
    )


def train_with(found, trials=TRIALS):
    return curves([event for events in found.train(pack(*trials)) for event in events])


@FUSED
def test_a_later_run_measures_nothing_and_has_the_same_curves(cache, n_probes):
    first = trainer()
    expected = train_with(first)
    assert n_probes() == 1
    second = trainer()
    assert_same_bits(train_with(second), expected)
    assert n_probes() == 1
    ours, theirs = second.plan(pack(*TRIALS)), first.plan(pack(*TRIALS))
    assert ours.is_remembered
    assert not theirs.is_remembered
    assert "measured by an earlier run" in str(ours)
    for name in ("tier", "width", "step_s", "evaluation_s", "speedup", "n_parameters", "reason"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.tier is Tier.TRACED


@FUSED
def test_nothing_is_remembered_if_that_is_turned_off(monkeypatch, cache, n_probes):
    monkeypatch.setenv("SWEEPDIAG_CACHE_DIR", "off")
    train_with(trainer())
    train_with(trainer())
    assert n_probes() == 2
    assert not cache.exists()


def made(forward):
    scope = {"nn": nn, "torch": torch, "__name__": "a_users_module"}
    source = f"""
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 3)
    def forward(self, x):
        return {forward}
"""
    exec(source, scope)
    return scope["Net"]


@FUSED
def test_an_edited_forward_of_the_same_name_is_measured_again(cache, n_probes):
    for forward in ("self.layer(x)", "self.layer(x).tanh()", "self.layer(x)"):
        train_with(trainer(made(forward)))
    assert n_probes() == 2


@FUSED
def test_what_could_not_be_fused_is_tried_again_once_edited(cache, n_probes, caplog):
    deciding, plain = (
        "self.layer(x) if self.layer(x).sum() > 0 else -self.layer(x)",
        "self.layer(x)",
    )
    for n, forward in enumerate((deciding, deciding, plain)):
        found = trainer(made(forward))
        train_with(found)
        expected = Tier.UNFUSED if forward == deciding else Tier.TRACED
        assert found.plan(pack(*TRIALS)).tier is expected, n
    assert n_probes() == 2
    # Said in both runs, also where it is remembered.
    assert sum("cannot be fused" in record.message for record in caplog.records) == 2


@FUSED
def test_another_program_than_the_measured_one_is_measured_again(monkeypatch, cache, n_probes):
    train_with(trainer())
    # The last line of defence: whatever the key has missed.
    monkeypatch.setattr(planning, "digest", lambda _: "0" * 64)
    train_with(trainer())
    train_with(trainer())
    assert n_probes() == 2
    found = trainer(lambda: nn.Sequential(mlp(), nn.Tanh()))
    train_with(found)
    assert n_probes() == 3
    assert not found.plan(pack(*TRIALS)).is_remembered


@FUSED
def test_a_remembered_plan_that_takes_more_than_there_is_is_measured_again(cache, n_probes):
    roomy = trainer()
    expected = train_with(roomy)
    (path,) = cache.iterdir()
    kept = path.read_text()
    tight = trainer(room_bytes=roomy.plan(pack(*TRIALS)).memory.of(3) / 1000)
    assert_same_bits(train_with(tight), expected)
    assert n_probes() == 2
    assert not tight.plan(pack(*TRIALS)).is_lasting
    assert path.read_text() == kept
    assert trainer().plan(pack(*TRIALS)).is_remembered
    assert trainer().plan(pack(*TRIALS)).memory == roomy.plan(pack(*TRIALS)).memory


@FUSED
def test_what_was_tried_without_memory_is_not_remembered(monkeypatch, cache, n_probes):
    real = timed_trial.make_program

    def small(model, members, **arguments):
        if len(members) > 3:
            raise MemoryError
        return real(model, members, **arguments)

    with monkeypatch.context() as patched:
        patched.setattr(timed_trial, "make_program", small)
        assert trainer().plan(pack(*TRIALS)).tier is Tier.TRACED
    assert n_probes() == 2
    assert not cache.exists()


def test_fewer_members_that_are_tried_still_differ_where_they_are_compared():
    made = trainer()
    members = [made._build(t, 1) for t in TRIALS * 2]
    timetable = common_timetable(TRIALS, made._prepared, made._settings)
    trial_ = timed_trial.TimedTrial(members, made._prepared, timetable, "cpu")
    compared = [members[place].model for place in timed_trial.compared_places(8)]
    trial_.limit(5)
    places = timed_trial.compared_places(5)
    assert [trial_._members[place].model for place in places] == compared
    assert len({id(member.model) for member in trial_._members}) == 5


def test_packs_that_take_turns_each_have_their_threads(monkeypatch):
    seen = []

    class Watched(nn.Linear):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x)

    monkeypatch.setattr(planning, "best_threads", lambda *_, **__: (2, "as told"))
    before = torch.get_num_threads()
    found = trainer(lambda: Watched(12, 3), packing=PackSettings(tier="unfused", threads=2))
    found.plan(pack(*TRIALS))
    seen.clear()
    turns = [found.train(pack(*TRIALS[:3])), found.train(pack(*TRIALS[1:]))]
    for _ in range(4):
        for events in turns:
            next(events)
            assert torch.get_num_threads() == before
    assert set(seen[len(seen) // 2 :]) == {2}
    for events in turns:
        events.close()


BROKEN = {
    "tier": "FASTEST",
    "width": -1,
    "step_s": "quick",
    "untrained": None,
    "memory": {"member_bytes": "much"},
    "digests": {},
    "is_exact": False,
}


@FUSED
@pytest.mark.parametrize("name", BROKEN)
def test_a_plan_with_a_broken_part_is_measured_again(cache, n_probes, name):
    expected = train_with(trainer())
    (path,) = cache.iterdir()
    entry = json.loads(path.read_text())
    entry["value"][name] = BROKEN[name]
    path.write_text(json.dumps(entry))
    assert_same_bits(train_with(trainer()), expected)
    assert n_probes() == 2


@FUSED
def test_a_plan_is_for_its_number_of_members(cache, n_probes):
    train_with(trainer())
    train_with(trainer(), TRIALS[:3])
    assert n_probes() == 2


def test_what_rests_on_the_numbers_is_not_remembered(cache, n_probes):
    class Lost(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(12, 3)

        def forward(self, x):
            return self.layer(x) * float("nan")

    train_with(trainer(Lost))
    train_with(trainer(Lost))
    assert n_probes() == 2
    assert not cache.exists()


# --- decided by hand ---


@pytest.mark.parametrize("tier", ["traced", "unfused"])
def test_a_tier_that_is_asked_for_is_taken_whatever_its_speed(monkeypatch, tier):
    monkeypatch.setattr("sweepdiag.training.timed_trial._CLEARLY_LESS", 0.0)  # fusing never pays
    assert trainer().plan(pack(*TRIALS)).tier is Tier.UNFUSED
    found = trainer(packing=PackSettings(tier=tier))
    assert found.plan(pack(*TRIALS)).tier is Tier[tier.upper()]
    assert_same_bits(train_with(found), train_with(trainer()))


def test_fused_without_tracing_may_be_asked_for_where_bits_may_differ():
    found = trainer(packing=PackSettings(tier="vmap"), numerics="fast")
    assert found.plan(pack(*TRIALS)).tier is Tier.VMAP


class Wrong(nn.Module):
    """Gives other numbers under vmap than alone."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 3)

    def forward(self, x):
        is_fused = torch._C._functorch.maybe_get_level(self.layer.weight) > 0
        return self.layer(x) * (1.001 if is_fused else 1.0)


@pytest.mark.parametrize("tier", ["traced", "vmap"])
def test_a_tier_that_changes_bits_is_refused_with_the_reason(caplog, tier):
    found = trainer(Wrong, packing=PackSettings(tier=tier))
    assert found.plan(pack(*TRIALS)).tier is Tier.UNFUSED
    (record,) = [r for r in caplog.records if r.name.startswith("sweepdiag")]
    assert record.levelno == logging.WARNING
    assert f"execution.tier={tier} is not followed" in record.message
    assert "changes the curve's bits" in record.message


@FUSED
def test_a_width_that_is_asked_for_is_taken():
    found = trainer(packing=PackSettings(width=3))
    assert found.plan(pack(*TRIALS)).width == 3
    assert_same_bits(train_with(found), train_with(trainer()))
    wide = trainer(packing=PackSettings(width=9)).plan(pack(*TRIALS))
    assert wide.wanted_width(len(TRIALS)) == len(TRIALS)
    assert wide.wanted_width(200) == 9


# --- threads ---


def large(capacity=512):
    return nn.Sequential(
        nn.Linear(12, capacity), nn.ReLU(), nn.Linear(capacity, capacity), nn.Linear(capacity, 3)
    )


def test_tiny_numbers_count_as_zero_on_all_threads():
    if not can_share_modes(2):
        pytest.skip("threads cannot be told here")
    tiny = torch.full((2**18,), 1e-30)
    with reproducible_cpu(), on_threads(2):
        share_modes()
        assert (tiny * 1e-10).all()
        with tiny_numbers_as_zero():
            assert not (tiny * 1e-10).any()
        assert (tiny * 1e-10).all()


def test_more_threads_are_taken_where_they_are_faster_and_keep_the_bits(monkeypatch):
    if not can_share_modes(2):
        pytest.skip("threads cannot be told here")
    monkeypatch.setattr(threads, "_CLEARLY_LESS", float("inf"))
    monkeypatch.setattr(threads, "_LONG_STEP_S", 0.0)
    found = trainer(large)
    assert found.plan(pack(*TRIALS)).threads == 1
    expected = train_with(found)
    found.most_threads = 2
    plan = found.plan(pack(*TRIALS))
    assert plan.threads == 2 or "change the curve's bits" in plan.reason
    assert_same_bits(train_with(found), expected)


def test_threads_that_do_not_pay_are_not_taken_and_not_tried_twice(monkeypatch, cache):
    monkeypatch.setattr(threads, "_CLEARLY_LESS", 0.0)
    monkeypatch.setattr(threads, "_LONG_STEP_S", 0.0)
    tried, real = [], planning.best_threads
    monkeypatch.setattr(planning, "best_threads", lambda *a, **k: tried.append(1) or real(*a, **k))
    for _ in range(2):
        found = trainer(large)
        found.most_threads = 2
        assert found.plan(pack(*TRIALS)).threads == 1
    assert len(tried) == 1


def test_short_steps_stay_on_one_thread(monkeypatch):
    monkeypatch.setattr(planning, "best_threads", lambda *_, **__: pytest.fail("was tried"))
    monkeypatch.setattr(threads, "_LONG_STEP_S", 1.0)
    found = trainer()
    found.most_threads = 2
    assert found.plan(pack(*TRIALS)).threads == 1


@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_threads_that_change_bits_are_refused_under_exact(monkeypatch, caplog, numerics):
    monkeypatch.setattr(threads, "have_same_bits", lambda *_: False)
    monkeypatch.setattr(threads, "can_share_modes", lambda _: True)
    found = trainer(packing=PackSettings(threads=2), numerics=numerics)
    plan = found.plan(pack(*TRIALS))
    if numerics == "exact":
        assert plan.threads == 1
        assert "execution.threads=2 is not followed" in caplog.text
        assert "2 threads change the curve's bits" in caplog.text
    else:
        assert plan.threads == 2


def test_more_threads_are_refused_where_tiny_numbers_would_not_be_zero(monkeypatch, caplog):
    monkeypatch.setattr(threads, "can_share_modes", lambda _: False)
    found = trainer(packing=PackSettings(threads=2))
    assert found.plan(pack(*TRIALS)).threads == 1
    assert "tiny numbers" in caplog.text
    assert np.isfinite(found.plan(pack(*TRIALS)).step_s)


def test_how_many_threads_are_tried():
    assert list(threads._doubled(2)) == [2]
    assert list(threads._doubled(3)) == [2, 3]
    assert list(threads._doubled(16)) == [2, 4, 8, 16]

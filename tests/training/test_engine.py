import logging
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from sweepdiag.records import (
    OptimizerSettings,
    State,
    TrainingSettings,
    TrialEnded,
    TrialStarted,
)
from sweepdiag.training import PackTrainer
from sweepdiag.training import engine as engine_module
from sweepdiag.training.memory import MemoryNeed
from sweepdiag.training.planning import Planner
from sweepdiag.training.plans import Plan, Tier
from sweepdiag.training.schedules import rate_factors
from sweepdiag.training.seeds import batch_indices, seeded
from tests.training.cases import MIXED, OPTIMIZERS, SCHEDULES, train_by
from tests.training.conftest import (
    assert_same_bits,
    classes,
    curves,
    mlp,
    pack,
    prepared,
    train,
    trial,
)


def train_by_hand(t, workload, s):
    """Train one trial as anybody would write it, and return its final weights."""
    with seeded(t.seed, "weights"):
        model = workload.model(**{k: v for k, v in t.axes.items() if k == "capacity"})
    o = s.optimizer
    make = {
        "sgd": lambda p: torch.optim.SGD(
            p, lr=0.0, momentum=o.momentum, nesterov=o.nesterov, weight_decay=o.weight_decay
        ),
        "adam": lambda p: torch.optim.Adam(p, lr=0.0, weight_decay=o.weight_decay),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.0, weight_decay=o.weight_decay),
    }
    optimizer = make[o.name](model.parameters())
    n, batch_size = len(workload.train.targets), t.axes["batch_size"]
    steps_per_epoch = n // batch_size
    factors = rate_factors(s.schedule, epochs=s.epochs, steps_per_epoch=steps_per_epoch)
    losses = []
    for step in range(s.epochs * steps_per_epoch):
        (rows,) = batch_indices(t.seed, step, step + 1, batch_size=batch_size, n_samples=n)
        for group in optimizer.param_groups:
            group["lr"] = t.axes["lr"] * factors[step]
        optimizer.zero_grad()
        loss = functional.cross_entropy(
            model(workload.train.inputs[rows]), workload.train.targets[rows]
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        val_losses = functional.cross_entropy(
            model(workload.validation.inputs), workload.validation.targets, reduction="none"
        )
    return sum(val_losses.double().tolist()) / len(val_losses), float(
        np.mean(losses[-steps_per_epoch:])
    )


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.name}-{o.momentum}")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_fused_training_ends_where_plain_pytorch_does(optimizer, schedule, caplog):
    caplog.set_level(logging.INFO, logger="sweepdiag")
    s = TrainingSettings(optimizer=optimizer, schedule=schedule, epochs=3)
    workload = prepared()
    trials = [
        trial(lr, seed=seed, capacity=16)
        for lr in np.geomspace(1e-3, 1.0 if optimizer.name == "sgd" else 0.1, 4)
        for seed in (0, 1)
    ]
    found = curves(train(pack(*trials), workload=workload, settings=s))
    for t in trials:
        val_loss, running = train_by_hand(t, workload, s)
        last = found[t.trial_id, 1][-1]
        assert last[3] == float(f"{val_loss:.9g}")  # the same bits, as recorded
        assert last[4] == pytest.approx(running, rel=1e-6)  # PyTorch's mean rounds differently


def test_fusing_an_mlp_changes_no_bits():
    trainer = PackTrainer(prepared=prepared(), settings=TrainingSettings(epochs=3), device="cpu")
    list(trainer.train(pack(*(trial(lr, capacity=16) for lr in np.geomspace(1e-3, 1, 12)))))
    (choice,) = trainer._plans.values()
    # Whether it also pays is for this machine to say; that it is exact is not.
    assert choice.tier is not Tier.UNFUSED or "does not pay" in choice.reason


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.floats(1e-4, 30.0), min_size=1, max_size=7, unique=True),
    st.sampled_from([1, 3, 8, 16]),
    st.sampled_from([7, 16, 96]),
    st.data(),
)
def test_a_curve_does_not_depend_on_its_pack(lrs, capacity, batch_size, data):
    workload = prepared()
    trials = [trial(lr, capacity=capacity, batch_size=batch_size) for lr in lrs]
    together = curves(train(pack(*trials), workload=workload))
    cut = data.draw(st.integers(0, len(trials) - 1))
    apart = {}
    for part in (trials[cut:], trials[:cut][::-1]):
        if part:
            apart |= curves(train(pack(*part), workload=workload))
    assert_same_bits(together, apart)


@pytest.mark.parametrize("task", ["regression", "binary"])
def test_other_tasks_do_not_depend_on_their_pack_either(task):
    inputs, targets = classes()
    workload = prepared(
        model=lambda capacity: mlp(capacity, n_classes=1),
        train=(inputs, (targets > 0).astype(np.float32) * (2.5 if task == "regression" else 1)),
        task=task,
    )
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.03, 0.1)]
    together = curves(train(pack(*trials), workload=workload))
    alone = {k: v for t in trials for k, v in curves(train(pack(t), workload=workload)).items()}
    assert_same_bits(together, alone)


def test_per_member_momentum_and_weight_decay_give_the_curves_they_give_alone():
    trials = [trial(0.05, momentum=m, weight_decay=w) for m in (0.0, 0.9) for w in (0.0, 0.1)]
    together = curves(train(pack(*trials)))
    alone = {k: v for t in trials for k, v in curves(train(pack(t))).items()}
    assert_same_bits(together, alone)
    assert len({tuple(c[-1]) for c in together.values()}) == 4


@pytest.mark.parametrize("bad", [1e30, 1e4])
def test_a_diverging_member_leaves_the_others_as_they_are(bad):
    good = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    with_bad = train(pack(good[0], trial(bad, capacity=16), good[1]))
    without = train(pack(*good))
    found = curves(with_bad)
    assert_same_bits(
        {k: v for k, v in found.items() if k[0] != trial(bad, capacity=16).trial_id},
        curves(without),
    )
    ended = {e.trial_id: e.state for e in with_bad if isinstance(e, TrialEnded)}
    assert set(ended.values()) == {State.FINISHED}  # divergence is data, not an error


def test_a_loss_that_is_nan_from_the_start_finishes_with_all_its_points():
    def model(capacity):
        network = mlp(capacity)
        with torch.no_grad():
            network[0].weight.fill_(math.nan)
        return network

    events = train(pack(trial(capacity=4), trial(0.2, capacity=4)), workload=prepared(model))
    for curve in curves(events).values():
        assert np.isnan(curve[:, 2:4]).all()
        assert len(curve) == 4


def test_evaluations_stand_at_zero_and_after_each_epoch():
    (curve,) = curves(train(pack(trial(batch_size=20)))).values()
    steps = 96 // 20
    np.testing.assert_array_equal(curve[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(curve[:, 1], [0, steps, 2 * steps, 3 * steps])
    assert np.isnan(curve[0, 4])


def test_evaluations_every_n_steps_end_with_the_last_step():
    s = TrainingSettings(epochs=2, evaluate_every_steps=5)
    (curve,) = curves(train(pack(trial(batch_size=16)), settings=s)).values()
    np.testing.assert_array_equal(curve[:, 1], [0, 5, 10, 12])
    np.testing.assert_allclose(curve[:, 0], np.array([0, 5, 10, 12]) / 6)


def test_evaluating_more_often_does_not_change_the_training():
    often = TrainingSettings(epochs=2, evaluate_every_steps=1)
    some = curves(train(pack(trial(), trial(0.2)), settings=TrainingSettings(epochs=2)))
    more = curves(train(pack(trial(), trial(0.2)), settings=often))
    for key, curve in some.items():
        np.testing.assert_array_equal(curve[:, 3], more[key][::6, 3])


def test_batch_norm_is_trained_with_its_buffers():
    def model(capacity):
        return torch.nn.Sequential(
            torch.nn.Linear(12, capacity),
            torch.nn.BatchNorm1d(capacity),
            torch.nn.ReLU(),
            torch.nn.Linear(capacity, 3),
        )

    workload = prepared(model)
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1, 1.0)]
    together = curves(train(pack(*trials), workload=workload))
    alone = {k: v for t in trials for k, v in curves(train(pack(t), workload=workload)).items()}
    assert_same_bits(together, alone)
    assert together[trials[1].trial_id, 1][-1, 3] < 0.5


def test_dropout_draws_the_same_numbers_in_any_pack(monkeypatch):
    def model(capacity):
        return torch.nn.Sequential(mlp(capacity), torch.nn.Dropout(0.0), torch.nn.Dropout(0.3))

    workload = prepared(model)
    trials = [trial(lr, seed=seed, capacity=16) for lr in (0.1, 0.2) for seed in (0, 1)]
    alone = train_by(monkeypatch, Tier.UNFUSED, pack(*trials), workload)
    assert_same_bits(train_by(monkeypatch, Tier.TRACED, pack(*trials), workload), alone)
    assert_same_bits(train_by(monkeypatch, Tier.TRACED, pack(*trials[1:3]), workload), {
        key: curve for key, curve in alone.items() if key[0] in {t.trial_id for t in trials[1:3]}
    })  # fmt: skip


def test_a_loss_of_the_users_own_gives_the_same_curve_in_any_pack():
    def loss(outputs, targets):
        return functional.cross_entropy(outputs, targets, label_smoothing=0.1)

    workload = prepared(loss=loss)
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1, 1.0)]
    together = curves(train(pack(*trials), workload=workload))
    alone = {k: v for t in trials for k, v in curves(train(pack(t), workload=workload)).items()}
    assert_same_bits(together, alone)


def states(events):
    return {
        event.trial_id: (event.state, event.reason)
        for event in events
        if isinstance(event, TrialEnded)
    }


def test_a_model_that_cannot_be_built_fails_alone():
    def model(capacity, flavour):
        if flavour == "bad":
            message = "no such flavour"
            raise ValueError(message)
        return mlp(capacity)

    events = train(
        pack(trial(capacity=4, flavour="good"), trial(capacity=4, flavour="bad")),
        workload=prepared(model),
    )
    (good, bad) = sorted(states(events).values())[::-1]
    assert good == (State.FINISHED, "")
    assert bad[0] is State.FAILED
    assert re.search(r"ValueError: no such flavour \(test_engine.py:\d+\)$", bad[1])


def test_a_forward_that_raises_fails_every_trial_with_its_traceback():
    class Broken(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(12, 3)

        def forward(self, x):
            if self.training:
                message = "broken"
                raise RuntimeError(message)
            return self.layer(x)

    events = train(pack(trial(), trial(0.2)), workload=prepared(Broken))
    assert {state for state, _ in states(events).values()} == {State.FAILED}
    assert all("RuntimeError: broken" in reason for _, reason in states(events).values())
    assert all(len(reason) <= 2048 for _, reason in states(events).values())


def test_outputs_of_the_wrong_shape_are_a_message():
    events = train(pack(trial()), workload=prepared(lambda: torch.nn.Linear(12, 2)))
    ((state, reason),) = states(events).values()
    assert state is State.FAILED
    assert "n_classes of at least 3" in reason


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_out_of_memory_halves_the_pack_and_goes_on(monkeypatch, error):
    real, sizes = engine_module.make_program, []

    def small(model, members, **arguments):
        sizes.append(len(members))
        if len(members) > 2:
            raise error
        return real(model, members, **arguments)

    workload = prepared()
    trials = [trial(lr, capacity=16) for lr in np.geomspace(0.01, 1, 8)]
    expected = curves(train(pack(*trials), workload=workload))
    monkeypatch.setattr(engine_module, "make_program", small)
    events = train(pack(*trials), workload=workload)
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert {state for state, _ in states(events).values()} == {State.FINISHED}
    found = {(key[0], 1): curve for key, curve in curves(events).items()}
    assert_same_bits(found, expected)


def test_one_training_that_does_not_fit_ends_as_out_of_memory(monkeypatch):
    def never(*_, **__):
        raise MemoryError

    monkeypatch.setattr(engine_module, "make_program", never)
    assert [state for state, _ in states(train(pack(trial()))).values()] == [State.OUT_OF_MEMORY]


def test_every_trial_starts_and_ends_once():
    trials = [trial(lr) for lr in (0.1, 0.2, 0.3)]
    events = train(pack(*trials))
    started = [e for e in events if isinstance(e, TrialStarted)]
    assert [e.trial_id for e in started] == [t.trial_id for t in trials]
    assert all(e.n_parameters == 203 for e in started)  # 12*8+8 + 8*8+8 + 8*3+3
    assert len(states(events)) == 3


def test_an_estimate_adds_up_steps_and_evaluations(monkeypatch):
    need = MemoryNeed(shared_bytes=0.0, member_bytes=1.0)
    found = Plan(tier=Tier.TRACED, reason="", step_s=2.0, evaluation_s=0.5, memory=need)
    monkeypatch.setattr(Planner, "plan", lambda *_, **__: found)
    trainer = PackTrainer(prepared=prepared(), settings=TrainingSettings(epochs=4), device="cpu")
    packed = pack(*(trial(lr) for lr in (0.01, 0.1, 1.0)))
    # 3 members, 4 epochs of 96 // 16 steps, evaluations at 0 and after each epoch
    assert trainer.estimate_seconds([packed]) == [3 * (4 * 6 * 2.0 + 5 * 0.5)]


def test_a_model_that_cannot_run_counts_as_no_time():
    trainer = PackTrainer(
        prepared=prepared(lambda: torch.nn.Linear(5, 3)), settings=TrainingSettings(), device="cpu"
    )
    assert trainer.estimate_seconds([pack(trial())]) == [0.0]


@pytest.mark.parametrize("tier", [Tier.TRACED, Tier.VMAP])
@pytest.mark.parametrize("nesterov", [False, True])
def test_every_fused_tier_gives_the_bits_of_the_unfused_one(monkeypatch, tier, nesterov):
    s = TrainingSettings(optimizer=OptimizerSettings(nesterov=nesterov), epochs=4)
    alone = train_by(monkeypatch, Tier.UNFUSED, pack(*MIXED), settings=s)
    assert_same_bits(train_by(monkeypatch, tier, pack(*MIXED), settings=s), alone)


@pytest.mark.parametrize(("task", "capacity"), [("regression", 16), ("classification", 3)])
def test_small_products_are_exact_one_by_one(monkeypatch, task, capacity):
    inputs, targets = classes()
    if task != "classification":
        targets = (targets > 0).astype(np.float32)
    n_outputs = 3 if task == "classification" else 1
    workload = prepared(
        model=lambda capacity: mlp(capacity, n_classes=n_outputs),
        train=(inputs, targets),
        task=task,
    )
    trials = [trial(lr, capacity=capacity, batch_size=7) for lr in (0.01, 0.05, 0.1)]
    alone = train_by(monkeypatch, Tier.UNFUSED, pack(*trials), workload)
    assert_same_bits(train_by(monkeypatch, Tier.TRACED, pack(*trials), workload), alone)


def test_a_pack_in_narrower_parts_gives_the_same_curves(monkeypatch):
    trials = [trial(lr, capacity=16) for lr in np.geomspace(0.01, 1.0, 7)]
    whole = train_by(monkeypatch, Tier.TRACED, pack(*trials))
    assert_same_bits(train_by(monkeypatch, Tier.TRACED, pack(*trials), width=3), whole)


def frozen_model(capacity):
    network = mlp(capacity)
    network[0].requires_grad_(False)
    return network


def test_frozen_parameters_stay_frozen_when_fused(monkeypatch):
    workload = prepared(frozen_model)
    trials = [trial(lr, capacity=16) for lr in (0.01, 0.1)]
    alone = train_by(monkeypatch, Tier.UNFUSED, pack(*trials), workload)
    assert_same_bits(train_by(monkeypatch, Tier.TRACED, pack(*trials), workload), alone)


def test_a_fusion_that_changes_gradients_is_refused_whatever_the_rates(monkeypatch):
    class Wrong(torch.nn.Module):
        """Has another gradient under vmap than alone."""

        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(12, 3)

        def forward(self, x):
            is_fused = torch._C._functorch.maybe_get_level(self.layer.weight) > 0
            out = self.layer(x)
            return out + 0.01 * (out - out.detach()) if is_fused else out

    workload = prepared(Wrong)
    trials = [trial(1e-12, seed=seed) for seed in range(4)]
    trainer = PackTrainer(prepared=workload, settings=TrainingSettings(epochs=1), device="cpu")
    list(trainer.train(pack(*trials)))
    assert {choice.tier for choice in trainer._plans.values()} == {Tier.UNFUSED}


def test_lazy_layers_get_their_weights_from_the_trials_seed():
    def model():
        return torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.ReLU(), torch.nn.LazyLinear(3))

    workload = prepared(model)
    first = curves(train(pack(trial(seed=1)), workload=workload))
    torch_state = torch.get_rng_state()
    torch.rand(5)
    again = curves(train(pack(trial(seed=1)), workload=workload))
    torch.set_rng_state(torch_state)
    assert_same_bits(first, again)


def test_random_numbers_of_numpy_in_a_model_come_from_the_trials_seed():
    def model():
        network = mlp(8)
        with torch.no_grad():
            network[0].bias.add_(float(np.random.rand()))  # noqa: NPY002 - what users write
        return network

    workload = prepared(model)
    first = curves(train(pack(trial(seed=1)), workload=workload))
    assert_same_bits(first, curves(train(pack(trial(seed=1)), workload=workload)))


def test_a_module_that_is_returned_twice_is_refused():
    with seeded(0, "weights"):
        network = mlp(8)
    events = train(pack(trial(0.1), trial(0.2)), workload=prepared(lambda: network))
    assert any("fresh module" in reason for _, reason in states(events).values())


def test_a_loss_of_the_users_own_may_be_named_like_a_built_in_one():
    def cross_entropy(outputs, targets):
        return 10 * functional.cross_entropy(outputs, targets, label_smoothing=0.3)

    workload = prepared(loss=cross_entropy)
    (curve,) = curves(train(pack(trial(1e-6, capacity=8)), workload=workload)).values()
    assert curve[1, 4] == pytest.approx(curve[1, 2], rel=0.05)  # running loss in the same unit

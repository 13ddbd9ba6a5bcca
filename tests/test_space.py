import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag import space
from sweepdiag.errors import ConfigError
from sweepdiag.records import Scale

LR = {"min": 1e-4, "max": 10.0, "distribution": "log_uniform_values", "n": 6}

axis_values = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.booleans(),
    st.text(max_size=8),
)
configurations = st.dictionaries(
    st.text("abcdef_", min_size=1, max_size=5), axis_values, min_size=1, max_size=4
)


def plan(parameters, *, seeds=(0, 1), identity=None):
    axes = space.grid_axes(parameters)
    return space.plan_trials(axes, space.grid_configurations(axes), seeds, identity or {})


def test_log_grid_has_round_values_and_keeps_both_ends():
    (lr,) = space.grid_axes({"lr": LR})
    assert lr.values == (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
    assert lr.scale is Scale.LOG
    assert not lr.is_structural


def test_grid_points_are_rounded_to_the_digits_that_keep_them_apart():
    (lr,) = space.grid_axes({"lr": {**LR, "n": 8}})
    assert lr.values == (0.0001, 0.000518, 0.00268, 0.0139, 0.072, 0.373, 1.93, 10.0)
    (dense,) = space.grid_axes({"lr": {**LR, "min": 0.1, "max": 0.101, "n": 11}})
    assert len(set(dense.values)) == 11


def test_a_range_of_sizes_has_whole_numbers():
    (capacity,) = space.grid_axes({"capacity": {**LR, "min": 8.0, "max": 512.0, "n": 4}})
    assert capacity.values == (8, 32, 128, 512)
    assert all(isinstance(value, int) for value in capacity.values)


def test_a_range_of_shares_keeps_its_fractions():
    (dropout,) = space.grid_axes(
        {"dropout": {"min": 0.0, "max": 1.0, "distribution": "uniform", "n": 3}}
    )
    assert dropout.values == (0.0, 0.5, 1.0)


def test_text_makes_an_axis_categorical_and_keeps_its_order():
    (activation,) = space.grid_axes({"activation": {"values": ["tanh", "relu"]}})
    assert activation.scale is Scale.CATEGORICAL
    assert activation.values == ("tanh", "relu")
    assert activation.is_structural


def test_every_configuration_is_planned_with_every_seed():
    planned = plan({"lr": LR, "batch_size": {"values": [16, 64]}}, seeds=(3, 5))
    assert len(planned.trials) == 6 * 2 * 2
    assert {trial.seed for trial in planned.trials} == {3, 5}
    assert len({trial.trial_id for trial in planned.trials}) == 24
    assert len({trial.config_id for trial in planned.trials}) == 12


def test_configurations_that_coincide_are_planned_once():
    axes = space.grid_axes({"lr": {"values": [0.1]}})
    doubled = [{"lr": 0.1}, {"lr": 0.1 + 1e-17}]
    assert len(space.plan_trials(axes, doubled, [0], {}).trials) == 1


def test_identity_is_sixteen_hex_digits_and_known():
    (trial,) = plan({"lr": {"value": 0.1}}, seeds=[0], identity={"data": "x"}).trials
    # printf '{"axes":{"lr":0.1},"data":"x","seed":0}' | sha256sum
    assert trial.trial_id == "560cf5e865f371d9"


@given(configurations, st.integers(0, 2**31))
def test_identity_depends_on_values_and_not_on_their_order(configuration, seed):
    def identity(names):
        axes = space.axes_of_configurations(names, [configuration])
        return space.plan_trials(axes, [configuration], [seed], {"epochs": 3}).trials[0].trial_id

    names = list(configuration)
    assert identity(names) == identity(names[::-1])


@given(st.floats(1e-6, 1e6), st.integers(0, 100))
def test_identity_changes_with_every_part(lr, seed):
    def identity(lr, seed, epochs):
        axes = space.axes_of_configurations(["lr"], [{"lr": lr}])
        trials = space.plan_trials(axes, [{"lr": lr}], [seed], {"epochs": epochs}).trials
        return trials[0].trial_id

    base = identity(lr, seed, 3)
    assert identity(lr, seed, 3) == base
    assert identity(lr * 1.001, seed, 3) != base
    assert identity(lr, seed + 1, 3) != base
    assert identity(lr, seed, 4) != base


def test_whole_floats_and_integers_are_the_same_value():
    as_integer = plan({"capacity": {"values": [16]}}).trials
    as_float = plan({"capacity": {"values": [16.0]}}).trials
    assert [t.trial_id for t in as_integer] == [t.trial_id for t in as_float]


@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.lists(st.sampled_from([16, 64]), min_size=1, max_size=2, unique=True),
)
def test_packs_hold_every_trial_once_and_share_structure(n_lrs, pack_size, batch_sizes):
    lrs = [10.0 ** (-i / 7) for i in range(n_lrs)]
    planned = plan({"lr": {"values": lrs}, "batch_size": {"values": batch_sizes}})
    packs = space.plan_packs(planned.trials, axes=planned.axes, pack_size=pack_size, attempts={})
    packed = [trial.trial_id for pack in packs for trial in pack.trials]
    assert sorted(packed) == sorted(trial.trial_id for trial in planned.trials)
    assert all(1 <= len(pack.trials) <= pack_size for pack in packs)
    for pack in packs:
        assert len({trial.axes["batch_size"] for trial in pack.trials}) == 1
        assert pack.attempts == (1,) * len(pack.trials)


def test_packs_count_attempts():
    planned = plan({"lr": {"values": [0.1]}}, seeds=[0])
    (trial,) = planned.trials
    (pack,) = space.plan_packs(
        planned.trials, axes=planned.axes, pack_size=4, attempts={trial.trial_id: 2}
    )
    assert pack.attempts == (3,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"optimizer": {"values": ["sgd", "adam"]}}, "unknown axis 'optimizer'.*run one for each"),
        ({"learning_rate": {"value": 0.1}}, r"unknown axis 'learning_rate'.*Valid: .*lr"),
        ({"lr": {"values": [0.1, -1.0]}}, r"lr must be above 0, got -1\.0"),
        ({"lr": {"values": [math.inf]}}, "lr must be a finite number, got inf"),
        ({"momentum": {"values": [1.0]}}, r"momentum must be in \[0, 1\), got 1\.0"),
        (
            {"batch_size": {"values": [4096]}},
            r"batch_size must be a whole number in \[1, 1200\] \(the training set .* got 4096",
        ),
        ({"batch_size": {"values": [2.5]}}, "batch_size must be a whole number"),
        ({"batch_size": {"values": ["many"]}}, "batch_size must be a finite number, got 'many'"),
    ],
)
def test_axes_that_mean_nothing_are_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        space.check_axes(space.grid_axes(parameters), model_arguments=["capacity"], n_train=1200)


@given(
    lrs=st.integers(1, 6),
    batch_sizes=st.lists(st.sampled_from([8, 16, 64, 256]), min_size=1, max_size=3, unique=True),
    seeds=st.integers(1, 3),
    data=st.data(),
)
def test_shards_are_disjoint_and_together_the_plan(lrs, batch_sizes, seeds, data):
    values = {"lr": {"values": [10.0**-i for i in range(lrs)]}}
    planned = plan({**values, "batch_size": {"values": batch_sizes}}, seeds=range(seeds))
    count = data.draw(st.integers(1, len(planned.trials)))
    shards = [space.shard_trials(planned, index, count) for index in range(count)]
    assert all(shards)
    ids = [trial.trial_id for shard in shards for trial in shard]
    assert sorted(ids) == sorted(trial.trial_id for trial in planned.trials)


def test_shards_have_as_many_steps_and_do_not_cut_packs_needlessly():
    values = {"lr": {"values": [0.1, 0.2, 0.3, 0.4]}, "batch_size": {"values": [16, 32]}}
    planned = plan(values, seeds=[0])
    shards = [space.shard_trials(planned, index, 3) for index in range(3)]
    assert [[trial.axes["batch_size"] for trial in shard] for shard in shards] == [
        [16, 16],
        [16, 16],
        [32, 32, 32, 32],
    ]


def test_more_shards_than_trials_are_refused():
    planned = plan({"lr": {"values": [0.1, 0.2]}}, seeds=[0])
    with pytest.raises(ConfigError, match="a plan of 2 trials has at most 2 shards, got 3"):
        space.shard_trials(planned, 0, 3)

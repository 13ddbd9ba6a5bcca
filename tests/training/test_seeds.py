import torch
from hypothesis import given
from hypothesis import strategies as st

from sweepdiag.training.seeds import batch_indices, seeded, stream_seed

WEIGHTS_0 = 3319539225666157304


def test_streams_of_one_seed_differ_by_name_and_are_known():
    assert stream_seed(0, "weights") != stream_seed(0, "order/0")
    assert stream_seed(0, "weights") != stream_seed(1, "weights")
    # printf 'sweepdiag/0/weights' | sha256sum, first 16 digits, halved
    assert stream_seed(0, "weights") == WEIGHTS_0


@given(st.integers(0, 5), st.integers(1, 30), st.integers(30, 60), st.data())
def test_steps_are_the_same_however_they_are_asked_for(seed, batch_size, n_samples, data):
    n_steps = 3 * (n_samples // batch_size)
    cut = data.draw(st.integers(0, n_steps - 1))

    def indices(first, last):
        return batch_indices(seed, first, last, batch_size=batch_size, n_samples=n_samples)

    whole = indices(0, n_steps)
    assert whole.shape == (n_steps, batch_size)
    assert torch.equal(whole[cut:], indices(cut, n_steps))


def test_an_epoch_visits_every_sample_but_the_last_partial_batch_once():
    first = batch_indices(0, 0, 3, batch_size=16, n_samples=50).flatten()
    assert len(set(first.tolist())) == 48
    second = batch_indices(0, 3, 6, batch_size=16, n_samples=50).flatten()
    assert not torch.equal(first, second)


def test_the_order_of_a_seed_is_the_same_at_every_batch_size():
    small = batch_indices(4, 0, 6, batch_size=8, n_samples=48).flatten()
    large = batch_indices(4, 0, 2, batch_size=24, n_samples=48).flatten()
    assert torch.equal(small, large)


def test_seeding_a_block_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with seeded(0, "weights"):
        first = torch.rand(3)
    with seeded(0, "weights"):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)

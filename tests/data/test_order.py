import numpy as np
import pytest

from vae_jax.data.order import Order
from vae_jax.errors import UserError


def stream(order, steps):
    batches = [order.batch(step) for step in range(steps)]
    return np.concatenate([b.indices for b in batches]), np.concatenate([b.epoch for b in batches])


def test_every_epoch_sees_every_example_once_and_nothing_is_dropped():
    indices, epoch = stream(Order(10, 4, seed=3), steps=10)  # 40 places, 4 epochs
    assert epoch.tolist() == np.repeat(np.arange(4), 10).tolist()
    for number in range(4):
        assert sorted(indices[epoch == number]) == list(range(10))


def test_a_batch_may_straddle_two_epochs():
    assert Order(10, 4, seed=0).batch(2).epoch.tolist() == [0, 0, 1, 1]


def test_a_batch_is_the_same_whatever_was_asked_before():
    straight = stream(Order(101, 13, seed=7), steps=30)[0].reshape(30, 13)
    for step in np.random.default_rng(0).permutation(30).tolist():
        assert np.array_equal(Order(101, 13, seed=7).batch(step).indices, straight[step])


def test_the_stream_of_examples_does_not_depend_on_the_batch_size():
    assert np.array_equal(stream(Order(60, 4, seed=1), 30)[0], stream(Order(60, 10, seed=1), 12)[0])


def test_epochs_and_seeds_have_their_own_permutation_which_is_philox_of_seed_and_epoch():
    draws = {(seed, epoch): Order(50, 50, seed).batch(epoch).indices for seed in (0, 1) for epoch in (0, 1)}
    assert len({tuple(indices) for indices in draws.values()}) == 4
    for key, indices in draws.items():
        expected = np.random.Generator(np.random.Philox(key=list(key))).permutation(50)
        assert np.array_equal(indices, expected)


def test_indices_and_epochs_have_the_dtypes_of_the_batch():
    batch = Order(5, 2, seed=-1).batch(10**9)
    assert (batch.indices.dtype, batch.epoch.dtype) == (np.int64, np.int32)


def test_steps_per_epoch_counts_the_straddling_batch():
    assert (Order(10, 4, seed=0).steps_per_epoch, Order(12, 4, seed=0).steps_per_epoch) == (3, 3)


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_size_that_cannot_be_is_refused_by_name(batch_size):
    with pytest.raises(UserError, match=f"train.batch_size is {batch_size}; it must be from 1 to 10"):
        Order(10, batch_size, seed=0)

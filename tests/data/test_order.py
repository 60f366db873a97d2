import math
import pickle
import time

import numpy as np
import pytest

from vae_jax.data.order import Order, Strata
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


# In stated proportions

GROUP = np.repeat([0, 1, 2], [40, 9, 11])[np.random.default_rng(0).permutation(60)]
STRATA = Strata(GROUP, np.array([0.25, 0.5, 0.25]))  # of 60 places: 15, 30 and 15


def epochs(order, count):
    indices, epoch = stream(order, steps=-(-count * order.size // order.batch_size))
    return [indices[epoch == number] for number in range(count)]


def test_a_group_has_its_share_of_every_epoch_and_its_members_equal_parts():
    for drawn in epochs(Order(60, 7, 0, STRATA), 50):
        times = np.bincount(drawn, minlength=60)
        for number, places in enumerate([15, 30, 15]):
            members = times[number == GROUP]
            assert members.sum() == places
            assert {members.min(), members.max()} <= {int(places / len(members)), math.ceil(places / len(members))}


@pytest.mark.parametrize("seed", range(5))
def test_shares_that_are_no_whole_numbers_are_rounded_up_or_down(seed):
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 7, 1000)
    share = rng.dirichlet(np.ones(7))
    for drawn in epochs(Order(1000, 64, seed, Strata(group, share)), 10):
        times = np.bincount(drawn, minlength=1000)
        assert len(drawn) == 1000
        assert np.all(np.abs(np.bincount(group, times) - 1000 * share) < 1)
        assert np.all(np.abs(times - (1000 * share / np.bincount(group))[group]) < 1)


def test_over_the_epochs_every_member_of_a_group_comes_up():
    # A group of 40 has 15 places. Over 60 epochs each member has 22.5 in expectation, a binomial of 60 and 15/40.
    times = np.bincount(np.concatenate(epochs(Order(60, 60, 3, STRATA), 60)), minlength=60)[GROUP == 0]
    assert times.sum() == 900
    assert times.min() > 0 and times.max() < 45


def test_shares_in_proportion_to_the_groups_draw_everyone_once():
    order = Order(60, 60, 0, Strata(GROUP, np.bincount(GROUP) / 60))
    assert sorted(order.batch(4).indices) == list(range(60))


def test_the_order_within_an_epoch_is_random_and_every_epoch_has_its_own():
    first, second = epochs(Order(60, 60, 0, STRATA), 2)
    assert first.tolist() != second.tolist() and sorted(first) != sorted(second)
    runs = np.count_nonzero(np.diff(GROUP[first]))  # of 59 neighbours; groups laid end to end have 2
    assert runs > 20


def test_a_weighted_batch_is_the_same_whatever_was_asked_before_and_from_a_pickle():
    straight = stream(Order(60, 13, 7, STRATA), steps=30)[0].reshape(30, 13)
    for step in np.random.default_rng(0).permutation(30).tolist():
        order = Order(60, 13, 7, Strata(GROUP.copy(), STRATA.share.copy()))
        assert np.array_equal(pickle.loads(pickle.dumps(order)).batch(step).indices, straight[step])


def test_two_hundred_thousand_examples_are_drawn_in_a_fraction_of_a_second():
    group = (np.arange(200_000) % 50 == 0).astype(np.int64)
    order = Order(200_000, 64, 0, Strata(group, np.array([0.5, 0.5])))
    started = time.perf_counter()
    order.batch(0)
    assert time.perf_counter() - started < 1  # 0.03 s on one core
    drawn = epochs(Order(200_000, 200_000, 0, order.strata), 1)[0]
    assert np.bincount(group[drawn]).tolist() == [100_000, 100_000]

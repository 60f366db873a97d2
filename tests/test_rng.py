import zlib

import jax
import numpy as np
import pytest

from vae_jax import rng
from vae_jax.mesh import batch_sharding, make_mesh

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
B, Z = 12, 5


def threefry2x32(key, counter):
    """Threefry-2x32 with 20 rounds, after Salmon et al. (2011), figure 2."""
    word = 0xFFFFFFFF
    schedule = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    a, b = (counter[0] + key[0]) & word, (counter[1] + key[1]) & word
    for group in range(5):
        for r in ROTATIONS[group % 2]:
            a = (a + b) & word
            b = ((b << r | b >> (32 - r)) & word) ^ a
        a = (a + schedule[(group + 1) % 3]) & word
        b = (b + schedule[(group + 2) % 3] + group + 1) & word
    return a, b


@pytest.fixture(scope="module")
def ids():
    return np.random.default_rng(0).integers(0, 2**32, B, dtype=np.uint32)


@jax.jit
def noise(ids):
    return rng.normal(rng.per_example(rng.stream(0, "noise"), ids), (len(ids), Z))


def data(key):
    return tuple(int(word) for word in jax.random.key_data(key))


def test_the_reference_threefry_gives_the_published_answers():
    # Random123, kat_vectors: "threefry2x32 20".
    assert threefry2x32((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)
    assert threefry2x32((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2) == (0x1CB996FC, 0xBB002BE7)
    assert threefry2x32((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)) == (0xC4923A9C, 0x483DF7A0)


def test_a_stream_is_the_seed_then_the_name_then_the_step_through_threefry():
    named = threefry2x32((0, 7), (0, zlib.crc32(b"train")))
    assert data(rng.stream(7, "train")) == named
    assert data(rng.stream(7, "train", 3)) == threefry2x32(named, (0, 3))


def test_the_implementation_is_threefry2x32():
    assert str(jax.random.key_impl(rng.stream(0, "train"))) == "threefry2x32"


def test_streams_differ_by_seed_name_and_step():
    keys = [rng.stream(seed, name, step) for seed in (0, 1) for name in ("train", "init") for step in (None, 0, 1)]
    assert len({data(key) for key in keys}) == len(keys)


def test_a_traced_step_gives_the_key_of_the_plain_one():
    traced = jax.jit(lambda step: rng.stream(3, "train", step))(np.int32(5))
    assert data(traced) == data(rng.stream(3, "train", 5))


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_the_noise_of_an_example_is_the_same_for_any_batch_size(ids, batch_size):
    parts = [noise(ids[start : start + batch_size]) for start in range(0, B, batch_size)]
    assert np.array_equal(np.concatenate(parts), noise(ids))


def test_the_noise_of_an_example_is_the_same_in_any_order(ids):
    order = np.random.default_rng(1).permutation(B)
    assert np.array_equal(noise(ids[order]), np.asarray(noise(ids))[order])


def test_the_noise_of_an_example_is_the_same_on_four_devices(ids):
    assert np.array_equal(noise(jax.device_put(ids, batch_sharding(make_mesh(4)))), noise(ids))


def test_examples_have_noise_of_their_own(ids):
    assert len(np.unique(noise(ids))) == B * Z


def test_every_sample_of_every_example_has_a_key_of_its_own(ids):
    keys = rng.per_sample(rng.per_example(rng.stream(0, "noise"), ids), np.arange(7))
    assert keys.shape == (7, B)
    assert len(np.unique(jax.random.key_data(keys).reshape(-1, 2), axis=0)) == 7 * B


def test_a_sample_keeps_its_key_when_more_are_drawn(ids):
    keys = rng.per_example(rng.stream(0, "noise"), ids)
    few, many = (jax.random.key_data(rng.per_sample(keys, np.arange(k))) for k in (3, 9))
    assert np.array_equal(few, many[:3])


def test_per_example_folds_one_id_into_each_of_many_keys(ids):
    key = rng.stream(0, "epochs")
    keys = rng.per_example(rng.per_example(key, np.arange(B)), ids)
    one = threefry2x32(threefry2x32(data(key), (0, 4)), (0, int(ids[4])))
    assert data(keys[4]) == one


@pytest.mark.parametrize("draw", [rng.normal, rng.uniform, rng.laplace])
def test_keys_that_are_no_prefix_of_the_shape_are_refused(draw, ids):
    keys = rng.per_example(rng.stream(0, "noise"), ids)
    with pytest.raises(ValueError, match="prefix"):
        draw(keys, (B + 1, Z))

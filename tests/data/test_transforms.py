import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import rng
from vae_jax.data.content import example_ids
from vae_jax.data.transforms import prepare
from vae_jax.errors import UserError
from vae_jax.mesh import batch_sharding, make_mesh

KEY = rng.stream(0, "data")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (24, 6, 5, 1), dtype=np.uint8)


def batch_of(images, epoch=0):
    return {"image": images, "example_id": example_ids(images), "epoch": np.full(len(images), epoch, np.int32)}


@jax.jit
def draw(batch):
    return prepare(batch, KEY, binarization="dynamic")


def test_uint8_is_scaled_to_the_whole_unit_interval():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = prepare({"image": jnp.asarray(image)}, KEY, binarization="none")
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, image / 255, rtol=1e-6)
    assert (x.min(), x.max()) == (0, 1)


def test_floats_are_taken_as_they_are():
    image = np.random.default_rng(1).random((2, 3, 3, 1), np.float32)
    assert np.array_equal(prepare({"image": jnp.asarray(image)}, KEY, binarization="none"), image)


def test_threshold_is_one_above_a_half():
    image = np.array([0, 127, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    assert prepare({"image": jnp.asarray(image)}, KEY, binarization="threshold").ravel().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_draw_of_an_example_is_the_same_in_any_batch_size(images, batch_size):
    parts = [draw(batch_of(images[start : start + batch_size])) for start in range(0, len(images), batch_size)]
    assert np.array_equal(np.concatenate(parts), draw(batch_of(images)))


def test_the_draw_of_an_example_is_the_same_in_any_order(images):
    order = np.random.default_rng(2).permutation(len(images))
    assert np.array_equal(draw(batch_of(images[order])), np.asarray(draw(batch_of(images)))[order])


def test_the_draw_of_an_example_is_the_same_on_one_device_and_on_eight(images):
    sharded = jax.device_put(batch_of(images), batch_sharding(make_mesh(8)))
    assert np.array_equal(draw(sharded), draw(batch_of(images)))


def test_the_draw_differs_between_epochs_and_between_examples(images):
    same = np.repeat(images[:1], 2, axis=0)
    other = {**batch_of(same), "example_id": np.array([1, 2], np.uint32)}
    assert not np.array_equal(draw(batch_of(images, epoch=0)), draw(batch_of(images, epoch=1)))
    first, second = draw(other)
    assert not np.array_equal(first, second)


def test_dynamic_draws_are_binary_with_the_pixel_as_their_mean():
    image = np.full((400, 10, 10, 1), 51, np.uint8)  # 0.2
    batch = {"image": image, "example_id": np.arange(400, dtype=np.uint32), "epoch": np.zeros(400, np.int32)}
    x = np.asarray(draw(batch))
    assert set(np.unique(x)) == {0, 1}
    assert abs(x.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / x.size)


def test_black_stays_black_and_white_stays_white():
    image = np.stack([np.zeros((9, 9, 1), np.uint8), np.full((9, 9, 1), 255, np.uint8)])
    assert np.array_equal(draw(batch_of(image)), image / 255)


def test_an_unknown_binarization_is_refused_by_name():
    with pytest.raises(UserError, match="data.binarization is 'static'; it must be one of none, threshold, dynamic"):
        prepare({"image": jnp.zeros((1, 2, 2, 1))}, KEY, binarization="static")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import rng
from vae_jax.config import default_config
from vae_jax.data.content import example_ids
from vae_jax.data.source import Features
from vae_jax.data.transforms import augment, check_examples, prepare
from vae_jax.errors import UserError
from vae_jax.mesh import batch_sharding, make_mesh

KEY = rng.stream(0, "data")
TRANSFORMS = {
    "flip": {"flip": True},
    "dynamic": {"binarization": "dynamic"},
    "dequantize": {"dequantize": True},
    "noise": {"corrupt.kind": "noise", "corrupt.amount": 0.3},
    "box": {"corrupt.kind": "box", "corrupt.amount": 0.4, "corrupt.weight": 3.0},
    "patches": {"corrupt.kind": "patches", "corrupt.patch": 2, "corrupt.weight": 3.0},
    "all": {"flip": True, "dequantize": True, "corrupt.kind": "patches", "corrupt.patch": 2},
}
each_transform = pytest.mark.parametrize("changes", TRANSFORMS.values(), ids=TRANSFORMS.keys())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (24, 6, 5, 1), dtype=np.uint8)


def batch_of(images, epoch=0):
    return {"image": images, "example_id": example_ids(images), "epoch": np.full(len(images), epoch, np.int32)}


def numbered(images):
    """A batch of images that may be alike, each an example of its own."""
    return {**batch_of(images), "example_id": np.arange(len(images), dtype=np.uint32)}


def options(changes):
    config = default_config()
    config.data.update_from_flattened_dict(changes)
    return config.data


def prepared(changes, key=KEY):
    """A compiled function of a batch: what training makes of it."""
    data = options(changes)
    return jax.jit(lambda batch: prepare(augment(batch, key, data), key, data))


draw = prepared({"binarization": "dynamic"})


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_uint8_is_scaled_to_the_whole_unit_interval():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x = prepared({})(batch_of(image)).clean
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, image / 255, rtol=1e-6)
    assert (x.min(), x.max()) == (0, 1)


def test_floats_are_taken_as_they_are():
    image = np.random.default_rng(1).random((2, 3, 3, 1), np.float32)
    x = prepared({})(batch_of(image))
    assert np.array_equal(x.clean, image) and np.array_equal(x.seen, image) and x.weight is None


def test_threshold_is_one_above_a_half():
    image = np.array([0, 127, 128, 255], np.uint8).reshape(1, 2, 2, 1)
    assert prepared({"binarization": "threshold"})(batch_of(image)).clean.ravel().tolist() == [0, 0, 1, 1]


@each_transform
@pytest.mark.parametrize("batch_size", [1, 7, 8])
def test_what_becomes_of_an_example_is_bitwise_the_same_in_any_batch_size(images, changes, batch_size):
    transform = prepared(changes)
    parts = [transform(batch_of(images[start : start + batch_size])) for start in range(0, len(images), batch_size)]
    assert same(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), transform(batch_of(images)))


@each_transform
def test_what_becomes_of_an_example_is_the_same_in_any_order_and_on_any_devices(images, changes):
    transform = prepared(changes)
    whole = transform(batch_of(images))
    order = np.random.default_rng(2).permutation(len(images))
    assert same(transform(batch_of(images[order])), jax.tree.map(lambda leaf: np.asarray(leaf)[order], whole))
    assert same(transform(jax.device_put(batch_of(images), batch_sharding(make_mesh(8)))), whole)


@each_transform
def test_what_becomes_of_an_example_differs_between_epochs_examples_and_keys(images, changes):
    transform = prepared(changes)
    assert not same(transform(batch_of(images, epoch=0)), transform(batch_of(images, epoch=1)))
    assert not same(transform(batch_of(images)), prepared(changes, rng.stream(1, "data"))(batch_of(images)))
    alike = transform(numbered(np.repeat(images[:1], 24, axis=0))).seen
    assert len(np.unique(np.asarray(alike).reshape(24, -1), axis=0)) > 1


def test_dynamic_draws_are_binary_with_the_pixel_as_their_mean():
    x = np.asarray(draw(numbered(np.full((400, 10, 10, 1), 51, np.uint8))).clean)  # 0.2
    assert set(np.unique(x)) == {0, 1}
    assert abs(x.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / x.size)


def test_black_stays_black_and_white_stays_white():
    image = np.stack([np.zeros((9, 9, 1), np.uint8), np.full((9, 9, 1), 255, np.uint8)])
    assert np.array_equal(draw(batch_of(image)).clean, image / 255)


def test_about_half_of_the_images_are_their_mirror_image_and_the_others_themselves():
    images = np.random.default_rng(3).integers(0, 256, (1000, 4, 6, 3), dtype=np.uint8)
    flipped = np.asarray(augment(batch_of(images), KEY, options({"flip": True}))["image"])
    mirrored = [np.array_equal(new, np.fliplr(old)) for old, new in zip(images, flipped, strict=True)]
    kept = [np.array_equal(new, old) for old, new in zip(images, flipped, strict=True)]
    assert sum(mirrored) + sum(kept) == 1000
    assert sum(mirrored) == pytest.approx(500, abs=3 * np.sqrt(250))


def test_dequantised_values_fill_the_cell_of_their_level_and_leave_it_nowhere():
    levels = np.tile(np.arange(256, dtype=np.uint8), 40).reshape(10, 32, 32, 1)
    x = np.asarray(prepared({"dequantize": True})(numbered(levels)).clean, np.float64)
    assert np.array_equal(np.floor(x * 256), levels) and x.max() < 1
    within = x * 256 - levels
    assert np.histogram(within, 4, (0, 1))[0] / within.size == pytest.approx(0.25, abs=0.02)


def test_flips_need_pictures_and_dequantisation_needs_grey_levels():
    vectors, floats = Features((3,), np.dtype("float32")), Features((8, 8, 1), np.dtype("float32"))
    for changes, features, words in [
        ({"flip": True}, vectors, "data.flip is True, but .* vectors"),
        ({"dequantize": True}, floats, "data.dequantize is True, but .* float32"),
        ({"corrupt.kind": "box"}, vectors, "data.corrupt.kind is 'box', but .* vectors"),
        ({"binarization": "dynamic"}, vectors, "data.binarization is 'dynamic', but .* vectors"),
    ]:
        with pytest.raises(UserError, match=words):
            check_examples(options(changes), features)
    check_examples(options({"corrupt.kind": "noise"}), vectors)


def test_an_unknown_binarization_is_refused_by_name():
    with pytest.raises(UserError, match="data.binarization is 'static'; it must be one of none, threshold, dynamic"):
        prepared({"binarization": "static"})(batch_of(np.zeros((1, 2, 2, 1), np.uint8)))

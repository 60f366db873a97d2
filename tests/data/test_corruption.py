"""Corruption: what is masked and how much of it, and what of that a config may ask for."""

import numpy as np
import pytest

from vae_jax import rng
from vae_jax.config import default_config
from vae_jax.data.corruption import GREY, add_noise, box_mask, check_corruption, patch_mask
from vae_jax.data.transforms import prepare
from vae_jax.errors import UserError


def keys():
    return rng.per_example(rng.stream(0, "corrupt"), np.arange(200, dtype=np.uint32))


def corrupt(**changes):
    return default_config().data.corrupt.to_dict() | changes


@pytest.mark.parametrize(("side", "extent"), [(0.5, (4, 5)), (0.01, (1, 1)), (1.0, (8, 10))])
def test_a_box_is_one_rectangle_of_its_size_and_reaches_every_corner(side, extent):
    mask = np.asarray(box_mask(keys(), (8, 10), side=side))[..., 0]
    for one in mask:
        rows, columns = np.flatnonzero(one.any(axis=1)), np.flatnonzero(one.any(axis=0))
        assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == extent
        assert one.sum() == extent[0] * extent[1]
    corners = mask[:, [0, 0, -1, -1], [0, -1, 0, -1]].any(axis=0)
    assert corners.all() or side == 0.01


@pytest.mark.parametrize(("size", "patch", "share", "patches"), [((8, 8), 2, 0.75, 12), ((9, 7), 4, 0.3, 2)])
def test_the_same_number_of_patches_is_masked_in_every_picture(size, patch, share, patches):
    mask = np.asarray(patch_mask(keys(), size, share=share, patch=patch))
    assert mask.shape == (200, *size, 1)
    cells = [
        mask[:, top : top + patch, left : left + patch]
        for top in range(0, size[0], patch)
        for left in range(0, size[1], patch)
    ]
    whole = np.stack([cell.all(axis=(1, 2, 3)) for cell in cells])  # [patches, B]
    assert np.array_equal(whole, np.stack([cell.any(axis=(1, 2, 3)) for cell in cells])), "a patch is masked in part"
    assert (whole.sum(axis=0) == patches).all()
    expected = patches / len(cells)
    assert whole.mean(axis=1) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 200))


def test_noise_has_its_stddev_and_leaves_pictures_in_their_range():
    noisy = np.asarray(add_noise(np.full((200, 8, 8, 1), 0.5, np.float32), keys(), stddev=0.05))
    assert noisy.std() == pytest.approx(0.05, rel=0.02)
    wild = np.asarray(add_noise(np.full((200, 8, 8, 1), 0.5, np.float32), keys(), stddev=5.0))
    assert (wild.min(), wild.max()) == (0, 1)
    vectors = np.asarray(add_noise(np.full((200, 3), 7, np.float32), keys(), stddev=5.0))
    assert vectors.min() < 1 and vectors.max() > 7


def test_the_net_sees_grey_where_the_clean_picture_is_masked_and_the_weight_stands_there():
    images = np.random.default_rng(0).random((200, 8, 8, 3), np.float32)
    batch = {"image": images, "example_id": np.arange(200, dtype=np.uint32), "epoch": np.zeros(200, np.int32)}
    data = default_config().data
    data.corrupt.update(kind="patches", amount=0.25, patch=4, weight=5.0)
    x = prepare(batch, rng.stream(0, "data"), data)
    masked = np.asarray(x.weight) == 5
    assert masked.shape == (200, 8, 8, 1) and masked.mean() == 0.25
    assert np.array_equal(x.clean, images)
    assert np.array_equal(x.seen, np.where(masked, np.float32(GREY), images))
    assert np.array_equal(x.weight, np.where(masked, 5, 1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": 2.0}, "data.corrupt.weight is 2.0 with data.corrupt.kind='none'"),
        ({"kind": "noise", "weight": 0.5}, "data.corrupt.weight is 0.5 with data.corrupt.kind='noise'"),
        ({"kind": "box", "amount": 0.0}, "data.corrupt.amount is 0.0; .* more than 0"),
        ({"kind": "box", "amount": 1.2}, "data.corrupt.amount is 1.2; .* some of the 8×10 pixels is left"),
        ({"kind": "box", "amount": 0.97}, "data.corrupt.amount is 0.97; .* some of the 8×10 pixels is left"),
        ({"kind": "patches", "patch": 9}, "data.corrupt.patch is 9; it must be at most 8"),
        ({"kind": "patches", "patch": 8, "amount": 0.8}, "data.corrupt.amount is 0.8; .* the 2 patches of 8×8"),
        ({"kind": "patches", "patch": 4, "amount": 0.05}, "data.corrupt.amount is 0.05; .* the 6 patches of 4×4"),
        ({"kind": "patches", "patch": 4, "amount": 1.0}, "data.corrupt.amount is 1.0; .* leave at least one"),
    ],
)
def test_what_masks_nothing_or_everything_is_refused_by_field_and_value(changes, words):
    with pytest.raises(UserError, match=words) as refused:
        check_corruption(corrupt(**changes), (8, 10))
    assert "\n" not in str(refused.value)


def test_what_can_be_is_let_through():
    for changes in ({}, {"kind": "noise", "amount": 9.0}, {"kind": "box", "amount": 0.9, "weight": 0.0}):
        check_corruption(corrupt(**changes), (8, 10))
    check_corruption(corrupt(kind="patches", patch=4, amount=0.9), (8, 10))

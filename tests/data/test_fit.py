import jax
import numpy as np
import pytest
from PIL import Image

from vae_jax.data.fit import Fit, check_crop
from vae_jax.data.pictures import BrokenPicture
from vae_jax.errors import UserError


@pytest.fixture(scope="module")
def face():
    """A picture of CelebA's size [218, 178, 3], smooth as pictures are, with some noise."""
    y, x = np.mgrid[:218, :178] / 200
    smooth = np.stack([np.sin(5 * y), np.cos(7 * x), np.sin(3 * (x + y))], -1) * 100 + 128
    noise = np.random.default_rng(0).normal(0, 20, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def as_float(picture):
    return picture.astype(np.float32) / 255


@pytest.mark.parametrize("size", [(64, 64), (300, 89), (7, 500)])
def test_resizing_is_the_antialiased_bilinear_one_of_jax(face, size):
    expected = np.asarray(jax.image.resize(face.astype(np.float32), (*size, 3), "linear", antialias=True))
    fitted = Fit("whole", size, 3)(face)
    assert (fitted.dtype, fitted.shape) == (np.uint8, (*size, 3))
    np.testing.assert_allclose(fitted.astype(float), expected, atol=1.01)
    floats = Fit("whole", size, 3)(as_float(face))
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, expected / 255, atol=1e-5)


def test_a_resized_float_stays_in_the_unit_interval():
    picture = np.ones((37, 53, 1), np.float32)
    for size in ((8, 8), (64, 64), (13, 99)):
        fitted = Fit("whole", size, 1)(picture)
        assert fitted.max() <= 1
        np.testing.assert_allclose(fitted, 1, atol=1e-6)


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [
        ("whole", (218, 178), np.s_[:, :]),
        ("center", (178, 178), np.s_[20:198, :]),
        ("center", (218, 109), np.s_[:, 34:143]),
        ("celeba_148", (148, 148), np.s_[35:183, 15:163]),
        ("celeba_178", (178, 178), np.s_[30:208, :]),
        ("100x50", (100, 50), np.s_[59:159, 64:114]),
        ("100x50+0+128", (100, 50), np.s_[:100, 128:]),
    ],
)
def test_a_crop_of_the_wanted_size_keeps_the_pixels_of_its_box(face, crop, size, expected):
    assert np.array_equal(Fit(crop, size, 3)(face), face[expected])
    assert np.array_equal(Fit(crop, size, 3)(as_float(face)), as_float(face)[expected])


def test_a_crop_is_resized_without_what_lies_outside_of_it(face):
    outside = face.copy()
    outside[:30], outside[208:] = 0, 255
    fit = Fit("celeba_178", (64, 64), 3)
    assert np.array_equal(fit(outside), fit(face))


@pytest.mark.parametrize("shape", [(218, 178), (50, 300), (7, 1000), (1, 1)])
def test_the_centre_has_the_aspect_of_the_size_and_touches_two_borders(shape):
    box = Fit("center", (20, 10), 3)._box(*shape)
    assert box.height == shape[0] or box.width == shape[1]
    assert abs(box.height - 2 * box.width) <= 1


def test_grey_is_the_luma_of_bt_601_and_comes_back_as_three_equal_channels(face):
    luma = face @ [0.299, 0.587, 0.114]
    grey = Fit("whole", (218, 178), 1)(face)
    np.testing.assert_allclose(grey[..., 0].astype(float), luma, atol=0.51)
    np.testing.assert_allclose(Fit("whole", (218, 178), 1)(as_float(face))[..., 0], luma / 255, atol=1e-6)
    assert np.array_equal(Fit("whole", (218, 178), 3)(grey), np.repeat(grey, 3, 2))


def test_three_equal_channels_made_grey_are_that_channel_exactly():
    every = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
    assert np.array_equal(Fit("whole", (16, 16), 1)(every), every[..., :1])


def test_grey_pictures_resize_as_each_channel_of_a_coloured_one(face):
    whole = Fit("whole", (64, 64), 3)(face)
    for channel in range(3):
        assert np.array_equal(Fit("whole", (64, 64), 1)(face[..., [channel]])[..., 0], whole[..., channel])


def test_fitting_leaves_the_picture_alone(face):
    before = face.copy()
    Fit("100x50", (30, 20), 1)(face)
    assert np.array_equal(face, before)


@pytest.mark.parametrize("crop", ["219x178", "218x178+1+0", "celeba_148"])
def test_a_crop_beyond_the_border_names_the_pictures_size_and_the_crop(crop):
    shape = (218, 178, 3) if crop != "celeba_148" else (100, 178, 3)
    with pytest.raises(BrokenPicture, match=rf"it is {shape[0]}x178 .*data.crop='{crop.replace('+', '[+]')}'"):
        Fit(crop, (64, 64), 3)(np.zeros(shape, np.uint8))


def test_other_channels_than_one_and_three_are_kept_or_refused():
    picture = np.zeros((8, 8, 4), np.uint8)
    assert Fit("whole", (4, 4), 4)(picture).shape == (4, 4, 4)
    with pytest.raises(BrokenPicture, match="it has 4 channels, not 1 or 3"):
        Fit("whole", (4, 4), 3)(picture)


@pytest.mark.parametrize("crop", ["", "centre", "64", "64x", "0x5", "x", "64x64+1", "64x64-1-1", "64x64+1+2 ", "64X64"])
def test_a_malformed_crop_is_refused_by_name(crop):
    with pytest.raises(UserError, match="data.crop is .*; it must be whole, center, celeba_148, celeba_178, HEIGHTx"):
        check_crop(crop)


@pytest.mark.parametrize("crop", ["whole", "center", "celeba_148", "celeba_178", "64x32", "64x32+0+10"])
def test_a_crop_is_accepted(crop):
    check_crop(crop)


def test_real_pictures_resize_as_pillow_does_it(face):
    expected = np.asarray(Image.fromarray(face[30:208]).resize((64, 64), Image.Resampling.BILINEAR))
    assert np.array_equal(Fit("celeba_178", (64, 64), 3)(face), expected)

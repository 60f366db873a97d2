"""Each stage of post-processing against a direct computation in NumPy, or OpenCV where it is installed."""

import colorsys

import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.config import default_config
from vae_jax.images.postprocess import (
    bilateral,
    chain,
    contrast,
    dark_channel,
    dehaze,
    guided_filter,
    saturation,
    sharpen,
)

TOLERANCE = 2 / 255
SIZE = (2, 13, 17, 3)


@pytest.fixture(scope="module")
def images():
    """Smooth colours with noise and an edge."""
    random = np.random.default_rng(0)
    _, height, width, _ = SIZE
    smooth = np.linspace(0.2, 0.8, width)[None, None, :, None] * np.array([1, 0.8, 0.6])
    x = smooth + 0.05 * random.normal(size=SIZE)
    x[:, height // 2 :] *= 0.5
    return np.clip(x, 0, 1).astype(np.float32)


def windows(x, radius, mode, **options):
    """For x [H, W, C] the pixels around each one: [H, W, 2·radius + 1, 2·radius + 1, C]."""
    padded = np.pad(x, ((radius, radius), (radius, radius), (0, 0)), mode=mode, **options)
    side = 2 * radius + 1
    found = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))  # [H, W, C, side, side]
    return np.moveaxis(found, 2, -1)


def box_mean(x, radius):
    """The mean over the pixels of the window that are in the picture."""
    return np.nanmean(windows(x, radius, "constant", constant_values=np.nan), axis=(2, 3))


def test_saturation_is_that_of_hsv(images):
    def direct(pixel):
        hue, strength, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb(hue, min(1, 1.5 * strength), value)

    expected = np.apply_along_axis(direct, -1, images[:1].astype(float))
    np.testing.assert_allclose(saturation(images[:1], 1.5), expected, atol=TOLERANCE)


def test_contrast_spreads_each_channel_around_its_mean(images):
    mean = images.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(contrast(images, 1.4), np.clip(mean + 1.4 * (images - mean), 0, 1), atol=TOLERANCE)


def test_the_dark_channel_is_the_darkest_of_a_patch(images):
    darkest = np.nanmin(windows(images[0], 2, "constant", constant_values=np.nan), axis=(2, 3, 4))
    np.testing.assert_array_equal(dark_channel(images, patch=5)[0, ..., 0], darkest)


def test_the_guided_filter_fits_a_line_in_every_window(images):
    guide, x = images[0, ..., :1].astype(float), images[0, ..., 1:2].astype(float)
    mean_x, mean_guide = box_mean(x, 3), box_mean(guide, 3)
    slope = (box_mean(guide * x, 3) - mean_guide * mean_x) / (box_mean(guide**2, 3) - mean_guide**2 + 1e-2)
    expected = box_mean(slope, 3) * guide + box_mean(mean_x - slope * mean_guide, 3)
    found = guided_filter(jnp.array(guide[None]), jnp.array(x[None]), radius=3, epsilon=1e-2)
    np.testing.assert_allclose(found[0], expected, atol=TOLERANCE)


def direct_dehaze(x, strength, patch, radius):
    dark = np.nanmin(windows(x, patch // 2, "constant", constant_values=np.nan), axis=(2, 3, 4))
    hazy = x.reshape(-1, 3)[np.argsort(-dark.ravel(), kind="stable")[: max(1, dark.size // 1000)]]
    haze = hazy[hazy.sum(axis=1).argmax()]
    transmission = 1 - strength * np.nanmin(
        windows(x / haze, patch // 2, "constant", constant_values=np.nan), axis=(2, 3, 4)
    )
    guide, t = x.mean(axis=-1, keepdims=True), transmission[..., None]
    mean_t, mean_guide = box_mean(t, radius), box_mean(guide, radius)
    slope = (box_mean(guide * t, radius) - mean_guide * mean_t) / (box_mean(guide**2, radius) - mean_guide**2 + 1e-3)
    t = box_mean(slope, radius) * guide + box_mean(mean_t - slope * mean_guide, radius)
    return np.clip((x - haze) / np.maximum(t, 0.1) + haze, 0, 1)


def test_dehazing_is_that_of_the_paper(images):
    hazy = 0.4 * images + 0.6
    found = dehaze(hazy, 0.9, patch=3, radius=4)
    for x, result in zip(hazy.astype(float), found, strict=True):
        np.testing.assert_allclose(result, direct_dehaze(x, 0.9, 3, 4), atol=TOLERANCE)


def test_dehazing_brings_back_a_clear_picture_with_dark_pixels_everywhere():
    clear = np.random.default_rng(1).random((1, 32, 32, 3)).astype(np.float32)
    clear[0, ::2, ::2] = 0  # the prior holds
    clear[0, 10:21, 10:21] = 1  # and there is a patch of pure haze
    hazy = 0.5 * clear + 0.5
    assert np.abs(dehaze(hazy, 1.0, patch=3, radius=2) - clear).mean() < 0.3 * np.abs(hazy - clear).mean()


def direct_bilateral(x, radius, sigma_color, sigma_space):
    offsets = np.arange(-radius, radius + 1)
    square = offsets[:, None] ** 2 + offsets**2
    near = np.where(square <= radius**2, np.exp(-0.5 * square / sigma_space**2), 0)
    pixels = windows(x, radius, "reflect")
    weight = near * np.exp(-0.5 * (np.abs(pixels - x[:, :, None, None]).sum(axis=-1) / sigma_color) ** 2)
    return (weight[..., None] * pixels).sum(axis=(2, 3)) / weight.sum(axis=(2, 3))[..., None]


def test_the_bilateral_filter_is_the_direct_sum(images):
    found = bilateral(images, radius=3, sigma_color=0.2, sigma_space=1.5)
    for x, result in zip(images, found, strict=True):
        np.testing.assert_allclose(result, direct_bilateral(x.astype(float), 3, 0.2, 1.5), atol=TOLERANCE)


def test_the_bilateral_filter_is_that_of_opencv(images):
    cv2 = pytest.importorskip("cv2")
    found = bilateral(images, radius=3, sigma_color=0.2, sigma_space=1.5)
    for x, result in zip(images, found, strict=True):
        np.testing.assert_allclose(result, cv2.bilateralFilter(x, 7, 0.2, 1.5), atol=TOLERANCE)


def test_sharpening_adds_what_a_gaussian_blur_takes_away(images):
    from scipy import ndimage

    found = sharpen(images, 0.8, sigma=1.0)
    blurred = ndimage.gaussian_filter(images.astype(float), (0, 1, 1, 0), mode="mirror", truncate=3)
    np.testing.assert_allclose(found, np.clip(images + 0.8 * (images - blurred), 0, 1), atol=TOLERANCE)


def test_a_chain_is_its_stages_in_the_order_given(images):
    options = default_config().study.postprocess
    first, second = chain(images, ("sharpen", "contrast"), options)
    sharpened = sharpen(images, options.sharpen, sigma=options.sharpen_sigma)
    np.testing.assert_array_equal(first, sharpened)
    np.testing.assert_array_equal(second, contrast(sharpened, options.contrast))

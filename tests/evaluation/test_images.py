import jax
import numpy as np
import pytest
from scipy.signal import convolve2d

from vae_jax.evaluation.images import image_metrics

SIGMA, K1, K2 = 1.5, 0.01, 0.03  # Wang et al. (2004), section III.B, for a range of 1

measure = jax.jit(image_metrics)


def pairs_of(shape, noise=0.1):
    source = np.random.default_rng(0)
    x = source.random(shape, np.float32)
    return x, np.clip(x + noise * source.normal(size=shape), 0, 1).astype(np.float32)


def reference_ssim(x, y, window):
    """SSIM of one plane [H, W]: Wang et al. (2004), equation 13, averaged where the window fits."""
    taps = np.exp(-0.5 * ((np.arange(window) - window // 2) / SIGMA) ** 2)
    kernel = np.outer(taps, taps) / np.outer(taps, taps).sum()

    def blur(plane):
        return convolve2d(plane, kernel, mode="valid")

    x, y = x.astype(np.float64), y.astype(np.float64)
    mu_x, mu_y = blur(x), blur(y)
    var_x, var_y, covariance = blur(x * x) - mu_x**2, blur(y * y) - mu_y**2, blur(x * y) - mu_x * mu_y
    luminance = (2 * mu_x * mu_y + K1**2) / (mu_x**2 + mu_y**2 + K1**2)
    return (luminance * (2 * covariance + K2**2) / (var_x + var_y + K2**2)).mean()


@pytest.mark.parametrize("shape", [(3, 16, 16, 1), (2, 14, 20, 3)], ids=str)
def test_ssim_is_the_published_formula_with_a_window_of_eleven(shape):
    x, y = pairs_of(shape)
    planes = [[reference_ssim(a[..., c], b[..., c], 11) for c in range(shape[-1])] for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(measure(x, y)["ssim"], np.mean(planes, axis=1), rtol=1e-4)


@pytest.mark.parametrize(("size", "window"), [((8, 8), 7), ((7, 9), 7), ((10, 8), 7), ((4, 4), 3)])
def test_ssim_of_a_small_image_takes_the_largest_odd_window_that_fits(size, window):
    x, y = pairs_of((3, *size, 1))
    expected = [reference_ssim(a[..., 0], b[..., 0], window) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(measure(x, y)["ssim"], expected, rtol=1e-4)


def test_mse_is_the_mean_over_the_pixels_and_channels_of_each_image():
    x, y = pairs_of((4, 8, 8, 3))
    np.testing.assert_allclose(measure(x, y)["mse"], np.square(x - y).mean(axis=(1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize(("error", "decibels"), [(1.0, 0), (0.1, 20), (0.01, 40)])
def test_psnr_is_twenty_decibels_for_each_tenth_of_the_range(error, decibels):
    x = np.zeros((2, 8, 8, 1), np.float32)
    np.testing.assert_allclose(measure(x, x + np.float32(error))["psnr"], [decibels] * 2, atol=1e-3)


def test_images_that_agree_exactly_have_psnr_100_and_ssim_1():
    x, _ = pairs_of((3, 8, 8, 1))
    metrics = measure(x, x)
    assert np.array_equal(metrics["mse"], np.zeros(3)) and np.array_equal(metrics["psnr"], np.full(3, 100))
    np.testing.assert_allclose(metrics["ssim"], np.ones(3), rtol=1e-5)


def test_a_black_and_a_white_image_have_no_structure_in_common():
    x = np.zeros((1, 8, 8, 1), np.float32)
    assert float(measure(x, x + 1)["ssim"][0]) == pytest.approx(K1**2 / (1 + K1**2), rel=1e-3)


def test_each_image_is_measured_alone():
    x, y = pairs_of((4, 8, 8, 1))
    together = measure(x, y)
    for name, values in together.items():
        assert values.shape == (4,)
        np.testing.assert_allclose(values[2:3], measure(x[2:3], y[2:3])[name], rtol=1e-5)


def test_vectors_have_a_mean_squared_error_alone():
    x, y = pairs_of((4, 6))
    metrics = measure(x, y)
    assert list(metrics) == ["mse"]
    np.testing.assert_allclose(metrics["mse"], np.square(x - y).mean(axis=1), rtol=1e-5)

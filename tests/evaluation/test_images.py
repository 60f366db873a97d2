import jax
import numpy as np
import pytest
from scipy.signal import convolve2d

from vae_jax.evaluation.images import high_frequency_power, image_metrics

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


def wave(cycles, size=32, axis=1):
    """One channel of a cosine with so many cycles a pixel along an axis: [1, H, W, 1]."""
    line = 0.5 + 0.5 * np.cos(2 * np.pi * cycles * np.arange(size))
    plane = np.broadcast_to(line, (size, size)) if axis == 2 else np.broadcast_to(line[:, None], (size, size))
    return plane[None, ..., None].astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(("cycles", "share"), [(0.06, 0), (0.15, 0), (0.35, 1), (0.4, 1)])
def test_detail_is_the_power_of_waves_shorter_than_four_pixels(cycles, share, axis):
    # A cosine of amplitude ½ has power ⅛; a Hann window keeps (⅜)² of it in two dimensions (Harris, 1978).
    taper = np.sin(np.pi * (np.arange(32) + 0.5) / 32) ** 2
    kept = np.square(np.outer(taper, taper)).mean()
    assert kept == pytest.approx((3 / 8) ** 2)
    power = float(high_frequency_power(wave(cycles, axis=axis))[0])
    assert power == pytest.approx(share * kept / 8, abs=1e-4)


def test_detail_of_a_blurred_picture_is_below_one_and_of_a_noisy_one_above():
    x, noisy = pairs_of((3, 32, 32, 3))
    x = x / 10 + 0.4
    blurred = (x + np.roll(x, 1, 1) + np.roll(x, 1, 2) + np.roll(x, (1, 1), (1, 2))) / 4
    assert (measure(x, blurred)["detail"] < 0.2).all()
    assert (measure(x, x + noisy)["detail"] > 2).all()


def test_detail_scales_with_the_square_of_the_contrast():
    x, _ = pairs_of((2, 16, 20, 1))
    np.testing.assert_allclose(measure(x, x / 2)["detail"], 0.25, rtol=1e-3)


def test_a_slope_from_border_to_border_is_no_detail():
    slope = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[:, None, None], (1, 64, 64, 1))
    assert high_frequency_power(slope)[0] < 1e-7


def test_flat_pictures_have_the_same_detail():
    x = np.full((1, 8, 8, 1), 0.5, np.float32)
    assert float(measure(x, x)["detail"][0]) == 1

"""How near a reconstruction comes to its image: MSE, PSNR, SSIM and the power of fine detail, one value an image."""

import dm_pix
import jax
import jax.numpy as jnp

PSNR_CEILING = 100.0  # dB, for images that agree exactly
SSIM_WINDOW = 11
HIGH = 0.25  # cycles a pixel: half of the Nyquist frequency
FLAT = 1e-9  # a power below that of rounding to 256 levels: it makes two flat pictures equal


def image_metrics(x: jax.Array, reconstruction: jax.Array) -> dict[str, jax.Array]:
    """For x [B, H, W, C] in [0, 1]: "mse", "psnr" (dB) over all pixels and channels, "ssim", "detail"; each [B].

    SSIM: Wang et al. (2004) with a Gaussian window of 11 pixels, or the largest odd window that a smaller image
    holds. "detail" is the reconstruction's `high_frequency_power` as a share of its image's: blur is below 1. Vectors
    [B, D] have only "mse".
    """
    mse = jnp.square(x - reconstruction).mean(axis=tuple(range(1, x.ndim)))
    if x.ndim != 4:
        return {"mse": mse}
    window = min(SSIM_WINDOW, (min(x.shape[1:3]) - 1) // 2 * 2 + 1)
    return {
        "mse": mse,
        "psnr": jnp.minimum(dm_pix.psnr(x, reconstruction), PSNR_CEILING),
        "ssim": dm_pix.ssim(x, reconstruction, filter_size=window),
        "detail": (high_frequency_power(reconstruction) + FLAT) / (high_frequency_power(x) + FLAT),
    }


def high_frequency_power(x: jax.Array) -> jax.Array:
    """The power of x [B, H, W, C] at radial frequencies from `HIGH` on, mean over pixels and channels: [B].

    The azimuthal integral of the squared Fourier spectrum (Durall et al., 2020), summed over its upper radii. Each
    channel is tapered to its borders by a Hann window, without which the step between opposite borders, which every
    picture has, would count as detail; the power is that of the tapered one.
    """
    height, width = x.shape[1:3]
    taper = jnp.outer(_hann(height), _hann(width))[..., None]  # [H, W, 1]
    spectrum = jnp.fft.fft2(x * taper, axes=(1, 2))  # [B, H, W, C]
    radius = jnp.hypot(jnp.fft.fftfreq(height)[:, None], jnp.fft.fftfreq(width))[..., None]
    power = jnp.where(radius >= HIGH, jnp.square(jnp.abs(spectrum)), 0).sum(axis=(1, 2))
    return power.mean(axis=-1) / (height * width) ** 2


def _hann(length: int) -> jax.Array:
    return jnp.square(jnp.sin(jnp.pi * (jnp.arange(length) + 0.5) / length))

"""How near a reconstruction comes to its image: MSE, PSNR and SSIM, one value an image."""

import dm_pix
import jax
import jax.numpy as jnp

PSNR_CEILING = 100.0  # dB, for images that agree exactly
SSIM_WINDOW = 11


def image_metrics(x: jax.Array, reconstruction: jax.Array) -> dict[str, jax.Array]:
    """For x [B, H, W, C] in [0, 1]: "mse" and "psnr" (dB) over all pixels and channels, "ssim"; each [B].

    SSIM: Wang et al. (2004) with a Gaussian window of 11 pixels, or the largest odd window that a smaller image
    holds. Vectors [B, D] have only "mse".
    """
    mse = jnp.square(x - reconstruction).mean(axis=tuple(range(1, x.ndim)))
    if x.ndim != 4:
        return {"mse": mse}
    window = min(SSIM_WINDOW, (min(x.shape[1:3]) - 1) // 2 * 2 + 1)
    return {
        "mse": mse,
        "psnr": jnp.minimum(dm_pix.psnr(x, reconstruction), PSNR_CEILING),
        "ssim": dm_pix.ssim(x, reconstruction, filter_size=window),
    }

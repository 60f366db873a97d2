"""What several studies measure of their pictures."""

import jax
import numpy as np

from vae_jax.evaluation.images import image_metrics

LABELS = {"mse": ("Mean squared error", ""), "psnr": ("PSNR", "dB"), "ssim": ("SSIM", "")}


def similarity(images: np.ndarray, outputs: np.ndarray) -> dict[str, np.ndarray]:
    """MSE, PSNR and SSIM (see `image_metrics`) of outputs [..., B, H, W, C] with the images [B, H, W, C]: [..., B]."""
    lead = outputs.shape[: outputs.ndim - images.ndim]
    flat = outputs.reshape(-1, *images.shape)  # [N, B, H, W, C]
    measured = [jax.device_get(_metrics(images, each)) for each in flat]
    return {name: np.stack([each[name] for each in measured]).reshape(*lead, -1) for name in measured[0]}


def distance(outputs: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Mean squared difference per pixel of variations [S, K, B, ...] from the images [B, ...]: [S, B]."""
    return np.square(outputs - images).mean(axis=(1, *range(3, outputs.ndim)))


def diversity(outputs: np.ndarray) -> np.ndarray:
    """Standard deviation among the K variations [S, K, B, ...], root mean square over pixels: [S, B]."""
    return np.sqrt(outputs.var(axis=1).mean(axis=tuple(range(2, outputs.ndim - 1))))


_metrics = jax.jit(image_metrics)

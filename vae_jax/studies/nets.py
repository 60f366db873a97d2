"""A trained model's nets over any number of images or latents, in chunks of one size: compiled once, bounded memory."""

import numpy as np

from vae_jax import distributions
from vae_jax.inference import Model

CHUNK = 64


def encode(model: Model, images: np.ndarray) -> distributions.Posterior:
    """q(z|x) of images [B, ...]: arrays [B, Z]."""
    posteriors = [model.encode(chunk) for chunk in _chunks(images)]
    fields = {name: [getattr(posterior, name) for posterior in posteriors] for name in vars(posteriors[0])}
    return type(posteriors[0])(**{name: np.concatenate(parts)[: len(images)] for name, parts in fields.items()})


def decode(model: Model, z: np.ndarray) -> np.ndarray:
    """The mean of p(x|z) for latents [..., Z]: [..., H, W, C], in [0, 1] for images."""
    flat = z.reshape(-1, z.shape[-1])
    pixels = np.concatenate([model.decode(chunk) for chunk in _chunks(flat)])[: len(flat)]
    return pixels.reshape(*z.shape[:-1], *pixels.shape[1:])


def reconstruct(model: Model, images: np.ndarray) -> np.ndarray:
    """The mean of p(x|z) at the posterior's mean, shaped as the images [B, ...]."""
    return decode(model, encode(model, images).mean)


def _chunks(values):
    """The values [N, ...] in pieces [CHUNK, ...], the last filled up with zeros."""
    for start in range(0, len(values), CHUNK):
        chunk = values[start : start + CHUNK]
        yield np.concatenate([chunk, np.zeros((CHUNK - len(chunk), *chunk.shape[1:]), chunk.dtype)])

"""A trained model's nets over any number of images or latents, in chunks of one size: compiled once, bounded memory."""

import dataclasses

import numpy as np

from vae_jax.distributions import Normal, kl
from vae_jax.inference import Model

CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The posteriors of B inputs."""

    mean: np.ndarray  # [B, Z]
    stddev: np.ndarray  # [B, Z]
    kl: np.ndarray  # [B, Z], from the prior N(0, 1), nats


def encode(model: Model, images: np.ndarray) -> Encoded:
    """q(z|x) of images [B, ...]."""
    zeros = np.zeros(model.config.model.latent, np.float32)
    posteriors = [model.encode(chunk) for chunk in _chunks(images)]
    parts = [(q.mean, q.stddev, kl(q, Normal(zeros, zeros))) for q in posteriors]
    return Encoded(*(np.concatenate(part)[: len(images)] for part in zip(*parts, strict=True)))


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

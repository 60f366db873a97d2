"""A trained model's nets over any number of images or latents, in chunks of one size: compiled once, bounded memory."""

import dataclasses

import numpy as np

from vae_jax.distributions import Normal, Point, kl
from vae_jax.errors import UserError
from vae_jax.inference import Model

CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The posteriors of inputs."""

    mean: np.ndarray  # [..., Z]
    stddev: np.ndarray  # [..., Z]
    kl: np.ndarray | None  # [..., Z], from the prior N(0, 1), nats; None for an autoencoder, which has no prior

    @property
    def deterministic(self) -> bool:
        """Whether they are an autoencoder's: all mass at the mean."""
        return self.kl is None


def encode(model: Model, images: np.ndarray, cond: np.ndarray | None = None) -> Encoded:
    """q(z|x) of images [..., H, W, C]: arrays [..., Z].

    A conditional model is told `cond` [..., n], whose dimensions but the last are broadcast to those of the images.
    UserError for images of another shape, for one alone and for none.
    """
    if images.ndim <= len(model.shape) or images.shape[-len(model.shape) :] != tuple(model.shape) or not images.size:
        needed = ", ".join(map(str, model.shape))
        raise UserError(f"images are of the shape {images.shape}; they must be [B, {needed}] with B of 1 or more.")
    zeros = np.zeros(model.config.model.latent, np.float32)
    lead = images.shape[: images.ndim - len(model.shape)]
    flat = images.reshape(-1, *model.shape)
    posteriors = [model.encode(*chunk) for chunk in _chunks(flat, *_told(cond, lead))]

    def whole(parts):
        return np.concatenate(parts)[: len(flat)].reshape(*lead, -1)

    return Encoded(
        mean=whole([q.mean for q in posteriors]),
        stddev=whole([q.stddev for q in posteriors]),
        kl=None if isinstance(posteriors[0], Point) else whole([kl(q, Normal(zeros, zeros)) for q in posteriors]),
    )


def decode(model: Model, z: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
    """The mean of p(x|z) for latents [..., Z], told `cond` as in `encode`: [..., H, W, C], in [0, 1] for images."""
    flat = z.reshape(-1, z.shape[-1])
    chunks = _chunks(flat, *_told(cond, z.shape[:-1]))
    pixels = np.concatenate([model.decode(*chunk) for chunk in chunks])[: len(flat)]
    return pixels.reshape(*z.shape[:-1], *pixels.shape[1:])


def reconstruct(model: Model, images: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
    """The mean of p(x|z) at the posterior's mean, shaped as the images [..., H, W, C]."""
    return decode(model, encode(model, images, cond).mean, cond)


def _told(cond, lead):
    """What each of the values whose shape begins with `lead` is told, as one array [N, n] in a tuple; else ()."""
    if cond is None:
        return ()
    try:
        each = np.broadcast_to(cond, (*lead, np.shape(cond)[-1]))
    except ValueError as error:
        raise UserError(f"cond has the shape {np.shape(cond)}; it must have a row for each of {lead}.") from error
    return (each.reshape(-1, each.shape[-1]),)


def _chunks(*arrays):
    """The arrays [N, ...] in pieces [CHUNK, ...] of each, the last filled up with zeros."""
    for start in range(0, len(arrays[0]), CHUNK):
        pieces = [values[start : start + CHUNK] for values in arrays]
        yield [np.concatenate([each, np.zeros((CHUNK - len(each), *each.shape[1:]), each.dtype)]) for each in pieces]

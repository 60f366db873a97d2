"""The noise of a study: each input's comes from its content, so that neither its company nor its place change it."""

from collections.abc import Sequence

import jax
import numpy as np

from vae_jax import rng
from vae_jax.data.content import example_ids
from vae_jax.errors import UserError
from vae_jax.evaluation.sampling import told
from vae_jax.images.grids import to_uint8
from vae_jax.inference import Model
from vae_jax.validation import SEEDS


def content_ids(images: np.ndarray) -> np.ndarray:
    """A number for each image [B, H, W, C] or vector [B, D], by its content: uint32 [B], alike for uint8 and floats."""
    return example_ids(to_uint8(images) if images.ndim == 4 else np.asarray(images, np.float32))


def normal(
    images: np.ndarray, shape: tuple[int, ...], *, count: int, seed: int, name: str, noise: np.ndarray | None = None
) -> np.ndarray:
    """Standard normal noise [K, B, *shape] for the study `name`: `count` draws of `shape` for each image [B, ...].

    Those of count=10 are the first ten of count=20. `noise` is what to use instead, which must have that shape.
    """
    if noise is not None:
        return checked(noise, (count, len(images), *shape))
    check_count_and_seed(count, seed)
    return np.asarray(_normal(keys(images, seed=seed, name=name), np.arange(count, dtype=np.uint32), shape))


def of_the_prior(model: Model, start: int, stop: int, *, seed: int) -> np.ndarray:
    """The latents start ... stop − 1 that `Model.sample` draws under `seed`: [n, Z]."""
    check_count_and_seed(stop - start, seed)
    keys = rng.per_example(rng.stream(seed, "sample"), np.arange(start, stop, dtype=np.uint32))
    return np.asarray(rng.normal(keys, (stop - start, model.config.model.latent)))


def conditions(
    model: Model, start: int, stop: int, *, seed: int, cond: Sequence[float] | None = None
) -> np.ndarray | None:
    """What the samples start ... stop − 1 are told [n, ...]: `cond` all of them, else as `Model.sample` draws it.

    None for a model that is told nothing.
    """
    if cond is None:
        return told(model.conditions, np.arange(start, stop), seed=seed)
    return np.tile(np.float32(cond), (stop - start, 1))


def strengths(strength: float | Sequence[float], *, field: str = "strength") -> np.ndarray:
    """One strength or several as [S] float32; UserError unless all are finite and none is negative."""
    each = np.atleast_1d(np.float32(strength))
    if not (np.isfinite(each) & (each >= 0)).all():
        raise UserError(f"{field} is {strength}; it must be 0 or more.")
    return each


def check_count_and_seed(count: int, seed: int) -> None:
    """Raises UserError unless there can be `count` draws under `seed`."""
    if not isinstance(count, int | np.integer) or count < 1:
        raise UserError(f"count is {count}; it must be an integer, 1 or more.")
    if not 0 <= seed < SEEDS:
        raise UserError(f"seed is {seed}; it must be from 0 to {SEEDS - 1}.")


def keys(images: np.ndarray, *, seed: int, name: str) -> jax.Array:
    """The key of each image [B, ...] for the draws `name` under `seed`: keys [B]."""
    return rng.per_example(rng.stream(seed, f"study {name}"), content_ids(images))


@jax.jit(static_argnums=2)
def _normal(keys, numbers, shape):
    drawn = rng.per_sample(keys, numbers)  # [K, B]
    return rng.normal(drawn, (*drawn.shape, *shape))


def checked(noise: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The noise of an earlier study; UserError unless it has `shape`."""
    if noise.shape != shape:
        raise UserError(f"The noise has the shape {noise.shape}; these inputs and this count need {shape}.")
    return noise

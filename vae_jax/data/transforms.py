"""What happens to a batch inside the compiled step, the same for every way of delivering it."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from vae_jax import rng
from vae_jax.errors import UserError

BINARIZATIONS = ("none", "threshold", "dynamic")


def prepare(batch: Mapping[str, jax.Array], key: jax.Array, *, binarization: str) -> jax.Array:
    """The images of a batch as float32 [B, H, W, C] in [0, 1]; uint8 ones are scaled, float ones taken as they are.

    Binarization "threshold" gives x > 0.5; "dynamic" draws each pixel from Bernoulli(x), as in Burda et al. (2016),
    anew in every epoch. That draw is keyed by (key, epoch, example_id), so batches and devices don't change it.
    """
    image = batch["image"]
    x = image.astype(jnp.float32) / 255 if image.dtype == jnp.uint8 else image
    if binarization == "none":
        return x
    if binarization == "threshold":
        return (x > 0.5).astype(jnp.float32)
    if binarization == "dynamic":
        keys = rng.per_example(rng.per_example(key, batch["epoch"]), batch["example_id"])
        return (rng.uniform(keys, x.shape) < x).astype(jnp.float32)
    raise UserError(f"data.binarization is {binarization!r}; it must be one of {', '.join(BINARIZATIONS)}.")

"""A classifier: an encoder, and one logit for each attribute or class that it tells."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.models.nets import make_net


class Classifier(nnx.Module):
    """Logits [B, A] of the A names in `model["target"]` for x [B, ...], float32 whatever the encoder computes in."""

    def __init__(self, model: Mapping, shape: tuple[int, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.encoder = make_net(model["encoder"], "Encoder", tuple(shape), dtype=dtype, rngs=rngs)
        self.heads = nnx.Linear(self.encoder.features, len(model["target"]), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.heads(self.encoder(x).astype(jnp.float32))

"""The fully connected family: encoder and decoder for vectors, or for images laid flat."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.nn.layers import DenseStack

OPTIONS = {"widths": (512,), "norm": "none", "activation": "relu"}


def check(options: Mapping, shape: tuple[int, ...], *, field: str) -> None:
    """Dense layers fit any shape; nothing can be wrong here."""


class Encoder(nnx.Module):
    """x [B, ...] -> h [B, features]."""

    def __init__(self, shape: tuple[int, ...], options: Mapping, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.stack = DenseStack(math.prod(shape), dtype=dtype, rngs=rngs, **options)
        self.features = self.stack.features

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.stack(x.reshape(x.shape[0], -1))  # [B, widths[-1]]


class Decoder(nnx.Module):
    """z [B, Z] -> [B, *shape] before the output activation; the last layer computes in `out_dtype` if it is given."""

    def __init__(
        self,
        latent: int,
        shape: tuple[int, ...],
        options: Mapping,
        *,
        dtype: jnp.dtype,
        out_dtype: jnp.dtype | None = None,
        rngs: nnx.Rngs,
    ):
        self.shape = shape
        self.stack = DenseStack(latent, dtype=dtype, rngs=rngs, **options)
        self.out = nnx.Linear(self.stack.features, math.prod(shape), dtype=out_dtype or dtype, rngs=rngs)

    def __call__(self, z: jax.Array) -> jax.Array:
        return self.out(self.stack(z)).reshape(z.shape[0], *self.shape)

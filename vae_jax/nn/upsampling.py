"""The upsampling family, for decoders: every layer doubles its map by nearest neighbours and convolves it.

The decoder of deep feature consistent VAEs (Hou et al., 2017). Kernels that don't overlap unevenly leave no
checkerboard (Odena et al., 2016), and borders that continue themselves no frame.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.nn.convolution_layers import UpsampledConv
from vae_jax.nn.layers import (
    ACTIVATIONS,
    DECODER_OPTIONS,
    DenseStack,
    check_pictures,
    decoder_options,
    halvings,
    normalisation,
    run_block,
)

OPTIONS = {"channels": (64, 32), "dense": (), "norm": "none", "activation": "relu", **DECODER_OPTIONS}


def check(options: Mapping, shape: tuple[int, ...], *, field: str) -> None:
    """Raises UserError where the data are no pictures; those of any size can be met."""
    check_pictures("upsampling", shape, field=field)


class Layer(nnx.Module):
    """An upsampled convolution with its norm and activation."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], options: Mapping, **kwargs):
        norm = options["norm"]
        self.conv = UpsampledConv(inputs, outputs, size, use_bias=norm != "batch", **kwargs)
        self.norm = normalisation(norm, outputs, **kwargs)
        self.activation, self.remat = ACTIVATIONS[options["activation"]], False

    def __call__(self, h: jax.Array) -> jax.Array:
        return self.activation(self.norm(self.conv(h)))


class Decoder(nnx.Module):
    """z [B, Z] -> [B, H, W, C] before the output activation; the last layer has no norm and no activation.

    Unless last_layer is "activated", as in nets that are imported. It computes in `out_dtype` where that is given.
    """

    def __init__(
        self,
        latent: int,
        shape: tuple[int, int, int],
        options: Mapping,
        *,
        dtype: jnp.dtype,
        out_dtype: jnp.dtype | None = None,
        rngs: nnx.Rngs,
    ):
        options = decoder_options(options)
        channels = options["channels"]
        path = halvings(shape[:2], len(channels), field="model.decoder")[::-1]
        height, width = path[0].inner
        self.start = (height, width, channels[0])
        self.dense = DenseStack(
            latent,
            (*options["dense"], height * width * channels[0]),
            activation=options["dense_activation"],
            dtype=dtype,
            rngs=rngs,
        )
        self.layers = nnx.List(
            Layer(i, o, place.outer, options, dtype=dtype, rngs=rngs)
            for place, i, o in zip(path[:-1], channels[:-1], channels[1:], strict=True)
        )
        ends, kwargs = (channels[-1], shape[-1], path[-1].outer), {"dtype": out_dtype or dtype, "rngs": rngs}
        plain = options["last_layer"] == "plain"
        self.out = UpsampledConv(*ends, use_bias=True, **kwargs) if plain else Layer(*ends, options, **kwargs)

    def __call__(self, z: jax.Array) -> jax.Array:
        h = self.dense(z).reshape(z.shape[0], *self.start)  # [B, h, w, c]
        for layer in self.layers:
            h = run_block(layer, h)
        return self.out(h)

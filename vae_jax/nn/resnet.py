"""The residual family: stages of residual blocks, each at half the size of the one before, and attention on small maps.

`channels` has one entry a stage, from the image inwards in the encoder (which begins with a strided convolution of the
image) and from the latent outwards in the decoder. A stage has `blocks` residual blocks (He et al., 2016, with norm and
activation first), each followed by self-attention where the map is at most `attention` pixels a side (0: nowhere).
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.nn.convolution_layers import Conv, UpsampledConv
from vae_jax.nn.layers import ACTIVATIONS, Pair, check_pictures, halvings, normalisation, run_block

OPTIONS = {"channels": (32, 64), "blocks": 1, "attention": 16, "norm": "group", "activation": "silu"}


def check(options: Mapping, shape: tuple[int, ...], *, field: str) -> None:
    """Raises UserError where the data are no pictures; those of any size can be met."""
    check_pictures("resnet", shape, field=field)


class ResidualBlock(nnx.Module):
    """h + conv(act(norm(conv(act(norm(h)))))) of h [B, h, w, C]; the second convolution starts at zero."""

    def __init__(self, channels: int, options: Mapping, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        norm = options["norm"]
        self.activation, self.remat = ACTIVATIONS[options["activation"]], False
        self.norms = nnx.List(normalisation(norm, channels, dtype=dtype, rngs=rngs) for _ in range(2))
        conv = functools.partial(_conv, options, channels, channels, stride=1, padding=((1, 1), (1, 1)))
        starts = (nnx.initializers.lecun_normal(), nnx.initializers.zeros_init())
        self.convs = nnx.List(conv(kernel_init=start, dtype=dtype, rngs=rngs) for start in starts)

    def __call__(self, h: jax.Array) -> jax.Array:
        residual = h
        for norm, conv in zip(self.norms, self.convs, strict=True):
            residual = conv(self.activation(norm(residual)))
        return h + residual


class SelfAttention(nnx.Module):
    """h + attention between all pixels of h [B, h, w, C], in one head (Zhang et al., 2019); it starts at zero."""

    def __init__(self, channels: int, options: Mapping, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.remat = False
        self.norm = normalisation(options["norm"], channels, dtype=dtype, rngs=rngs)
        self.query_key_value = nnx.Linear(channels, 3 * channels, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(channels, channels, kernel_init=nnx.initializers.zeros_init(), dtype=dtype, rngs=rngs)

    def __call__(self, h: jax.Array) -> jax.Array:
        b, height, width, c = h.shape
        pixels = self.norm(h).reshape(b, height * width, 1, c)  # [B, h·w, heads, C]
        mixed = jax.nn.dot_product_attention(*jnp.split(self.query_key_value(pixels), 3, axis=-1))
        return h + self.out(mixed).reshape(h.shape)


class Encoder(nnx.Module):
    """x [B, H, W, C] -> h [B, features]."""

    def __init__(self, shape: tuple[int, int, int], options: Mapping, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        channels = (shape[-1], *options["channels"])
        path = halvings(shape[:2], len(options["channels"]), field="model.encoder")
        self.downs = nnx.List(
            _conv(options, i, o, stride=2, padding=place.padding, dtype=dtype, rngs=rngs)
            for place, i, o in zip(path, channels[:-1], channels[1:], strict=True)
        )
        self.stages = nnx.List(
            _stage(place.inner, c, options, dtype=dtype, rngs=rngs) for place, c in zip(path, channels[1:], strict=True)
        )
        self.activation, self.norm = _last(channels[-1], options, dtype=dtype, rngs=rngs)
        height, width = path[-1].inner
        self.features = height * width * channels[-1]

    def __call__(self, x: jax.Array) -> jax.Array:
        h = x
        for down, stage in zip(self.downs, self.stages, strict=True):
            h = _run_stage(stage, down(h))
        return self.activation(self.norm(h)).reshape(h.shape[0], -1)  # [B, h·w·c]


class Decoder(nnx.Module):
    """z [B, Z] -> [B, H, W, C] before the output activation.

    The last convolution, which has neither norm nor activation after it, computes in `out_dtype` where it is given.
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
        channels, norm = options["channels"], options["norm"]
        path = halvings(shape[:2], len(channels), field="model.decoder")[::-1]
        height, width = path[0].inner
        self.start = (height, width, channels[0])
        self.dense = nnx.Linear(latent, height * width * channels[0], dtype=dtype, rngs=rngs)
        self.stages = nnx.List(
            _stage(place.inner, c, options, dtype=dtype, rngs=rngs) for place, c in zip(path, channels, strict=True)
        )
        self.ups = nnx.List(
            UpsampledConv(i, o, place.outer, use_bias=norm != "batch", dtype=dtype, rngs=rngs)
            for place, i, o in zip(path[:-1], channels[:-1], channels[1:], strict=True)
        )
        self.activation, self.norm = _last(channels[-1], options, dtype=dtype, rngs=rngs)
        self.out = UpsampledConv(
            channels[-1], shape[-1], path[-1].outer, use_bias=True, dtype=out_dtype or dtype, rngs=rngs
        )

    def __call__(self, z: jax.Array) -> jax.Array:
        h = self.dense(z).reshape(z.shape[0], *self.start)  # [B, h, w, c]
        for stage, up in zip(self.stages[:-1], self.ups, strict=True):
            h = up(_run_stage(stage, h))
        return self.out(self.activation(self.norm(_run_stage(self.stages[-1], h))))


def _conv(options: Mapping, inputs: int, outputs: int, *, stride: int, padding: tuple[Pair, Pair], **kwargs) -> Conv:
    return Conv(inputs, outputs, (3, 3), strides=stride, padding=padding, use_bias=options["norm"] != "batch", **kwargs)


def _stage(size: Pair, channels: int, options: Mapping, **kwargs) -> nnx.List:
    """The blocks of a stage whose map has `size`, each with its attention where the map is small."""
    kinds = [ResidualBlock, SelfAttention] if max(size) <= options["attention"] else [ResidualBlock]
    return nnx.List(kind(channels, options, **kwargs) for kind in options["blocks"] * kinds)


def _run_stage(stage: nnx.List, h: jax.Array) -> jax.Array:
    for block in stage:
        h = run_block(block, h)
    return h


def _last(channels: int, options: Mapping, **kwargs) -> tuple:
    """The activation and the norm that a stack of such blocks ends with."""
    return ACTIVATIONS[options["activation"]], normalisation(options["norm"], channels, **kwargs)

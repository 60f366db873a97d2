"""The convolutional family: strided convolutions down, transposed convolutions back to exactly the same sizes.

`kernel`, `stride` and `padding` are one value for all layers or one a layer; the decoder's lists run from the latent
outwards. `dense` are the widths of dense layers between the convolutions and the latent.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.errors import UserError
from vae_jax.nn.convolution_layers import Conv, ConvTranspose
from vae_jax.nn.layers import (
    ACTIVATIONS,
    DECODER_OPTIONS,  # noqa: F401 - this family's, too
    DenseStack,
    Stride,
    check_pictures,
    decoder_options,
    mirrored,
    normalisation,
    stride_path,
)

OPTIONS = {
    "channels": (32, 64),
    "kernel": 4,
    "stride": 2,
    "padding": "same",
    "dense": (),
    "norm": "none",
    "activation": "relu",
}


def check(options: Mapping, shape: tuple[int, ...], *, field: str) -> None:
    """Raises UserError where the convolutions don't fit images of `shape` (H, W, C)."""
    check_pictures("conv", shape, field=field)
    _path(shape, options, field=field)


class Encoder(nnx.Module):
    """x [B, H, W, C] -> h [B, features]."""

    def __init__(self, shape: tuple[int, int, int], options: Mapping, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        path = _path(shape, options, field="model.encoder")
        norm, channels = options["norm"], (shape[-1], *options["channels"])
        self.activation, self.remat = ACTIVATIONS[options["activation"]], False
        self.convs, self.norms = nnx.List(), nnx.List()
        for place, i, o in zip(path, channels[:-1], channels[1:], strict=True):
            self.convs.append(
                Conv(
                    i,
                    o,
                    (place.kernel, place.kernel),
                    strides=place.stride,
                    padding=place.padding,
                    use_bias=norm != "batch",
                    dtype=dtype,
                    rngs=rngs,
                )
            )
            self.norms.append(normalisation(norm, o, dtype=dtype, rngs=rngs))
        height, width = path[-1].inner
        self.dense = DenseStack(
            height * width * channels[-1],
            options["dense"],
            activation=options["activation"],
            dtype=dtype,
            rngs=rngs,
        )
        self.features = self.dense.features

    def __call__(self, x: jax.Array) -> jax.Array:
        h = x
        for number in range(len(self.norms)):
            h = _layer(self, number, h)
        return self.dense(h.reshape(h.shape[0], -1))  # [B, h·w·c] -> [B, features]


class Decoder(nnx.Module):
    """z [B, Z] -> [B, H, W, C] before the output activation; the last layer has no norm and no activation.

    Unless last_layer is "activated": under a sigmoid, ReLU leaves nothing below 0.5, and only imported nets are so.
    The last layer computes in `out_dtype` where it is given.
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
        path = _path(shape, mirrored(options), field="model.decoder")[::-1]
        norm, channels = options["norm"], (*options["channels"], shape[-1])
        self.activation, self.remat = ACTIVATIONS[options["activation"]], False
        self.start = (*path[0].inner, channels[0])
        height, width = path[0].inner
        plain = options["last_layer"] == "plain"
        self.dense = DenseStack(
            latent,
            (*options["dense"], height * width * channels[0]),
            activation=options["dense_activation"],
            dtype=dtype,
            rngs=rngs,
        )
        self.convs, self.norms = nnx.List(), nnx.List()
        for place, i, o in zip(path, channels[:-1], channels[1:], strict=True):
            last = place is path[-1]
            self.convs.append(
                ConvTranspose(
                    i,
                    o,
                    (place.kernel, place.kernel),
                    strides=place.stride,
                    padding=place.transposed_padding,
                    use_bias=norm != "batch" or (last and plain),
                    dtype=out_dtype if last and out_dtype else dtype,
                    rngs=rngs,
                )
            )
            if not (last and plain):
                self.norms.append(normalisation(norm, o, dtype=dtype, rngs=rngs))

    def __call__(self, z: jax.Array) -> jax.Array:
        h = self.dense(z).reshape(z.shape[0], *self.start)  # [B, h, w, c]
        for number in range(len(self.norms)):
            h = _layer(self, number, h)
        return h if len(self.norms) == len(self.convs) else self.convs[-1](h)


def _layer(net: Encoder | Decoder, number: int, h: jax.Array) -> jax.Array:
    """One layer with its norm and activation; with `remat` the backward pass keeps h alone and computes them again."""

    def layer(net, h):
        return net.activation(net.norms[number](net.convs[number](h)))

    return nnx.remat(layer)(net, h) if net.remat else layer(net, h)


def _path(shape: tuple[int, ...], options: Mapping, *, field: str) -> tuple[Stride, ...]:
    """The sizes from the image inwards, for options whose lists run that way (the encoder's)."""
    layers = len(options["channels"])
    lists = {}
    for name in ("kernel", "stride", "padding"):
        value = options[name]
        lists[name] = value if isinstance(value, tuple) else (value,) * layers
        if len(lists[name]) != layers:
            raise UserError(
                f"{field}.{name} has {len(lists[name])} entries for {layers} channels; give one value or {layers}."
            )
    return stride_path(
        shape[:2], kernels=lists["kernel"], strides=lists["stride"], paddings=lists["padding"], field=field
    )

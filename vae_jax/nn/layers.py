"""What the families of nets share: activations, normalisations, dense stacks and the geometry of strides."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax.errors import UserError

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
    "identity": lambda x: x,
}
NORMS = ("none", "batch", "layer", "group")
GROUPS = 8  # of channels, at most (Wu & He, 2018)
# What decoders have besides the options of their families: those of imported nets begin and end in other ways.
DECODER_OPTIONS = {
    "dense_activation": "same",  # after the dense layers: same (as activation) | another
    "last_layer": "plain",  # plain | activated (normalised and activated like the others)
}
LAST_LAYERS = ("plain", "activated")

Pair = tuple[int, int]


def normalisation(norm: str, channels: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> Callable[[jax.Array], jax.Array]:
    """The normalisation `norm` of [B, ..., channels]; its statistics and parameters are float32 whatever `dtype` is."""
    if norm == "batch":
        return nnx.BatchNorm(channels, momentum=0.9, epsilon=1e-5, dtype=dtype, rngs=rngs)
    if norm == "layer":
        return nnx.LayerNorm(channels, dtype=dtype, rngs=rngs)
    if norm == "group":
        groups = math.gcd(channels, GROUPS)
        return nnx.GroupNorm(channels, num_groups=groups, epsilon=1e-5, dtype=dtype, rngs=rngs)
    return ACTIVATIONS["identity"]


class DenseStack(nnx.Module):
    """Dense layers of the given widths, each with its normalisation and activation: [B, in] -> [B, widths[-1]]."""

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        *,
        activation: str,
        norm: str = "none",
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
    ):
        sizes = (inputs, *widths)
        self.activation = ACTIVATIONS[activation]
        self.features = sizes[-1]
        # A bias before BatchNorm has a true gradient of zero, which Adam turns into a drift.
        self.dense = nnx.List(
            nnx.Linear(i, o, use_bias=norm != "batch", dtype=dtype, rngs=rngs)
            for i, o in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.norms = nnx.List(normalisation(norm, width, dtype=dtype, rngs=rngs) for width in widths)

    def __call__(self, h: jax.Array) -> jax.Array:
        for dense, norm in zip(self.dense, self.norms, strict=True):
            h = self.activation(norm(dense(h)))
        return h


@dataclasses.dataclass(frozen=True)
class Stride:
    """One strided convolution between an outer size (nearer the image) and an inner one, each (height, width).

    `padding` is (before, after) for each axis; `output_padding` is what the transposed convolution must add, for each
    axis, to come back to the outer size exactly.
    """

    outer: Pair
    inner: Pair
    kernel: int
    stride: int
    padding: tuple[Pair, Pair]

    @property
    def output_padding(self) -> Pair:
        """outer − ((inner − 1)·stride + kernel − padding) for each axis; between 0 and stride − 1."""
        return tuple(
            o - ((i - 1) * self.stride + self.kernel - sum(p))
            for o, i, p in zip(self.outer, self.inner, self.padding, strict=True)
        )

    @property
    def transposed_padding(self) -> tuple[Pair, Pair]:
        """The padding of the stride-dilated input under which a plain convolution is the transposed one."""
        reach = self.kernel - 1
        return tuple(
            (reach - before, reach - after + extra)
            for (before, after), extra in zip(self.padding, self.output_padding, strict=True)
        )


def stride_path(
    image_size: Pair,
    *,
    kernels: Sequence[int],
    strides: Sequence[int],
    paddings: Sequence[int | str],
    field: str,
) -> tuple[Stride, ...]:
    """The sizes that a stack of strided convolutions goes through, from the image inwards.

    A padding is a number of pixels on every side, or "same": ceil(size / stride) outputs, the padding split evenly
    with the odd pixel after (as in TensorFlow and Keras). UserError where a size would fall below one pixel.
    """
    path, size = [], tuple(image_size)
    for number, (kernel, stride, padding) in enumerate(zip(kernels, strides, paddings, strict=True), 1):
        if padding == "same":
            total = [max((-(-s // stride) - 1) * stride + kernel - s, 0) for s in size]
            pads = tuple((t // 2, t - t // 2) for t in total)
        else:
            pads = ((padding, padding), (padding, padding))
        inner = tuple((s + sum(p) - kernel) // stride + 1 for s, p in zip(size, pads, strict=True))
        if min(inner) < 1:
            raise UserError(
                f"{field} cannot work on images of {image_size[0]}×{image_size[1]}: convolution {number} (kernel "
                f"{kernel}, stride {stride}, padding {padding}) meets only {size[0]}×{size[1]}; take fewer layers, a "
                f"smaller kernel, padding='same' or a larger data.image_size."
            )
        path.append(Stride(size, inner, kernel, stride, pads))
        size = inner
    return tuple(path)


def halvings(image_size: Pair, layers: int, *, field: str) -> tuple[Stride, ...]:
    """The path of `layers` convolutions of kernel 3, each of which halves the sizes and rounds them up."""
    return stride_path(
        image_size, kernels=(3,) * layers, strides=(2,) * layers, paddings=("same",) * layers, field=field
    )


def mirrored(options: Mapping) -> dict:
    """The decoder options that undo an encoder of these options: tuples, one entry a layer, are turned round."""
    return {name: tuple(reversed(value)) if isinstance(value, tuple) else value for name, value in options.items()}


def decoder_options(options: Mapping) -> dict:
    """A decoder's options with those of DECODER_OPTIONS that are not given, and dense_activation spelled out."""
    options = {**DECODER_OPTIONS, **options}
    if options["dense_activation"] == "same":
        options["dense_activation"] = options["activation"]
    return options


def run_block(block: nnx.Module, h: jax.Array) -> jax.Array:
    """block(h); with `block.remat` the backward pass keeps h alone and computes the block again."""
    return nnx.remat(lambda block, h: block(h))(block, h) if block.remat else block(h)


def check_pictures(family: str, shape: tuple[int, ...], *, field: str) -> None:
    """Raises UserError unless `shape` is that of pictures (H, W, C), which is all that `family` is made for."""
    if len(shape) != 3:
        raise UserError(f"{field}.family is {family!r}, but the data are vectors of {shape[0]}; use family='mlp'.")


def check_choice(field: str, value: str, allowed: Sequence[str]) -> None:
    """Raises UserError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise UserError(f"{field} is {value!r}; it must be one of {', '.join(allowed)}.")

"""SqueezeNet v1.0 (Iandola et al., 2016) up to its last fire module, frozen: features to measure pictures by."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vae_jax.errors import UserError
from vae_jax.nn.convolution import convolve

FIRES = tuple(f"fire{number}" for number in range(2, 10))
POOLED_BEFORE = ("fire2", "fire5", "fire9")
PARTS = ("conv1x1_1", "conv1x1_2", "conv3x3_2")  # of a fire module: what squeezes, and the two that expand
NAMES = ("conv1", *(f"{fire}/{part}" for fire in FIRES for part in PARTS))
SQUEEZED = (16, 16, 32, 32, 48, 48, 64, 64)  # channels of each fire module, which expands them to 8 times as many
# What comes before each pooling, and each of the modules after the second: the layers of LPIPS, there of v1.1.
LAYERS = ("conv1", "fire4", "fire5", "fire6", "fire7", "fire8", "fire9")
PIXEL_MEAN = (123.68, 116.779, 103.939)  # of ImageNet, RGB from 0 to 255
SMALLEST_SIDE = 16  # pixels


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SqueezeNet:
    """The convolutions by NAMES: kernels [k, k, C, O] and biases [O]."""

    kernels: dict[str, jax.Array]
    biases: dict[str, jax.Array]


def squeezenet_of(arrays: Mapping[str, np.ndarray], *, said: str) -> SqueezeNet:
    """The net of arrays NAME/w [O, C, k, k] and NAME/b [O]; UserError, which begins with `said`, if one is not so."""
    for name, shape in _shapes().items():
        if name not in arrays:
            raise UserError(f"{said}, which is no SqueezeNet v1.0 ({name} is not there).")
        if arrays[name].shape != shape:
            raise UserError(f"{said}, which is no SqueezeNet v1.0 ({name} is {arrays[name].shape}, there {shape}).")
    return SqueezeNet(
        {name: jnp.asarray(arrays[f"{name}/w"].transpose(2, 3, 1, 0), jnp.float32) for name in NAMES},
        {name: jnp.asarray(arrays[f"{name}/b"], jnp.float32) for name in NAMES},
    )


def _shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every array of the net."""
    kernels, channels = {"conv1": (96, 3, 7, 7)}, 96
    for fire, squeezed in zip(FIRES, SQUEEZED, strict=True):
        half = 4 * squeezed
        shapes = (squeezed, channels, 1, 1), (half, squeezed, 1, 1), (half, squeezed, 3, 3)
        kernels |= {f"{fire}/{part}": shape for part, shape in zip(PARTS, shapes, strict=True)}
        channels = 2 * half
    biases = {f"{name}/b": shape[:1] for name, shape in kernels.items()}
    return {f"{name}/w": shape for name, shape in kernels.items()} | biases


def features(net: SqueezeNet, x: jax.Array) -> dict[str, jax.Array]:
    """The activations [B, h, w, C] of LAYERS for pictures x [B, H, W, 3] in [0, 1], RGB."""
    h = _convolution(net, "conv1", 255 * x - jnp.array(PIXEL_MEAN), stride=2)
    found = {"conv1": h}
    for fire in FIRES:
        if fire in POOLED_BEFORE:
            h = _max_pool(h)
        squeezed = _convolution(net, f"{fire}/conv1x1_1", h)
        h = jnp.concatenate(
            [
                _convolution(net, f"{fire}/conv1x1_2", squeezed),
                _convolution(net, f"{fire}/conv3x3_2", squeezed, padding=1),
            ],
            axis=-1,
        )
        found[fire] = h
    return {name: found[name] for name in LAYERS}


def _convolution(net: SqueezeNet, name: str, h: jax.Array, *, stride: int = 1, padding: int = 0) -> jax.Array:
    pads = ((padding, padding), (padding, padding))
    return jax.nn.relu(convolve(h, net.kernels[name], stride, pads) + net.biases[name])


def _max_pool(h: jax.Array) -> jax.Array:
    """The maximum of 3×3 pixels at stride 2; windows that reach beyond the last pixel count too (Caffe's rule)."""
    ends = [max(-(-(size - 3) // 2), 0) * 2 + 3 - size for size in h.shape[1:3]]
    padding = ((0, 0), *((0, end) for end in ends), (0, 0))
    return lax.reduce_window(h, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), padding)

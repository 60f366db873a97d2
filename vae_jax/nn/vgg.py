"""The convolutional part of VGG-19 (Simonyan & Zisserman, 2015), frozen: features to compare pictures by."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.errors import UserError
from vae_jax.nn.convolution import convolve

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels and convolutions; each ends in a max pooling
LAYERS = tuple(f"relu{block}_{n}" for block, (_, count) in enumerate(BLOCKS, 1) for n in range(1, count + 1))
CHANNELS = tuple(channels for channels, count in BLOCKS for _ in range(count))
IMAGENET_MEAN, IMAGENET_STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WHERE_TO_GET_IT = (
    "torchvision's https://download.pytorch.org/models/vgg19-dcbb9e9d.pth, or vgg_normalised.pth of "
    "https://github.com/naoto0804/pytorch-AdaIN/releases"
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Vgg:
    """The first convolutions of a VGG-19, and the way from RGB in [0, 1] to the input that they were trained on."""

    kernels: tuple[jax.Array, ...]  # [3, 3, C, O] each
    biases: tuple[jax.Array, ...]  # [O] each
    input_kernel: jax.Array  # [3, 3]: input = RGB·kernel + bias
    input_bias: jax.Array  # [3]
    reflects: bool = dataclasses.field(metadata={"static": True})  # at the border; else zeros stand beyond it


def vgg_of(state: Mapping[str, np.ndarray], layers: Sequence[str], *, said: str) -> Vgg:
    """The part of a VGG-19 that `layers` need, from a PyTorch state dict (NUMBER.weight [O, C, 3, 3], NUMBER.bias).

    Where its first layer is a 1×1 convolution, that is what takes RGB in [0, 1] to the net's input, and borders are
    reflected: the "normalised" VGG-19 of style transfer (Gatys et al., 2016). Else it is torchvision's: ImageNet's
    mean and standard deviation, zeros beyond the border. UserError, which begins with `said`, where it is neither.
    """
    numbered = [m for m in map(re.compile(r"((?:.*\.)?(\d+))\.weight").fullmatch, state) if m]
    convolutions = sorted((int(m[2]), m[1]) for m in numbered if state[m[0]].ndim == 4 and f"{m[1]}.bias" in state)
    weights = [(state[f"{name}.weight"], state[f"{name}.bias"]) for _, name in convolutions]
    if any(name.endswith("running_mean") for name in state):
        raise UserError(f"{said}, which has batch normalisations; take the VGG-19 without them.")
    own_input = bool(weights) and weights[0][0].shape == (3, 3, 1, 1)
    if own_input:
        kernel, input_bias = weights.pop(0)
        input_kernel = kernel[:, :, 0, 0].T
    else:
        mean, stddev = np.array(IMAGENET_MEAN), np.array(IMAGENET_STDDEV)
        input_kernel, input_bias = np.diag(1 / stddev), -mean / stddev
    depth = max(map(LAYERS.index, layers)) + 1
    expected = [(o, c, 3, 3) for c, o in zip((3, *CHANNELS), CHANNELS, strict=False)]
    found = [kernel.shape for kernel, _ in weights]
    if len(found) < depth or found != expected[: len(found)]:
        has = f"its convolutions are {found}" if found else "no 3×3 convolution is named NUMBER.weight"
        raise UserError(
            f"{said}, which is no VGG-19 as far as {LAYERS[depth - 1]}: {has}; a VGG-19 is {WHERE_TO_GET_IT}."
        )
    for kernel, bias in weights[:depth]:
        if not kernel.any():
            raise UserError(f"{said}, which has a convolution of zeros: pictures have no features there.")
        if bias.shape != kernel.shape[:1]:
            raise UserError(
                f"{said}, which has a convolution of shape {kernel.shape} with a bias of shape {bias.shape}."
            )
    return Vgg(
        kernels=tuple(jnp.asarray(kernel.transpose(2, 3, 1, 0), jnp.float32) for kernel, _ in weights[:depth]),
        biases=tuple(jnp.asarray(bias, jnp.float32) for _, bias in weights[:depth]),
        input_kernel=jnp.asarray(input_kernel, jnp.float32),
        input_bias=jnp.asarray(input_bias, jnp.float32),
        reflects=own_input,
    )


def features(net: Vgg, x: jax.Array, layers: Sequence[str], *, dtype: jnp.dtype) -> dict[str, jax.Array]:
    """The activations [B, h, w, C] of `layers` for pictures x [B, H, W, 3] in [0, 1], computed in `dtype`."""
    # In float32: some nets take pixels times 255 less a mean, a difference that bfloat16 would lose.
    h = (jnp.einsum("bhwc,cd->bhwd", x, net.input_kernel, precision="highest") + net.input_bias).astype(dtype)
    found = {}
    for name, kernel, bias in zip(LAYERS, net.kernels, net.biases, strict=False):
        if name.endswith("_1") and name != LAYERS[0]:
            h = _max_pool(h, rounding_up=net.reflects)
        h = jax.nn.relu(_convolution(h, kernel.astype(dtype), reflects=net.reflects) + bias.astype(dtype))
        found[name] = h
    return {name: found[name] for name in layers}


def smallest_side(layers: Sequence[str]) -> int:
    """The fewest pixels on a side with which every one of `layers` still has two."""
    return 2 * 2 ** (max(int(name[len("relu")]) for name in layers) - 1)


def _convolution(h: jax.Array, kernel: jax.Array, *, reflects: bool) -> jax.Array:
    """The 3×3 convolution that keeps the size."""
    if not reflects:
        return convolve(h, kernel, 1, ((1, 1), (1, 1)))
    return convolve(jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"), kernel, 1, ((0, 0), (0, 0)))


def _max_pool(h: jax.Array, *, rounding_up: bool) -> jax.Array:
    """The maximum of each 2×2 pixels; the last of an odd side stands alone with `rounding_up`, else it is left out."""
    b, height, width, c = h.shape
    if rounding_up:
        h = jnp.pad(h, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    h = h[:, : h.shape[1] // 2 * 2, : h.shape[2] // 2 * 2]
    return h.reshape(b, h.shape[1] // 2, 2, h.shape[2] // 2, 2, c).max(axis=(2, 4))

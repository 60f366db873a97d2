"""The convolution layers of the nets: those of flax, or with the same parameters those that are fast on the CPU."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from vae_jax.nn.convolution import convolve, convolve_transposed, spread, turned

LOWERINGS = ("xla", "cpu")

# Left to itself, XLA has YNNPACK compute on the CPU what that can. With jax 0.10 its convolutions take up to 3 times as
# long as Eigen's (with 0.12 as long), and its products longer where an array is thin. In nets that convolve it keeps
# the sums.
_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}
# XLA can call oneDNN instead, from jax 0.11 on. In bfloat16, which Eigen computes as float32, that takes less than half
# the time. In float32 an encoder takes a fifth less, a decoder up to a tenth more, training as long. Programs that call
# it can't be kept for another process: see `Unkept`.
_ONEDNN = {**_EIGEN, "xla_cpu_use_onednn": True, "xla_cpu_experimental_onednn_custom_call": True}


def choose_lowering(convolution: str, mesh: Mesh) -> str:
    """What the config's `convolution` ("auto" or a lowering) means on the devices of `mesh`."""
    if convolution != "auto":
        return convolution
    return "cpu" if mesh.devices.flat[0].platform == "cpu" else "xla"


def compiler_options(model: nnx.Module, lowering: str, *, onednn: bool) -> dict[str, str | bool]:
    """What `jax.jit` must be told for programs of `model`, if the convolutions in it are computed by `lowering`.

    `onednn` is whether they should be computed by oneDNN, where this jax can.
    """
    convolves = any(isinstance(node, Conv | ConvTranspose | UpsampledConv) for _, node in nnx.iter_graph(model))
    if lowering != "cpu" or not convolves:
        return {}
    return _ONEDNN if onednn and jax.__version_info__ >= (0, 11) else _EIGEN


def calls_onednn(options: dict[str, str | bool]) -> bool:
    """Whether programs compiled with these options call oneDNN."""
    return "xla_cpu_experimental_onednn_custom_call" in options


def set_lowering(model: nnx.Module, lowering: str) -> None:
    """Has every convolution in `model` computed by `lowering`, in place."""
    model.set_attributes(lowering=lowering, raise_if_not_found=False)


class Conv(nnx.Conv):
    """`nnx.Conv` on [B, H, W, C] with a square kernel, one stride for both axes and explicit padding."""

    lowering = "xla"

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.lowering == "xla":
            return super().__call__(x)
        return _affine(self, x, lambda x, kernel: convolve(x, kernel, self.strides, self.padding))


class ConvTranspose(nnx.ConvTranspose):
    """`nnx.ConvTranspose` likewise; its padding is that of the stride-dilated input, its kernel meets it turned."""

    lowering = "xla"

    def __call__(self, h: jax.Array) -> jax.Array:
        if self.lowering == "xla":
            return super().__call__(h)
        reach = self.kernel_size[0] - 1
        padding = tuple((reach - before, reach - after) for before, after in self.padding)
        return _affine(self, h, lambda h, kernel: convolve_transposed(h, turned(kernel), self.strides, padding))


class UpsampledConv(nnx.Conv):
    """h [B, h, w, in] -> [B, *size, out]: doubled by nearest neighbours, cut to `size`, convolved by a kernel of 3.

    The border is continued by its own pixels (replicate padding), so no frame of zeros shows.
    """

    lowering = "xla"

    def __init__(
        self, inputs: int, outputs: int, size: tuple[int, int], *, use_bias: bool, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        super().__init__(inputs, outputs, (3, 3), padding="VALID", use_bias=use_bias, dtype=dtype, rngs=rngs)
        self.size = size

    def __call__(self, h: jax.Array) -> jax.Array:
        height, width = self.size
        if self.lowering == "xla":
            return super().__call__(_replicated(h.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]))
        # Of pixel p of the replicated map, tap t reaches output pixel 2p + t − 3; what lies past the size is cut off.
        padding = tuple((3, 2 * inner + 3 - outer) for inner, outer in zip(h.shape[1:3], self.size, strict=True))
        return _affine(
            self, _replicated(h), lambda h, kernel: convolve_transposed(h, spread(turned(kernel)), 2, padding)
        )


def _replicated(h: jax.Array) -> jax.Array:
    return jnp.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")


def _affine(layer: nnx.Module, x: jax.Array, linear: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """linear(x, kernel) + bias, computed in the layer's dtype; the bias, whose gradient is a long sum, in its own."""
    x, kernel = layer.promote_dtype((x, layer.kernel[...]), dtype=layer.dtype)
    y = linear(x, kernel)
    return y if layer.bias is None else (y + layer.bias[...]).astype(y.dtype)

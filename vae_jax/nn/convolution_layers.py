"""The convolution layers of the nets: those of flax, or with the same parameters those that are fast on the CPU."""

from collections.abc import Callable

import jax
from flax import nnx
from jax.sharding import Mesh

from vae_jax.nn.convolution import convolve, convolve_transposed, turned

LOWERINGS = ("xla", "cpu")

# Left to itself, XLA has YNNPACK compute on the CPU what that can. With jax 0.10 its convolutions take up to 3 times as
# long as Eigen's (with 0.12 as long), and its products longer where an array is thin. In nets that convolve it keeps
# the sums.
_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}


def choose_lowering(convolution: str, mesh: Mesh) -> str:
    """What the config's `convolution` ("auto" or a lowering) means on the devices of `mesh`."""
    if convolution != "auto":
        return convolution
    return "cpu" if mesh.devices.flat[0].platform == "cpu" else "xla"


def compiler_options(model: nnx.Module, lowering: str) -> dict[str, str]:
    """What `jax.jit` must be told for programs of `model`, if the convolutions in it are computed by `lowering`."""
    convolves = any(isinstance(node, Conv | ConvTranspose) for _, node in nnx.iter_graph(model))
    return _EIGEN if convolves and lowering == "cpu" else {}


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


def _affine(layer: nnx.Module, x: jax.Array, linear: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """linear(x, kernel) + bias, computed in the layer's dtype; the bias, whose gradient is a long sum, in its own."""
    x, kernel = layer.promote_dtype((x, layer.kernel[...]), dtype=layer.dtype)
    y = linear(x, kernel)
    return y if layer.bias is None else (y + layer.bias[...]).astype(y.dtype)

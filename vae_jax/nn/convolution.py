"""Convolutions and transposed convolutions, with their gradients, in forms that XLA is fast at on the CPU.

A transposed convolution is the adjoint of a strided one. Both, and the gradients of both, are therefore made of three
bilinear maps between outer values x [B, H, W, C] (the image's side), inner ones h [B, h, w, O] and a kernel
[k, k, C, O]: `_convolution` (x and kernel give h), `_outwards` (h and kernel give x), `_kernel_gradient` (x and h).

Seen on the CPU with jax 0.10 and 0.12: a convolution reaches 60–95% of the rate of a matrix product, if its dimension
numbers are those of LAYOUT. With any others it does so outside loops only: XLA rewrites them for its fast kernels in
the outermost computation, and in the body of a scan, where our steps are, computes them naively, at a hundredth of the
rate. The gradients that jax derives have others. Here all are LAYOUT, and what must be transposed is transposed in so
many words. Matrix products over unfolded patches, and sums of them over the taps of the kernel, were slower or, where x
has few channels, no faster: writing the patches costs more than their product.

In bfloat16 Eigen computes a convolution as float32 arithmetic on converted arrays. oneDNN, which XLA can call from jax
0.11 on, does not, and is fast at the same forms; XLA calls it for none with a dilated h or with negative padding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")
LARGE_MAP = 8  # pixels a side

Pads = tuple[tuple[int, int], tuple[int, int]]  # (before, after) of each axis


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: Pads) -> jax.Array:
    """h[i] = Σ_t x[i·stride + t − before]·kernel[t], over both axes and the channels C; x is zero outside."""
    return _convolution(x, kernel, stride=stride, padding=padding)


def _convolve_forward(x, kernel, stride, padding):
    return convolve(x, kernel, stride, padding), (x, kernel)


def _convolve_backward(stride, padding, residuals, gradient):
    x, kernel = residuals
    return (
        _outwards(gradient, kernel, stride=stride, padding=padding, sizes=x.shape[1:3]),
        _kernel_gradient(x, gradient, stride=stride, padding=padding, taps=kernel.shape[0]),
    )


convolve.defvjp(_convolve_forward, _convolve_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_transposed(h: jax.Array, kernel: jax.Array, stride: int, padding: Pads) -> jax.Array:
    """x[i·stride + t − before] = Σ h[i]·kernel[t]: the adjoint of `convolve` in x, all of whose pixels it reads."""
    sizes = tuple(
        (inner - 1) * stride + kernel.shape[0] - before - after
        for inner, (before, after) in zip(h.shape[1:3], padding, strict=True)
    )
    return _outwards(h, kernel, stride=stride, padding=padding, sizes=sizes)


def _convolve_transposed_forward(h, kernel, stride, padding):
    return convolve_transposed(h, kernel, stride, padding), (h, kernel)


def _convolve_transposed_backward(stride, padding, residuals, gradient):
    h, kernel = residuals
    return (
        _convolution(gradient, kernel, stride=stride, padding=padding),
        _kernel_gradient(gradient, h, stride=stride, padding=padding, taps=kernel.shape[0]),
    )


convolve_transposed.defvjp(_convolve_transposed_forward, _convolve_transposed_backward)


def turned(kernel: jax.Array) -> jax.Array:
    """The kernel turned by 180°, its channels swapped: [k, k, C, O] -> [k, k, O, C]."""
    return jnp.flip(kernel, (0, 1)).swapaxes(2, 3)


def spread(kernel: jax.Array) -> jax.Array:
    """The kernel of a transposed convolution of stride 2 that does what `kernel` does after doubling its map.

    Doubled by nearest neighbours, every value meets two neighbouring taps, so their sums: [k, k, ...] ->
    [k + 1, k + 1, ...]. Four taps an output pixel are left of nine, and the doubled map is never written.
    """
    for axis in (0, 1):
        first, second = ([(0, 0)] * kernel.ndim for _ in range(2))
        first[axis], second[axis] = (0, 1), (1, 0)
        kernel = jnp.pad(kernel, first) + jnp.pad(kernel, second)
    return kernel


def _outwards(h: jax.Array, kernel: jax.Array, *, stride: int, padding: Pads, sizes: tuple[int, int]) -> jax.Array:
    """h, kernel -> x [B, *sizes, C].

    Large maps go in blocks, by a convolution of stride 1 that gives the stride² pixels of a block as channels (seen:
    1.3–5 times as fast from 8×8 on). On small ones, whose border of half-used blocks weighs more, XLA is faster at
    dilating h by the stride, for which it has a kernel that skips the zeros.
    """
    befores = tuple(before for before, _ in padding)
    if stride > 1 and min(h.shape[1:3]) >= LARGE_MAP:
        blocks = _kernel_blocks(kernel, stride)
        reach = blocks.shape[0] - 1
        x = _convolution(h, turned(blocks), padding=((reach, reach), (reach, reach)))
        return _window(_from_blocks(x, stride), befores, sizes)
    reach = kernel.shape[0] - 1
    pads = tuple(
        (reach - before, outer + before - 1 - (inner - 1) * stride)
        for outer, inner, before in zip(sizes, h.shape[1:3], befores, strict=True)
    )
    return _convolution(h, turned(kernel), padding=pads, lhs_dilation=(stride, stride))


def _kernel_gradient(x: jax.Array, h: jax.Array, *, stride: int, padding: Pads, taps: int) -> jax.Array:
    """x, h -> [k, k, C, O]: Σ_i x[i·stride + t − before]·h[i], over the examples too.

    A convolution of x with h for its kernel, in which the examples are what is summed and C what is independent.
    """
    befores = tuple(before for before, _ in padding)
    height, width = ends = tuple(
        (inner - 1) * stride + taps - before for inner, before in zip(h.shape[1:3], befores, strict=True)
    )
    x = x[:, :height, :width]  # the others are read by no tap
    pads = tuple((before, end - have) for before, end, have in zip(befores, ends, x.shape[1:3], strict=True))
    x, h = x.transpose(3, 1, 2, 0), h.transpose(1, 2, 0, 3)  # [C, H, W, B], [h, w, B, O]
    gradient = _convolution(x, h, padding=pads, rhs_dilation=(stride, stride))  # [C, k, k, O]
    # Transposed once and for all, or each of its readers, of which the optimiser alone is several, does so by itself.
    return lax.optimization_barrier(gradient.transpose(1, 2, 0, 3))


def _convolution(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Pads, **dilation) -> jax.Array:
    if x.shape[-1] == 1 and not dilation:
        return _one_channel_convolution(x, kernel, stride=stride, padding=padding)
    convolution = functools.partial(
        lax.conv_general_dilated, window_strides=(stride, stride), padding=padding, dimension_numbers=LAYOUT, **dilation
    )
    if jax.eval_shape(convolution, x, kernel).shape[1:] == (1, 1, 1):
        # One value an example oneDNN computes wrongly (seen with jax 0.12), so a second one beside it.
        return convolution(x, jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, 1))))[..., :1]
    return convolution(x, kernel)


def _one_channel_convolution(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Pads) -> jax.Array:
    """`_convolution` of x [B, H, W, 1] as one sum over the taps of the kernel.

    There is no product to speak of in it, and XLA makes one loop of the sum (seen: 3–5 times as fast; as fast with 3
    channels).
    """
    taps, starts = kernel.shape[0], tuple(-before for before, _ in padding)
    sizes = tuple(have + before + after for have, (before, after) in zip(x.shape[1:3], padding, strict=True))
    x = _window(x, starts, sizes).astype(jnp.float32)
    height, width = ((size - taps) // stride * stride + 1 for size in sizes)  # from a tap's first pixel to its last
    reached = (x[:, i : i + height : stride, j : j + width : stride] * kernel[i, j] for i, j in np.ndindex(taps, taps))
    return sum(reached).astype(kernel.dtype)


def _kernel_blocks(kernel: jax.Array, stride: int) -> jax.Array:
    """The kernel over blocks of stride × stride pixels: [k, k, C, O] -> [⌈k/s⌉, ⌈k/s⌉, s²·C, O]."""
    missing = -kernel.shape[0] % stride
    kernel = jnp.pad(kernel, ((0, missing), (0, missing), (0, 0), (0, 0)))
    return _to_blocks(kernel.transpose(3, 0, 1, 2), stride).transpose(1, 2, 3, 0)


def _to_blocks(x: jax.Array, stride: int) -> jax.Array:
    """[B, s·h, s·w, C] -> [B, h, w, s²·C]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // stride, stride, w // stride, stride, c).swapaxes(2, 3)
    return x.reshape(b, h // stride, w // stride, -1)


def _from_blocks(x: jax.Array, stride: int) -> jax.Array:
    """[B, h, w, s²·C] -> [B, s·h, s·w, C]."""
    b, h, w, _ = x.shape
    x = x.reshape(b, h, w, stride, stride, -1).swapaxes(2, 3)
    return x.reshape(b, h * stride, w * stride, -1)


def _window(x: jax.Array, starts: tuple[int, int], sizes: tuple[int, int]) -> jax.Array:
    """The pixels `starts` to `starts + sizes` of x [B, H, W, C], with zeros where it has none."""
    pads = ((-start, start + size - have, 0) for start, size, have in zip(starts, sizes, x.shape[1:3], strict=True))
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *pads, (0, 0, 0)))

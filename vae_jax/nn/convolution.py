"""Convolutions and transposed convolutions, with their gradients, in forms that XLA is fast at on the CPU.

A transposed convolution is the adjoint of a strided one. Both, and the gradients of both, are therefore made of three
bilinear maps between outer values x [B, H, W, C] (the image's side), inner ones h [B, h, w, O] and a kernel
[k, k, C, O]: `_convolution` (x and kernel give h), `_outwards` (h and kernel give x), `_kernel_gradient` (x and h).

Seen on the CPU with jax 0.10 and 0.12: a convolution reaches 60–95% of the rate of a matrix product, if its dimension
numbers are those of LAYOUT. With any others it does so outside loops only: XLA rewrites them for its fast kernels in
the outermost computation, and in the body of a scan, where our steps are, computes them naively, at a hundredth of the
rate. The gradients that jax derives have others. Here all are LAYOUT, and what must be transposed is transposed in so
many words. Matrix products over unfolded patches, and sums of them over the taps of the kernel, were slower or, where x
has few channels but more than one, no faster: writing the patches costs more than their product.

In bfloat16 Eigen computes a convolution as float32 arithmetic on converted arrays. oneDNN, which XLA can call from jax
0.11 on, does not, and is fast at the same forms.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")
LARGE_MAP = 16  # pixels a side, from which on
FEW_CHANNELS = 8  # below which

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

    The stride² pixels of a block of x are so many convolutions of h with every stride-th tap of the kernel. Where C is
    small these are one convolution that gives them as channels (seen: 3–6 times as fast with C = 3), and on large maps,
    if the kernel divides into blocks so that no zeros are multiplied (0.95–1.4 times; on 4×4 and 8×8 maps 0.6–0.9).
    To dilate h by the stride was slower than the better of the two everywhere.
    """
    befores = tuple(before for before, _ in padding)
    taps, _, channels, _ = kernel.shape
    if stride > 1 and (channels < FEW_CHANNELS or (taps % stride == 0 and min(h.shape[1:3]) >= LARGE_MAP)):
        block_kernel = _kernel_blocks(kernel, stride)
        reach = block_kernel.shape[0] - 1
        blocks = _convolution(h, turned(block_kernel), padding=((reach, reach), (reach, reach)))
        return _window(_from_blocks(blocks, stride), befores, sizes)
    counts = tuple(-(-size // stride) for size in sizes)

    def one_pixel(phase):
        """Of every block the pixel at `phase`, its row and column in the block."""
        firsts, pads = [], []
        for place, before, inner, count in zip(phase, befores, h.shape[1:3], counts, strict=True):
            shift, first = divmod(place + before, stride)  # tap first + stride·m meets h[block + shift − m]
            reach = len(range(first, taps, stride)) - 1
            firsts.append(first)
            pads.append((reach - shift, count - inner + shift))
        if max(firsts) >= taps:  # of a stride beyond the kernel: no tap meets these pixels
            return jnp.zeros((h.shape[0], *counts, channels), h.dtype)
        return _convolution(h, turned(kernel[firsts[0] :: stride, firsts[1] :: stride]), padding=tuple(pads))

    blocks = jnp.concatenate([one_pixel(phase) for phase in np.ndindex(stride, stride)], axis=-1)
    return _from_blocks(blocks, stride)[:, : sizes[0], : sizes[1]]


def _kernel_gradient(x: jax.Array, h: jax.Array, *, stride: int, padding: Pads, taps: int) -> jax.Array:
    """x, h -> [k, k, C, O]: Σ_i x[i·stride + t − before]·h[i], over the examples too.

    A convolution of x with h for its kernel, in which the examples are what is summed and C what is independent.
    """
    pads = tuple(
        (before, (inner - 1) * stride + taps - before - outer)
        for outer, inner, (before, _) in zip(x.shape[1:3], h.shape[1:3], padding, strict=True)
    )
    x, h = x.transpose(3, 1, 2, 0), h.transpose(1, 2, 0, 3)  # [C, H, W, B], [h, w, B, O]
    gradient = _of_layout(x, h, padding=pads, dilation=stride)  # [C, k, k, O]
    # Transposed once and for all, or each of its readers, of which the optimiser alone is several, does so by itself.
    return lax.optimization_barrier(gradient.transpose(1, 2, 0, 3))


def _convolution(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Pads) -> jax.Array:
    """x, kernel -> h. With one channel on either side it is a sum over taps, of which XLA makes one loop."""
    rows, columns, channels, values = kernel.shape
    if channels == 1:  # seen: 3–5 times as fast as by XLA's convolution; with 3 channels no faster
        met = _met_by_taps(x.astype(jnp.float32), (rows, columns), stride=stride, padding=padding)
        return sum(pixels * tap for pixels, tap in zip(met, kernel.reshape(-1, values), strict=True)).astype(x.dtype)
    if values == 1 and stride == 1:  # seen: 3 times as fast in float32; in bfloat16 no faster
        products = jnp.einsum("bhwc,tc->bhwt", x, kernel.reshape(-1, channels), preferred_element_type=jnp.float32)
        met = _met_by_taps(products, (rows, columns), stride=stride, padding=padding)
        return sum(pixels[..., tap : tap + 1] for tap, pixels in enumerate(met)).astype(x.dtype)
    return _of_layout(x, kernel, stride=stride, padding=padding)


def _of_layout(x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1, padding: Pads) -> jax.Array:
    """XLA's own convolution; the taps of the kernel meet pixels that lie `dilation` apart.

    oneDNN computes three kinds of it wrongly in bfloat16 (seen with jax 0.12; the last two on processors with AMX):
    - an output of one value an example: a second value is computed beside it;
    - a stride along an axis of which one value is left: x is cut to what is met, and the stride is 1;
    - fewer than 16 channels, if channels · the kernel's width is 64, 96, ...: zeros make them 16. Kernel gradients of
      small batches are of this kind, whose channels are the examples.
    """
    _, columns, channels, values = kernel.shape
    reaches = tuple((taps - 1) * dilation + 1 for taps in kernel.shape[:2])
    sizes = tuple(
        (size + sum(pads) - reach) // stride + 1
        for size, pads, reach in zip(x.shape[1:3], padding, reaches, strict=True)
    )
    strides = tuple(stride if size > 1 else 1 for size in sizes)
    # Negative padding too is cut beforehand: XLA doesn't call oneDNN with it.
    if strides != (stride, stride) or min(min(pads) for pads in padding) < 0:
        ends = tuple((size - 1) * stride + reach for size, reach in zip(sizes, reaches, strict=True))
        x, padding = _window(x, tuple(-before for before, _ in padding), ends), ((0, 0), (0, 0))
    if x.dtype == jnp.bfloat16 and channels < 16 and columns * channels > 32 and columns * channels % 32 == 0:
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 16 - channels)))
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 16 - channels), (0, 0)))
    if (*sizes, values) == (1, 1, 1):
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, 1)))
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=strides,
        padding=padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
    )[..., :values]


def _met_by_taps(x: jax.Array, taps: tuple[int, int], *, stride: int, padding: Pads) -> Iterator[jax.Array]:
    """For each tap of a kernel, row by row, the pixels of x that it meets [B, h, w, C]."""
    x = _padded(x, padding)
    # From the first pixel that a tap meets to the last.
    height, width = ((size - tap) // stride * stride + 1 for size, tap in zip(x.shape[1:3], taps, strict=True))
    return (x[:, i : i + height : stride, j : j + width : stride] for i, j in np.ndindex(*taps))


def _padded(x: jax.Array, padding: Pads) -> jax.Array:
    """x [B, H, W, C] with so many zeros around it; where they are negative, without so many pixels."""
    sizes = (have + before + after for have, (before, after) in zip(x.shape[1:3], padding, strict=True))
    return _window(x, tuple(-before for before, _ in padding), tuple(sizes))


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

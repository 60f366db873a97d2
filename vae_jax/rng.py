"""Named random streams, and keys that belong to an example rather than to its place in a batch.

Every key is derived from the seed by name, then by step or by example; none is split and carried along, so a
resumed run draws the noise of the undisturbed one, and an evaluation draws the same noise for any batch size and
any number of devices.
"""

import math
import zlib

import jax
import jax.numpy as jnp

IMPL = "threefry2x32"
LANES = 128  # a multiple of what any CPU computes at once


def stream(seed: int, name: str, step: jax.Array | int | None = None) -> jax.Array:
    """The key of the stream `name` under `seed`, at `step` if one is given (a scalar key)."""
    key = named(jax.random.key(seed, impl=IMPL), name)
    return key if step is None else jax.random.fold_in(key, step)


def named(key: jax.Array, name: str) -> jax.Array:
    """The key of `name` under a scalar key: one that serves several purposes serves each by a name."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def per_example(key: jax.Array, example_id: jax.Array) -> jax.Array:
    """One key an example: `key` (scalar or [B]) with `example_id` [B] folded in, as keys [B]."""
    axis = 0 if key.ndim else None
    return jax.vmap(jax.random.fold_in, in_axes=(axis, 0))(key, example_id)


def per_sample(key: jax.Array, samples: jax.Array) -> jax.Array:
    """Keys [K, *key.shape]: each key with each of the sample numbers `samples` [K] folded in."""
    fold = jax.random.fold_in
    for _ in range(key.ndim):
        fold = jax.vmap(fold, in_axes=(0, None))
    return jax.vmap(fold, in_axes=(None, 0))(key, samples)


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Standard normal noise of `shape`; the shape of `key` is a prefix of it, one key for each leading index."""
    return _draw(jax.random.normal, key, shape)


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform noise on [0, 1) of `shape`; the shape of `key` is a prefix of it, as in `normal`."""
    return _draw(jax.random.uniform, key, shape)


def laplace(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Noise of `shape` with density ½·exp(−|x|); the shape of `key` is a prefix of it, as in `normal`."""
    return _draw(jax.random.laplace, key, shape)


def _draw(draw, key, shape):
    """The noise, drawn in rows of a multiple of LANES numbers, of which the first are kept.

    XLA:CPU evaluates a logarithm differently where the last few elements of a loop do not fill a vector (seen with
    jax 0.12: a unit in the last place), and the noise would then depend on the size of the batch.
    """
    if shape[: key.ndim] != key.shape:
        raise ValueError(f"keys of shape {key.shape} are not a prefix of the shape {shape}")
    size = math.prod(shape[key.ndim :])
    padded = -(-size // LANES) * LANES

    def row(k):
        return draw(k, (padded,), jnp.float32)

    for _ in range(key.ndim):
        row = jax.vmap(row)
    # The barrier keeps the compiler from drawing only the numbers that are kept.
    return jax.lax.optimization_barrier(row(key))[..., :size].reshape(shape)

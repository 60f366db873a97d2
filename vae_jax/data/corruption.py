"""What a corrupted picture shows: with noise, with a box over it, or with some of its patches hidden."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from vae_jax import rng
from vae_jax.errors import UserError

KINDS = ("none", "noise", "box", "patches")
GREY = 0.5  # what stands for a masked pixel


def add_noise(x: jax.Array, keys: jax.Array, *, stddev: float) -> jax.Array:
    """x with Gaussian noise of `stddev`; pictures [B, H, W, C] are clipped to [0, 1] again, vectors [B, D] are not."""
    noisy = x + stddev * rng.normal(keys, x.shape)
    return jnp.clip(noisy, 0, 1) if x.ndim == 4 else noisy


def box_mask(keys: jax.Array, size: tuple[int, int], *, side: float) -> jax.Array:
    """True [B, H, W, 1] within one box of `side`·(H, W), in whole pixels and at least one, somewhere in the picture."""
    places = rng.uniform(keys, (*keys.shape, 2))
    within = []
    for axis, length in enumerate(size):
        extent = _extent(length, side)
        first = jnp.floor(places[:, axis] * (length - extent + 1))[:, None]  # [B, 1]
        pixels = jnp.arange(length)
        within.append((pixels >= first) & (pixels < first + extent))  # [B, H], then [B, W]
    rows, columns = within
    return rows[:, :, None, None] & columns[:, None, :, None]


def patch_mask(keys: jax.Array, size: tuple[int, int], *, share: float, patch: int) -> jax.Array:
    """True [B, H, W, 1] within a random `share` of the patches, rounded to whole ones: as many in every picture.

    The patches are squares of `patch` pixels that do not overlap, as in masked autoencoders (He et al., 2022); where
    they do not fill the picture, the last ones are cut at its border.
    """
    rows, columns = _patches(size, patch)
    rank = jnp.argsort(jnp.argsort(rng.uniform(keys, (*keys.shape, rows * columns))))  # ties are ranked apart too
    mask = (rank < _masked_patches(size, share, patch)).reshape(-1, rows, columns, 1)
    return mask.repeat(patch, axis=1).repeat(patch, axis=2)[:, : size[0], : size[1]]


def check_corruption(corrupt: Mapping, size: tuple[int, int]) -> None:
    """Raises UserError where the amount or the weight of `corrupt` can't be, for pictures of `size` (H, W)."""
    kind, amount, patch = corrupt["kind"], corrupt["amount"], corrupt["patch"]
    if kind in ("none", "noise") and corrupt["weight"] != 1:
        raise UserError(
            f"data.corrupt.weight is {corrupt['weight']} with data.corrupt.kind={kind!r}, which masks no pixels; set "
            "it to 1, or take 'box' or 'patches'."
        )
    if kind == "box" and not (amount > 0 and any(_extent(length, amount) < length for length in size)):
        raise UserError(
            f"data.corrupt.amount is {amount}; with data.corrupt.kind='box' it is the box's side as a share of the "
            f"picture's, more than 0 and so far below 1 that some of the {size[0]}×{size[1]} pixels is left."
        )
    if kind != "patches":
        return
    if patch > min(size):
        raise UserError(f"data.corrupt.patch is {patch}; it must be at most {min(size)}, to fit in data.image_size.")
    count = math.prod(_patches(size, patch))
    if not 1 <= _masked_patches(size, amount, patch) < count:
        raise UserError(
            f"data.corrupt.amount is {amount}; with data.corrupt.kind='patches' it must mask at least one and leave at "
            f"least one of the {count} patches of {patch}×{patch} pixels that a picture has."
        )


def _extent(length, side):
    """The pixels that a box takes of `length`."""
    return max(1, round(side * length))


def _patches(size, patch):
    """(rows, columns) of the patches of a picture."""
    return tuple(-(-length // patch) for length in size)


def _masked_patches(size, share, patch):
    return round(share * math.prod(_patches(size, patch)))

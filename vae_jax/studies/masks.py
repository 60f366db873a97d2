"""Masks for inpainting, from a text or a PNG: True where a pixel is hidden."""

import math
import re
from pathlib import Path

import numpy as np

from vae_jax.data.corruption import patch_mask
from vae_jax.data.pictures import BrokenPicture, decode
from vae_jax.errors import UserError
from vae_jax.studies import draws

PART = re.compile(r"(rows|columns):(\d+)-(\d+)")
BOX = re.compile(r"box:(\d+)-(\d+),(\d+)-(\d+)")
RANDOM = re.compile(r"random:([\d.]+)")
ALLOWED = (
    "rows:10-20, columns:10-20, box:10-20,10-20 (rows, columns; the last is hidden too), "
    "upper, lower, left or right (halves), random:0.5 (the share of the pixels) or a black-and-white PNG, white where "
    "hidden"
)


def make_mask(text: str, images: np.ndarray, *, seed: int) -> np.ndarray:
    """The mask that `study.mask` names for images [B, H, W, C]: bool [B, H, W, 1], True where hidden.

    Only a random one differs between the images: it is drawn for each by its content. UserError for one that hides
    nothing or everything, or is of another size.
    """
    size = images.shape[1:3]
    if random := RANDOM.fullmatch(text):
        keys = draws.keys(images, seed=seed, name="mask")
        return np.asarray(patch_mask(keys, size, share=_share(text, random[1], size), patch=1))
    return np.broadcast_to(fixed_mask(text, size)[..., None], (*images.shape[:3], 1))


def fixed_mask(text: str, size: tuple[int, int]) -> np.ndarray:
    """The mask that `text` names for pictures of `size`, bool [H, W]; of a random one, only its text is checked."""
    mask = np.zeros(size, bool)
    if random := RANDOM.fullmatch(text):
        _share(text, random[1], size)
        return mask
    box = _box(text, *size)
    if box:
        top, bottom, left, right = box  # the last ones are within
        if bottom >= size[0] or right >= size[1]:
            raise UserError(f"study.mask is {text!r}, which goes beyond the {size[0]}×{size[1]} pixels of an example.")
        mask[top : bottom + 1, left : right + 1] = True
    elif Path(text).expanduser().is_file():
        mask = _from_file(text, size)
    else:
        raise UserError(f"study.mask is {text!r}; it must be {ALLOWED}.")
    if mask.all() or not mask.any():
        hidden = "every" if mask.any() else "no"
        raise UserError(f"study.mask is {text!r}, which hides {hidden} pixel of {size[0]}×{size[1]}.")
    return mask


def _box(text, height, width):
    """The first and the last row, and the first and the last column, that `text` hides; None where it is no box."""
    whole = (0, height - 1, 0, width - 1)
    if part := PART.fullmatch(text):
        first, last = int(part[2]), int(part[3])
        return (first, last, *whole[2:]) if part[1] == "rows" else (*whole[:2], first, last)
    if box := BOX.fullmatch(text):
        return tuple(map(int, box.groups()))
    return {
        "upper": (0, height // 2 - 1, *whole[2:]),
        "lower": (height // 2, *whole[1:]),
        "left": (*whole[:3], width // 2 - 1),
        "right": (*whole[:2], width // 2, width - 1),
    }.get(text)


def _share(text, number, size):
    share, pixels = float(number) if number.count(".") < 2 and number != "." else 0, math.prod(size)
    if not 0 < round(share * pixels) < pixels:
        raise UserError(
            f"study.mask is {text!r}; it is the share of the {pixels} pixels of a picture, and must hide at least one "
            "and leave at least one."
        )
    return share


def _from_file(text, size):
    try:
        picture = decode(Path(text).expanduser().read_bytes())
    except (OSError, BrokenPicture) as error:
        raise UserError(f"study.mask is {text!r}, which can't be read as a picture ({error}).") from error
    if picture.shape[:2] != size:
        height, width = picture.shape[:2]
        raise UserError(f"study.mask is {text!r}, of {height}×{width} pixels; it must have {size[0]}×{size[1]}.")
    return picture.mean(axis=-1) > 127

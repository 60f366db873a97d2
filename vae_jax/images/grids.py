"""Grids of pictures for people to look at: uint8 RGB arrays, and PNG files of them."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vae_jax.disk import written_aside
from vae_jax.errors import UserError
from vae_jax.images.lettering import caption_middle, with_captions, with_row_names

LINE = 2  # pixels between the pictures of a grid, and between an original and its reconstruction
GROUP = 12  # pixels between pairs
WHITE = 255
MAX_SIDE = 512  # pixels, of what is enlarged


def showable(shape: tuple[int, ...]) -> bool:
    """Whether examples of `shape` are pictures: (H, W, C) with one channel or three."""
    return len(shape) == 3 and shape[-1] in (1, 3)


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Floats in [0,1], clipped and rounded, as uint8 in [0,255] of the same shape; uint8 is returned as it is."""
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    return np.rint(np.clip(images.astype(np.float32), 0, 1) * 255).astype(np.uint8)


def grid(images: np.ndarray, columns: int, *, captions: Sequence[str] = (), min_side: int = 64) -> np.ndarray:
    """Pictures [N,H,W,C] in [0,1], C 1 or 3, side by side in reading order: uint8 [h,w,3].

    Each is enlarged by the smallest whole factor that makes its shorter side `min_side` pixels or more (less for those
    that MAX_SIDE then bounds), and stands above its caption where there are any.
    """
    return _mosaic(_captioned(_tiles(images, min_side), captions), columns, gap=LINE)


def named_rows(
    rows: Mapping[str, np.ndarray],
    columns: int,
    *,
    captions: Sequence[str] = (),
    captioned: str = "",
    min_side: int = 64,
    gap: int = GROUP,
) -> np.ndarray:
    """Pictures that belong together, [N,H,W,C] under each name, right below each other: uint8 [h,w,3].

    The names stand at the left of their rows, the captions, where there are any, below what belongs together, with
    `captioned`, what they all are, at their left; what doesn't belong together is `gap` pixels apart.
    """
    tiles = [_tiles(images, min_side) for images in rows.values()]
    stacks = _captioned(_stacks(tiles), captions)  # [N,h,w,3]
    n, height, _, _ = stacks.shape
    side = tiles[0].shape[1]
    tops = range(0, -(-n // columns) * (height + gap), height + gap)
    names = [(top + i * (side + LINE) + side // 2, name) for top in tops for i, name in enumerate(rows)]
    if captioned:
        names += [(top + caption_middle(height), captioned) for top in tops]
    return with_row_names(_mosaic(stacks, columns, gap=gap), names)


def captioned_rows(
    rows: Mapping[str, np.ndarray], captions: Sequence[Sequence[str]], *, min_side: int = 64
) -> np.ndarray:
    """Pictures [N,H,W,C] under each name, a row for each with the name at its left: uint8 [h,w,3].

    Every picture stands above a caption of its own, of which there are N for each row.
    """
    each = zip(rows.values(), captions, strict=True)
    tiles = np.concatenate([with_captions(_tiles(images, min_side), below) for images, below in each])
    height = tiles.shape[1] + LINE
    names = [(i * height + height // 2, name) for i, name in enumerate(rows)]
    return with_row_names(_mosaic(tiles, len(tiles) // len(rows), gap=LINE), names)


def comparison(
    originals: np.ndarray, reconstructions: np.ndarray, *, columns: int, seen: np.ndarray | None = None
) -> np.ndarray:
    """Each original [N,H,W,C] above its reconstruction; what the net has `seen`, if that is another, between them."""
    between = {} if seen is None else {"seen": seen}
    return named_rows({"original": originals, **between, "reconstruction": reconstructions}, columns)


def stacked(*pictures: np.ndarray) -> np.ndarray:
    """Pictures uint8 [h,w,3] of any sizes below each other, white beside the narrower ones."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [
        np.pad(picture, ((0, GROUP), (0, width - picture.shape[1]), (0, 0)), constant_values=WHITE)
        for picture in pictures
    ]
    return np.concatenate(padded)


def save_png(path: str | os.PathLike, array: np.ndarray) -> None:
    """Writes uint8 [h,w,3] as a PNG."""
    with written_aside(Path(path)) as aside:
        Image.fromarray(array).save(aside, format="PNG")


def _tiles(images, min_side):
    """The pictures [N,H,W,C] as RGB, enlarged: uint8 [N,h,w,3]."""
    n, height, width, channels = images.shape
    if n == 0:
        raise UserError("There are no pictures to show.")
    if channels not in (1, 3):
        raise UserError(f"Pictures can be shown with 1 or 3 channels; these have {channels}.")
    factor = max(1, min(-(-min_side // min(height, width)), MAX_SIDE // max(height, width)))
    tiles = np.broadcast_to(to_uint8(images), (n, height, width, 3))
    return tiles.repeat(factor, axis=1).repeat(factor, axis=2)


def _captioned(tiles, captions):
    return with_captions(tiles, captions) if captions else tiles


def _stacks(rows):
    """Tiles [N,h,w,3] of several rows, a line apart below each other: uint8 [N,h',w,3]."""
    n, _, width, _ = rows[0].shape
    line = np.full((n, LINE, width, 3), WHITE, np.uint8)
    return np.concatenate([rows[0], *(part for row in rows[1:] for part in (line, row))], axis=1)


def _mosaic(tiles, columns, *, gap):
    """Tiles [N,h,w,3] in rows of at most `columns`, `gap` white pixels apart: uint8 [H,W,3]."""
    n, height, width, _ = tiles.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), WHITE, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = tile
    return canvas

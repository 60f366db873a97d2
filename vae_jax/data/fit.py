"""From a picture of any size to what a net takes: crop, resize, grey or colour. Imports no jax."""

import functools
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vae_jax.data.pictures import BrokenPicture
from vae_jax.errors import UserError

# The crops that people take of CelebA's aligned faces of 178 × 218.
NAMED_CROPS = {"celeba_148": "148x148", "celeba_178": "178x178+30+0"}
BOX = re.compile(r"([1-9]\d*)x([1-9]\d*)(?:\+(\d+)\+(\d+))?")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B: ITU-R BT.601


@dataclass(frozen=True)
class Box:
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Fit:
    """What is made of every picture: `crop` (see `check_crop`), then `size` (H, W) and 1 or 3 `channels`."""

    crop: str
    size: tuple[int, int]
    channels: int

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """The picture [h, w, c], uint8 or float32 in [0, 1], as [H, W, C] of the same dtype.

        The resize is Pillow's bilinear one, whose support grows as it reduces (it is antialiased); a picture that has
        the size already keeps its pixels. Raises BrokenPicture where the crop is beyond the picture's border.
        """
        box = self._box(*picture.shape[:2])
        picture = picture[box.top : box.top + box.height, box.left : box.left + box.width]
        if self.channels == 1 and picture.shape[2] == 3:
            picture = _grey(picture)
        if picture.shape[:2] != self.size:
            picture = _resize(picture, self.size)
        if self.channels == 3 and picture.shape[2] == 1:
            picture = np.repeat(picture, 3, axis=2)
        if picture.shape[2] != self.channels:
            raise BrokenPicture(f"it has {picture.shape[2]} channels, not 1 or 3")
        return picture

    def keeps(self, shape: tuple[int, ...]) -> bool:
        """Whether pictures of `shape` (h, w, c) come out as they are."""
        return self.crop in ("whole", "center") and shape == (*self.size, self.channels)

    def _box(self, height, width):
        if self.crop == "whole":
            return Box(0, 0, height, width)
        if self.crop == "center":
            return _widest(height, width, self.size)
        crop_height, crop_width, top, left = _parse(self.crop)
        if top is None:
            top, left = (height - crop_height) // 2, (width - crop_width) // 2
        if min(top, left) < 0 or top + crop_height > height or left + crop_width > width:
            raise BrokenPicture(f"it is {height}x{width} (height x width), too small for data.crop={self.crop!r}")
        return Box(top, left, crop_height, crop_width)


def check_crop(crop: str) -> None:
    """Raises UserError unless `crop` is a crop.

    "whole" takes everything, stretched to the size; "center" the largest box of the size's aspect, in the middle;
    "HxW" a box of that height and width in the middle, "HxW+TOP+LEFT" from that corner on; or one of NAMED_CROPS.
    """
    if crop not in ("whole", "center", *NAMED_CROPS) and not BOX.fullmatch(crop):
        raise UserError(
            f"data.crop is {crop!r}; it must be whole, center, {', '.join(NAMED_CROPS)}, HEIGHTxWIDTH or "
            "HEIGHTxWIDTH+TOP+LEFT (pixels, as 178x178+30+0)."
        )


@functools.cache
def _parse(crop):
    """Height, width, top and left of a box; the last two are None for one in the middle."""
    return [None if n is None else int(n) for n in BOX.fullmatch(NAMED_CROPS.get(crop, crop)).groups()]


def _widest(height, width, size):
    """The largest centred box of the aspect of `size`."""
    if height * size[1] <= width * size[0]:
        box = height, max(1, round(height * size[1] / size[0]))
    else:
        box = max(1, round(width * size[0] / size[1])), width
    return Box((height - box[0]) // 2, (width - box[1]) // 2, *box)


def _grey(picture):
    if picture.dtype == np.uint8:
        return np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    return np.clip(picture @ LUMA, 0, 1)[..., None]


def _resize(picture, size):
    height, width = size
    if picture.dtype == np.uint8 and picture.shape[2] == 3:
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    channels = [
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR))
        for channel in np.moveaxis(picture, 2, 0)
    ]
    resized = np.stack(channels, axis=2)
    return resized if resized.dtype == np.uint8 else np.clip(resized, 0, 1)  # rounding may pass the borders

"""Finds the largest face in a photo and frames it as CelebA's aligned faces are."""

import functools
import os

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from vae_jax.errors import UserError

HEIGHT, WIDTH = 218, 178  # of an aligned face of CelebA
# The median box of OpenCV's detector on aligned faces of CelebA, in pixels.
BOX_SIDE, BOX_X, BOX_Y = 101.0, 89.0, 124.0  # its side and its centre
SCALE, NEIGHBOURS = 1.05, 4  # of the search over sizes; how many boxes must agree on a face
SMALLEST = 0.08  # of the photo's shorter side: what is smaller is not taken for a face
LONGEST = 1200  # pixels of the longer side that the detector is shown


def check_alignable(data: ConfigDict) -> None:
    """UserError where faces can't be framed as this run's are, or OpenCV is not installed."""
    if not framed_as_celeba(data):
        raise UserError(f"--align=face frames faces as CelebA does, but this run is on data.source={data.source!r}.")
    _detector()


def framed_as_celeba(data: ConfigDict) -> bool:
    """Whether the pictures of a run are aligned faces of CelebA, as they are or cropped."""
    return data.source == "celeba" or (data.source, data.name) == ("tfds", "celeb_a")


def align_face(picture: np.ndarray) -> np.ndarray | None:
    """The largest face of a photo [h, w, 3] uint8 as an aligned face of CelebA, [218, 178, 3]; None without one.

    Beyond the photo's border its edge goes on. The face is not turned.
    """
    box = _largest_face(picture)
    if box is None:
        return None
    left, top, side = box
    scale = side / BOX_SIDE  # pixels of the photo for one of an aligned face
    x, y = left + side / 2 - BOX_X * scale, top + side / 2 - BOX_Y * scale
    right, bottom = x + WIDTH * scale, y + HEIGHT * scale
    height, width = picture.shape[:2]
    beyond = max(0, -x, -y, right - width, bottom - height)
    pad = int(np.ceil(beyond))
    padded = np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    window = (x + pad, y + pad, right + pad, bottom + pad)
    return np.asarray(Image.fromarray(padded).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=window))


def _largest_face(picture):
    """The left, top and side of the largest face's box, in pixels; None without one."""
    height, width = picture.shape[:2]
    factor = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    grey = np.asarray(Image.fromarray(picture).convert("L").resize(size, Image.Resampling.BILINEAR))
    smallest = max(24, round(SMALLEST * min(size)))
    boxes = _detector().detectMultiScale(grey, SCALE, NEIGHBOURS, minSize=(smallest, smallest))
    if not len(boxes):
        return None
    left, top, side, _ = max(np.asarray(boxes).tolist(), key=lambda box: (box[2], box))
    return left / factor, top / factor, side / factor


@functools.cache
def _detector():
    try:
        from cv2 import CascadeClassifier, data
    except ImportError as error:  # OpenCV 5 is there, but has no such detector
        raise UserError(
            "--align=face needs OpenCV 4: pip install 'vae_jax[faces]', or crop the faces yourself."
        ) from error
    return CascadeClassifier(os.path.join(data.haarcascades, "haarcascade_frontalface_alt2.xml"))

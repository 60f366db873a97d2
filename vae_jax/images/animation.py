"""Animations as GIF files, small enough for a page."""

from pathlib import Path

import numpy as np
from PIL import Image

from vae_jax.disk import written_aside

DURATION = 150  # milliseconds of a frame
COLOURS = 128  # of a frame; more are hardly seen, and the file grows


def save_gif(path: Path, frames: np.ndarray) -> None:
    """Writes uint8 [T, h, w, 3] as a GIF that starts again when it ends."""
    images = [
        Image.fromarray(frame).quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        for frame in frames
    ]
    with written_aside(path) as aside:
        images[0].save(aside, format="GIF", save_all=True, append_images=images[1:], duration=DURATION, loop=0)

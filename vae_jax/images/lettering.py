"""Words on grids of pictures: a heading above, the names of the rows at the left, captions below the pictures."""

import functools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 12  # pixels of the letters
MARGIN = 8  # pixels between words and pictures
INDENT = 3  # pixels between the left border and words
INK = (32, 33, 36)
WHITE = 255


def with_heading(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture, uint8 [h,w,3], below a line of text that makes it wider where it must."""
    font = _font()
    height, width, _ = picture.shape
    canvas = _blank(height + SIZE + 2 * MARGIN, max(width, INDENT + _width(font, text) + MARGIN))
    canvas[-height:, :width] = picture
    return _written(canvas, font, [(INDENT, MARGIN, text)], anchor="la")


def with_row_names(picture: np.ndarray, names: Sequence[tuple[int, str]]) -> np.ndarray:
    """The picture, uint8 [h,w,3], with words at its left, each centred at the height (pixels from the top) it has."""
    font = _font()
    left = INDENT + max(_width(font, name) for _, name in names) + MARGIN
    height, width, _ = picture.shape
    canvas = _blank(height, left + width)
    canvas[:, left:] = picture
    return _written(canvas, font, [(INDENT, middle, name) for middle, name in names], anchor="lm")


def with_captions(tiles: np.ndarray, captions: Sequence[str]) -> np.ndarray:
    """Pictures of one size, uint8 [N,h,w,3], each above its caption, which is shortened to the picture's width."""
    font = _font()
    n, height, width, _ = tiles.shape
    taller = np.full((n, height + SIZE + MARGIN, width, 3), WHITE, np.uint8)
    taller[:, :height] = tiles
    middle = (width / 2, caption_middle(taller.shape[1]))
    return np.stack(
        [
            _written(tile, font, [(*middle, _shortened(font, caption, width))], anchor="mm")
            for tile, caption in zip(taller, captions, strict=True)
        ]
    )


def caption_middle(height: int) -> float:
    """Where the middle of its caption is, in pixels from the top, in a picture that is `height` pixels with it."""
    return height - (SIZE + MARGIN) / 2


@functools.cache
def _font():
    """DejaVu, which comes with matplotlib: names of files and classes are in all alphabets."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), SIZE)


def _blank(height, width):
    return np.full((height, width, 3), WHITE, np.uint8)


def _written(array, font, words, *, anchor):
    image = Image.fromarray(array)
    pen = ImageDraw.Draw(image)
    for x, y, text in words:
        pen.text((x, y), text, fill=INK, font=font, anchor=anchor)
    return np.asarray(image)


def _width(font, text):
    return int(np.ceil(font.getlength(text)))


def _shortened(font, text, width):
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"

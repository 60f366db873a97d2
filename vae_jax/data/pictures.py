"""From the file of a picture to its pixels, whatever kind of JPEG, PNG, WebP or BMP it is. Imports no jax."""

import io
import warnings

import numpy as np
from PIL import ExifTags, Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # told by the content, whatever the file is called
MAX_PIXELS = 50_000_000  # of one picture; decoding takes about 8 bytes a pixel
SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I")  # Pillow's modes of grey pictures of 16 bits

# How to turn a picture upright, by its EXIF orientation (EXIF 2.32, tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BrokenPicture(Exception):
    """A picture that can't be used; the message says why, and is told beside its name."""


def decode(content: bytes) -> np.ndarray:
    """The picture in a file's `content` as RGB [H, W, 3] uint8, turned upright by its EXIF orientation.

    What is transparent is laid on white; of 16 bits the upper 8 are kept, for grey as for colour; of an animation the
    first frame is taken. Raises BrokenPicture for what is empty, damaged, of another format or over MAX_PIXELS.
    """
    if not content:
        raise BrokenPicture("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata and of large pictures, which are refused below
            return _decode(content)
    except Image.DecompressionBombError:
        raise _too_large() from None
    except Image.UnidentifiedImageError:
        raise BrokenPicture(f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture") from None
    except BrokenPicture:
        raise
    except Exception as error:  # Pillow lets through whatever a damaged file makes its parsers run into
        raise BrokenPicture(f"it can't be decoded ({error or type(error).__name__})") from error


def _decode(content):
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:  # only the header has been read so far
            raise _too_large()
        image.load()
        orientation = UPRIGHT.get(_orientation(image))
        upright = image if orientation is None else image.transpose(orientation)
        return np.asarray(_rgb(upright, transparent=image.has_transparency_data))  # [H, W, 3]


def _rgb(image, *, transparent):
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if transparent:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _orientation(image):
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata, of which any parser error may come, say nothing against the pixels
        return None


def _too_large():
    return BrokenPicture(f"it has more than {MAX_PIXELS:,} pixels")

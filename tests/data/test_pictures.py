import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from vae_jax.data import pictures
from vae_jax.data.pictures import BrokenPicture, decode

SIZE = (4, 3)  # width, height


def file(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def plain(mode, colour):
    return Image.new(mode, SIZE, colour)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows, *, bits, colour_type):
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def palette(**options):
    image = Image.new("P", SIZE, 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    return file(image, **options)


def ycck(y, cb, cr):
    """A JPEG whose four components are stored as Y, Cb, Cr and (inverted, as Adobe does) no black."""
    content = file(Image.new("CMYK", SIZE, (255 - y, 255 - cb, 255 - cr, 0)), "JPEG", quality=100)
    marker = content.index(b"Adobe")
    return content[: marker + 11] + b"\x02" + content[marker + 12 :]  # its transform: 0 is CMYK, 2 is YCCK


def sixteen_bits(*values, colour_type):
    pixel = struct.pack(f">{len(values)}H", *values)
    return png(*SIZE, (b"\0" + pixel * SIZE[0]) * SIZE[1], bits=16, colour_type=colour_type)


def half_transparent_red():
    return plain("RGBA", (255, 0, 0, 128))


ANIMATION = {"save_all": True, "append_images": [plain("RGB", "blue")], "lossless": True}

EXACT = {
    "grey": (file(plain("L", 77)), (77, 77, 77)),
    "black and white": (file(plain("1", 1)), (255, 255, 255)),
    "colour": (file(plain("RGB", (1, 2, 3))), (1, 2, 3)),
    "palette": (palette(), (10, 20, 30)),
    "palette, that colour transparent": (palette(transparency=1), (255, 255, 255)),
    "palette, half transparent": (palette(transparency=bytes([255, 102])), (157, 161, 165)),  # 0.4·c + 0.6·255
    "grey, transparent": (file(plain("LA", (100, 0))), (255, 255, 255)),
    "colour, half transparent": (file(half_transparent_red()), (255, 127, 127)),
    "colour, one of them transparent": (file(plain("RGB", (1, 2, 3)), transparency=(1, 2, 3)), (255, 255, 255)),
    "grey of 16 bits": (sixteen_bits(0x80FF, colour_type=0), (128, 128, 128)),
    "bright grey of 16 bits": (sixteen_bits(0xFFFF, colour_type=0), (255, 255, 255)),
    "dark grey of 16 bits": (sixteen_bits(0x0300, colour_type=0), (3, 3, 3)),
    "colour of 16 bits": (sixteen_bits(0xFFFF, 0x8000, 0x0100, colour_type=2), (255, 128, 1)),
    "transparent colour of 16 bits": (sixteen_bits(0, 0, 0, 0, colour_type=6), (255, 255, 255)),
    "BMP": (file(plain("RGB", (9, 8, 7)), "BMP"), (9, 8, 7)),
    "WebP": (file(half_transparent_red(), "WEBP", lossless=True, exact=True), (255, 127, 127)),
    "animated WebP": (file(plain("RGB", "red"), "WEBP", **ANIMATION), (255, 0, 0)),
    "animated PNG": (
        file(plain("RGB", "red"), "PNG", save_all=True, append_images=[plain("RGB", "blue")]),
        (255, 0, 0),
    ),
}
JPEGS = {
    "grey": (file(plain("L", 200), "JPEG"), (200, 200, 200)),
    "colour": (file(plain("RGB", (200, 100, 50)), "JPEG", quality=95), (200, 100, 50)),
    "progressive": (file(plain("RGB", (50, 100, 200)), "JPEG", quality=95, progressive=True), (50, 100, 200)),
    "CMYK": (file(plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=95), (0, 255, 255)),
    "CMYK, black": (file(plain("CMYK", (0, 0, 0, 255)), "JPEG", quality=95), (0, 0, 0)),
    # Y, Cb, Cr of JFIF's red; Adobe's inks are stored inverted, so cyan is what red leaves: R = 255 - 254.
    "YCCK": (ycck(76, 85, 255), (1, 255, 255)),
}


@pytest.mark.parametrize(("content", "colour"), EXACT.values(), ids=EXACT)
def test_every_kind_of_picture_comes_out_in_its_colour(content, colour):
    assert np.array_equal(decode(content), np.full((3, 4, 3), colour, np.uint8))


@pytest.mark.parametrize(("content", "colour"), JPEGS.values(), ids=JPEGS)
def test_every_kind_of_jpeg_comes_out_in_its_colour(content, colour):
    np.testing.assert_allclose(decode(content).astype(int), np.full((3, 4, 3), colour), atol=2)


STORED = {  # how upright pixels U lie in a file, by EXIF's words for its row 0 and its column 0
    1: lambda u: u,  # top, left
    2: lambda u: u[:, ::-1],  # top, right
    3: lambda u: u[::-1, ::-1],  # bottom, right
    4: lambda u: u[::-1],  # bottom, left
    5: lambda u: u.swapaxes(0, 1),  # left, top
    6: lambda u: u[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda u: u[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda u: u[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_turned_upright_by_its_exif_orientation(orientation, channels):
    upright = np.random.default_rng(0).integers(0, 256, (3, 5, channels), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)).squeeze())
    assert np.array_equal(decode(file(image, exif=exif)), np.broadcast_to(upright, (3, 5, 3)))


def test_damaged_metadata_do_not_cost_the_picture():
    content = file(plain("RGB", (1, 2, 3)), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff nonsense")
    assert np.array_equal(decode(content), np.full((3, 4, 3), (1, 2, 3)))


def jpeg_of_size(width, height):
    content = bytearray(file(plain("RGB", "red"), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of_size(width, height):
    extended = b"\x10\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(extended)) + extended
    body += file(plain("RGBA", "red"), "WEBP", lossless=True)[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8))

BROKEN = {
    "empty": (b"", "the file is empty"),
    "zeros": (bytes(1000), "it is no JPEG, PNG, WEBP or BMP picture"),
    "text": (b"<html>Too many users</html>", "it is no JPEG, PNG, WEBP or BMP picture"),
    "another format": (file(plain("RGB", "red"), "GIF"), "it is no JPEG, PNG, WEBP or BMP picture"),
    "truncated JPEG": (file(NOISE, "JPEG")[:-500], "it can't be decoded .*truncated"),
    "truncated PNG": (file(NOISE)[:-500], "it can't be decoded .*truncated"),
    "truncated WebP": (file(NOISE, "WEBP")[:-500], "it "),
    "truncated BMP": (file(NOISE, "BMP")[:-500], "it can't be decoded .*truncated"),
    "giant PNG": (png(60000, 60000, b"", bits=8, colour_type=2), "it has more than 50,000,000 pixels"),
    "giant JPEG": (jpeg_of_size(65500, 65500), "it has more than 50,000,000 pixels"),
    "large JPEG": (jpeg_of_size(10000, 10000), "it has more than 50,000,000 pixels"),
    "giant WebP": (webp_of_size(16384, 16384), "it "),
}


@pytest.fixture
def peak_memory():
    """The most memory this process has held since the fixture was made, in bytes."""
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")

    def peak():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

    return peak


@pytest.mark.parametrize(("content", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_picture_that_cannot_be_decoded_says_why_without_a_warning_and_without_memory(
    content, reason, peak_memory, capfd
):
    before = peak_memory()
    with warnings.catch_warnings(action="error"), pytest.raises(BrokenPicture, match=f"^{reason}"):
        decode(content)
    assert peak_memory() - before < 50e6
    assert capfd.readouterr() == ("", "")


def test_a_picture_of_the_largest_size_is_taken_and_no_larger_one(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 12)
    assert decode(file(plain("RGB", "red"))).shape == (3, 4, 3)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 11)
    with pytest.raises(BrokenPicture, match="it has more than 11 pixels"):
        decode(file(plain("RGB", "red")))

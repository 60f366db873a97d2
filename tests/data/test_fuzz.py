"""Damaged pictures through the folder source: FUZZED_PICTURES says how many of them, 200 without it."""

import io
import os
import resource
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from vae_jax.data.fit import Fit

COUNT = int(os.environ.get("FUZZED_PICTURES", 200))
SUFFIX = {"JPEG": "jpg", "PNG": "png"}


def picture(kind, rng):
    """The file of a smooth picture, of a size and with options drawn by chance."""
    small = Image.fromarray(rng.integers(0, 256, (5, 4, 3), np.uint8))
    image = small.resize(tuple(rng.integers(20, 200, 2).tolist()), Image.Resampling.BICUBIC)
    image = image.convert(rng.choice({"JPEG": ["L", "RGB", "CMYK"], "PNG": ["1", "L", "P", "RGB", "RGBA"]}[kind]))
    options = {"progressive": True} if kind == "JPEG" and rng.random() < 0.3 else {}
    if rng.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        options["exif"] = exif
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def truncated(content, rng):
    return content[: rng.integers(1, len(content) // 2)]


def flipped(content, rng):
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    bits[rng.integers(0, len(bits), rng.integers(1, 50))] ^= 1
    return np.packbits(bits).tobytes()


def flipped_in_the_header(content, rng):
    return flipped(content[:300], rng) + content[300:]


def zeroed(content, rng):
    start = rng.integers(0, len(content))
    length = min(rng.integers(1, 200), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def empty(content, rng):
    return b""


def giant(content, rng):
    """The same file, whose header claims to be 8,000 to 65,500 pixels wide and high."""
    width, height = rng.integers(8000, 65500, 2).tolist()
    if content.startswith(b"\x89PNG"):
        header = content[12:16] + struct.pack(">II", width, height) + content[24:29]
        return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    return content[: frame + 5] + struct.pack(">HH", height, width) + content[frame + 9 :]


def misnamed(content, rng):
    return content


MUTATIONS = (truncated, flipped, flipped_in_the_header, zeroed, empty, giant, misnamed)


@pytest.fixture
def memory():
    """The most memory, in bytes, that this process or one of its children has come to hold."""

    def peak():
        return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

    return peak


def test_damaged_pictures_are_all_named_and_cost_neither_a_crash_nor_memory(open_cached, tmp_path, memory, capfd):
    rng = np.random.default_rng(0)
    names = {mutation: set() for mutation in MUTATIONS}
    for number in range(COUNT):
        kind, mutation = rng.choice(list(SUFFIX)), MUTATIONS[number % len(MUTATIONS)]
        suffix = SUFFIX[kind] if mutation is not misnamed else {"JPEG": "bmp", "PNG": "webp"}[kind]
        name = f"{mutation.__name__}_{number:05}.{suffix}"
        (tmp_path / "pictures").mkdir(exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(mutation(picture(kind, rng), rng))
        names[mutation].add(name)
    before = memory()
    splits = open_cached(tmp_path / "pictures", tmp_path / "cache", Fit("center", (32, 32), 3), max_broken=0.999)
    assert memory() - before < 300e6
    kept = sum(map(len, splits.values()))
    (left_out,) = (tmp_path / "cache").glob("*/left_out.txt")
    reasons = dict(line.split("\t") for line in left_out.read_text().splitlines())
    assert kept + len(reasons) == COUNT
    assert names[truncated] | names[empty] | names[giant] <= reasons.keys()
    assert not names[misnamed] & reasons.keys()
    assert all(reasons.values())
    told = capfd.readouterr().err
    assert f"{len(reasons):,} of {COUNT:,} pictures can't be used" in told
    assert "Traceback" not in told and "Warning" not in told

"""Builds the cache of a collection: decodes all of it, in bounded memory, aside, and renames it into place."""

import errno
import json
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vae_jax.data.decoding import decode_all
from vae_jax.data.fit import Fit
from vae_jax.data.source import Pictures, rows
from vae_jax.errors import UserError
from vae_jax.progress import Progress

PIXELS, INDEX, LEFT_OUT = "pixels", "index.npz", "left_out.txt"  # the files of a cache
ABOUT, NAMES = "about", "names"  # the arrays of the index that hold JSON and a name a line; the others are columns
FULL = (errno.ENOSPC, errno.EDQUOT)
CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL)  # on some network file systems


def build(splits: Mapping[str, Pictures], fit: Fit, folder: Path) -> None:
    """Decodes the pictures of the splits, in this order, into the new `folder`. The caller holds its lock.

    A split whose collection is `unique` keeps no picture of which the same file was kept already, in it or in a split
    before it. UserError where the disk is full, before anything is decoded if that can be known.
    """
    aside = folder.with_suffix(".part")
    shutil.rmtree(aside, ignore_errors=True)  # what a killed run left behind
    size = fit.size[0] * fit.size[1] * fit.channels * _dtype(splits).itemsize
    needed = size * sum(len(pictures) for pictures in splits.values())
    try:
        aside.mkdir()
        with open(aside / PIXELS, "wb") as file:
            _reserve(file, needed)
            index, columns = _write_pixels(file, splits, fit, folder)
        lines = (f"{name}\t{reason}\n" for name, reason in index["left_out"])
        (aside / LEFT_OUT).write_text("".join(lines), encoding="utf-8")
        np.savez(aside / INDEX, **{ABOUT: np.frombuffer(json.dumps(index).encode(), np.uint8)}, **columns)
        os.rename(aside, folder)
    except OSError as error:
        if error.errno not in FULL:
            raise
        shutil.rmtree(aside, ignore_errors=True)  # it may hold what was free
        free = shutil.disk_usage(folder.parent).free
        raise UserError(
            f"data.cache_dir is {str(folder.parent)!r}, where {needed / 1e6:,.0f} MB of decoded pictures don't fit in "
            f"the {free / 1e6:,.0f} MB that are free; make room or name a folder on another disk."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _dtype(splits):
    return np.dtype(next(iter(splits.values())).dtype)


def _reserve(file, size):
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        if error.errno not in CANNOT_RESERVE:
            raise


def _write_pixels(file, splits, fit, folder):
    """Writes the pixels; the index's JSON object, and the columns of the pictures that were kept."""
    names, collections = list(splits), list(splits.values())
    total = sum(len(pictures) for pictures in collections)
    kept = {name: [] for name in names}  # places in the collection
    example_ids, named, left_out, first_of, crc, done = [], [], [], {}, 0, 0
    start = time.monotonic()
    with Progress(total, noun="picture") as progress:
        progress.message(f"decoding {total:,} pictures into {folder}")
        for decoded in decode_all(collections, fit):
            pictures = collections[decoded.chunk.collection]
            broken = dict(decoded.broken)
            if pictures.unique:
                broken |= _repeated(decoded, pictures, first_of)
            good = np.array([place not in broken for place in decoded.places], bool)
            pixels = decoded.pixels[good]
            file.write(pixels)
            crc = zlib.crc32(pixels, crc)
            kept[names[decoded.chunk.collection]].append(decoded.places[good])
            example_ids.append(decoded.example_ids[good])
            named += [_printable(pictures.name(place)) for place in decoded.places[good].tolist()]
            left_out += [(_printable(pictures.name(place)), _printable(broken[place])) for place in sorted(broken)]
            done += decoded.chunk.stop - decoded.chunk.start
            progress.update(done, f"{done / (time.monotonic() - start):,.0f} pictures/s")
    file.truncate()  # to what was kept of the space reserved
    kept = {name: np.concatenate(places) if places else np.zeros(0, np.int64) for name, places in kept.items()}
    stops = np.cumsum([len(places) for places in kept.values()]).tolist()
    index = {
        "shape": [*fit.size, fit.channels],
        "dtype": _dtype(splits).name,
        "classes": collections[0].classes,
        "attributes": collections[0].attributes,
        "count": stops[-1],
        "pictures": total,
        "crc32": crc,
        "splits": dict(zip(names, zip([0, *stops[:-1]], stops, strict=True), strict=True)),
        "left_out": left_out,
    }
    parts = [rows(pictures.columns, places) for pictures, places in zip(collections, kept.values(), strict=True)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    lines = np.frombuffer("\n".join(named).encode(), np.uint8)
    return index, columns | {"example_id": np.concatenate(example_ids), NAMES: lines}


def _repeated(decoded, pictures, first_of):
    """Of the good pictures of a chunk, those whose file was kept before, with the reason; notes the other files."""
    repeated = {}
    for place, digest in zip(decoded.places.tolist(), decoded.digests, strict=True):
        if digest in first_of:
            repeated[place] = f"it is the same file as {first_of[digest]}"
        else:
            first_of[digest] = pictures.name(place)
    return repeated


def _printable(text):
    return text if text.isprintable() else ascii(text)

"""Decoded pictures on disk: fitted once, from then on read by one gather from a memory-mapped file. Imports no jax.

A cache is a folder below `data.cache_dir`: `pixels` (raw, one picture after the other), `index.npz` (what it holds,
and the columns) and `left_out.txt`. It is never changed once it is there.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vae_jax.data.building import ABOUT, INDEX, LEFT_OUT, NAMES, PIXELS, build
from vae_jax.data.fit import Fit
from vae_jax.data.source import Features, Pictures, Provenance, Source, Subset, rows
from vae_jax.disk import cache_folder
from vae_jax.errors import UserError
from vae_jax.progress import say

FORMAT = 2  # goes up with any change of what is cached for the same pictures
READ = 2**24  # bytes that are summed at once
NAMED = 20  # reasons that are given where too many pictures are left out
NAMED_IN_PASSING = 3  # reasons elsewhere, and pictures for each


class DamagedCacheError(Exception):
    """A cache whose files are not what was written; the message says which."""


class CachedSource:
    """All pictures of a cache, of every split; `about` is what its index says. A pickled one is opened again.

    `place` is where the pictures are that it was built from.
    """

    def __init__(self, folder: Path, place: str):
        # Read first: of a damaged file numpy and zipfile then raise no OSError, which is left to the disk.
        content = io.BytesIO((folder / INDEX).read_bytes())
        with np.load(content) as index:
            self.about = json.loads(index[ABOUT].tobytes())
            self.columns = {name: index[name] for name in index.files if name not in (ABOUT, NAMES)}
            self._names = index[NAMES].tobytes()  # as they are: a list of very many names takes far more memory
        shape, dtype = tuple(self.about["shape"]), np.dtype(self.about["dtype"])
        self.features = Features(shape, dtype, tuple(self.about["classes"]), tuple(self.about["attributes"]))
        shape = (self.about["count"], *shape)
        # A plain array over the map: indexing np.memmap itself costs far more. Nothing can't be mapped.
        self._pixels = np.asarray(np.memmap(folder / PIXELS, dtype, "r", shape=shape)) if len(self) else np.empty(shape)
        self.folder, self.place = folder, place
        left_out = tuple((name, reason) for name, reason in self.about["left_out"])
        self.provenance = (Provenance(place, str(folder), self.about["pictures"], left_out),)

    def __reduce__(self):
        return CachedSource, (self.folder, self.place)

    def __len__(self) -> int:
        return self.about["count"]

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self._pixels[indices]} | rows(self.columns, indices)

    def names(self, indices: np.ndarray) -> list[str]:
        every = self._names.decode().split("\n")
        return [every[index] for index in indices]


def cached(splits: Mapping[str, Pictures], fit: Fit, *, cache_dir: str, max_broken: float) -> dict[str, Source]:
    """The splits, decoded and fitted: from their cache, which is built where there is none yet or it is damaged.

    A picture that is there twice stays in the test split rather than in the validation or training split, so that
    nothing tested was trained on. UserError where more than a share `max_broken` of all pictures had to be left out.
    """
    folder = Path(cache_dir).expanduser() if cache_dir else cache_folder("data")
    ordered = {name: splits[name] for name in sorted(splits, key=["test", "validation", "train"].index)}
    source = _open_or_build(ordered, fit, folder / _key(ordered, fit))
    _tell_left_out(source.about["left_out"], source.about["pictures"], max_broken, source.folder)
    return {name: Subset(source, np.arange(*source.about["splits"][name])) for name in splits}


def _key(splits, fit):
    collections = [[name, pictures.fingerprint, pictures.unique] for name, pictures in splits.items()]
    return hashlib.sha256(json.dumps([FORMAT, repr(fit), collections]).encode()).hexdigest()[:16]


def _open_or_build(splits, fit, folder):
    place = next(iter(splits.values())).place
    with contextlib.suppress(DamagedCacheError):
        if source := _open(folder, place):
            return source
    with _lock(folder):
        try:
            if source := _open(folder, place):  # another run has built it in the meantime
                return source
        except DamagedCacheError as error:
            say(f"the cache {folder} is damaged ({error}); it is built again")
            shutil.rmtree(folder)
        build(splits, fit, folder)
        return CachedSource(folder, place)


def _open(folder, place):
    """The cache, all of it verified; None where there is none. Raises DamagedCacheError."""
    if not folder.exists():
        return None
    try:
        source = CachedSource(folder, place)
        _verify(folder / PIXELS, source.about["crc32"])
    except Exception as error:  # a damaged index makes numpy, zipfile and json raise errors of every kind
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            # Of the disk or of permissions, which says nothing against the files: they may have taken hours.
            raise UserError(
                f"data.cache_dir is {str(folder.parent)!r}, where the cache {folder.name} can't be read ({error}); "
                "mend that, or name another."
            ) from error
        raise DamagedCacheError(str(error)) from error
    return source


def _verify(path, expected):
    """Reads the file by readinto, not through the map, whose pages would count as this process's memory."""
    crc, buffer = 0, memoryview(bytearray(READ))
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            crc = zlib.crc32(buffer[:size], crc)
    if crc != expected:
        raise DamagedCacheError(f"its pixels have the checksum {crc:08x}, not {expected:08x}")


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """One builder at a time; the lock goes with its process, however that ends."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = open(folder.with_suffix(".lock"), "w")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UserError(
            f"data.cache_dir is {str(folder.parent)!r}, where nothing can be written ({error.strerror}); name another."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another run is building the cache {folder}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tell_left_out(left_out, pictures, max_broken, folder):
    if not left_out:
        return
    too_many = len(left_out) > max_broken * pictures
    by_reason = {}
    for name, reason in left_out:
        by_reason.setdefault(reason, []).append(name)
    reasons = list(by_reason.items())[: NAMED if too_many else NAMED_IN_PASSING]
    told = "; ".join(f"{_named(names)}: {reason}" for reason, names in reasons)
    if sum(len(names[:NAMED_IN_PASSING]) for _, names in reasons) < len(left_out):
        told += f"; all of them stand in {folder / LEFT_OUT}"
    told = f"{len(left_out):,} of {pictures:,} pictures can't be used ({told})"
    if too_many:
        raise UserError(
            f"{told}, more than data.max_broken={max_broken} allows; mend or remove them, or allow more of them."
        )
    say(f"{told}; they are left out")


def _named(names):
    more = f" and {len(names) - NAMED_IN_PASSING:,} more" if len(names) > NAMED_IN_PASSING else ""
    return ", ".join(names[:NAMED_IN_PASSING]) + more

"""Picture files below a folder or in a zip archive: which there are, what is in them, and whether they changed."""

import hashlib
import os
import stat
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vae_jax.data.pictures import BrokenPicture
from vae_jax.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_BYTES = 2**28  # of a file; pictures of pictures.MAX_PIXELS have fewer but for some of 16 bits a channel
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}  # by what people call them
QUOTA = (
    "so Google Drive answers when too many people have downloaded a file; delete it and try again a day later, or "
    "take the data from elsewhere"
)


class Folder:
    """The files below the folder `path`."""

    def __init__(self, path: Path):
        self.path = path

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class Archive:
    """The files of a zip, read without unpacking it; every process that is given a pickle of it opens its own."""

    def __init__(self, path: Path):
        self.path = path
        self._open = None

    def __getstate__(self):
        return {"path": self.path, "_open": None}

    def size(self, name: str) -> int:
        return self._zip().getinfo(name).file_size

    def read(self, name: str) -> bytes:
        return self._zip().read(name)

    def _zip(self) -> zipfile.ZipFile:
        if self._open is None:
            self._open = zipfile.ZipFile(self.path)
        return self._open


@dataclass(frozen=True)
class Listing:
    """The pictures that a folder or archive holds.

    `stamps` has, for the path of each picture below the folder, in order, something that changes when the picture may
    have; `passed_over` counts what else is there, by what it is.
    """

    store: Folder | Archive
    stamps: dict[str, str]
    passed_over: Counter = field(default_factory=Counter)


class PictureFiles:
    """Some of a listing's pictures with what is known of them: a `Pictures`, see vae_jax.data.source."""

    channels = 3  # grey files among them don't show without opening them
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        listing: Listing,
        names: Sequence[str],
        columns: Mapping[str, np.ndarray],
        *,
        classes: tuple[str, ...] = (),
        attributes: tuple[str, ...] = (),
        unique: bool = False,
    ):
        self.columns, self.classes, self.attributes, self.unique = dict(columns), classes, attributes, unique
        self._store, self._names = listing.store, list(names)
        self.place = str(listing.store.path)
        described = [f"{name} {listing.stamps[name]}" for name in names]
        digest = hashlib.blake2b(os.fsencode("\n".join([*described, *columns, *classes, *attributes])), digest_size=16)
        for values in columns.values():
            digest.update(np.ascontiguousarray(values))
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        return self._names[index]

    def load(self, index: int) -> bytes:
        name = self._names[index]
        size = self._store.size(name)
        if size > MAX_BYTES:  # before it is read, as a few of them would fill the memory
            raise BrokenPicture(f"the file has {size:,} bytes, more than {MAX_BYTES:,}")
        return self._store.read(name)


def list_folder(root: Path) -> Listing:
    """The pictures below `root`, to any depth, by their suffix; each folder is entered once, so links can't loop."""
    stamps, passed_over, entered = {}, Counter(), set()
    waiting = [(root, "")]
    while waiting:
        folder, prefix = waiting.pop()
        try:
            status, entries = folder.stat(), sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            passed_over["unreadable folders"] += 1
            continue
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        for entry in entries:
            kind, status = _look(entry)
            if kind == "folders":
                waiting.append((folder / entry.name, f"{prefix}{entry.name}/"))
            elif kind == "pictures":
                stamps[prefix + entry.name] = f"{status.st_size} {status.st_mtime_ns}"
            else:
                passed_over[kind] += 1
    return Listing(Folder(root), dict(sorted(stamps.items())), passed_over)


def list_archive(path: Path) -> Listing:
    """The pictures in the zip at `path`; UserError where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"data.dir: {path} is no zip that can be read ({_what_it_is(path, error)}).") from error
    stamps, passed_over = {}, Counter()
    for entry in entries:
        if any(part.startswith((".", "__MACOSX")) for part in entry.filename.split("/")):
            passed_over["hidden files"] += 1
        elif entry.filename.lower().endswith(SUFFIXES):
            stamps[entry.filename] = f"{entry.file_size} {entry.CRC}"
        else:
            passed_over["other files"] += 1
    return Listing(Archive(path), dict(sorted(stamps.items())), passed_over)


def _look(entry: os.DirEntry) -> tuple[str, os.stat_result | None]:
    """What an entry of a folder is, and its status."""
    if entry.name.startswith("."):
        return "hidden files", None
    try:
        status = entry.stat()
    except OSError:  # a link to nowhere or to itself
        return "other files", None
    if stat.S_ISDIR(status.st_mode):
        return "folders", status
    picture = stat.S_ISREG(status.st_mode) and entry.name.lower().endswith(SUFFIXES)
    return "pictures" if picture else "other files", status


def is_web_page(content: bytes) -> bool:
    return content.lstrip()[:1] == b"<"


def _what_it_is(path, error):
    size = path.stat().st_size
    with path.open("rb") as file:
        if is_web_page(file.read(1000)):
            return f"it is a web page of {size:,} bytes: {QUOTA}"
    return f"{error}; it has {size:,} bytes, perhaps of a download that broke off"

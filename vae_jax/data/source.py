"""What a data set is to the rest of the package: a length, random access, and the features of its examples."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vae_jax.errors import UserError

IDENTITIES = 2**24  # people's numbers in one data set lie below it


@dataclass(frozen=True)
class Features:
    """The shape and dtype of one image, and the names of the classes and attributes where there are any."""

    shape: tuple[int, ...]  # (H, W, C), or (D,) for vectors
    dtype: np.dtype
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """Where pictures were found and what became of them, for people to read."""

    place: str  # the folder or archive
    cache: str  # the folder of the decoded ones
    pictures: int  # that were found
    left_out: tuple[tuple[str, str], ...]  # names of those that could not be used, or were there twice, and why


class Source(Protocol):
    """A data set of random access; it is pickled where worker processes read it.

    `columns` holds what is known of every example without its pixels, where the data have it: "label" [N], "attributes"
    [N, A] of 0 and 1, "identity" [N] (who is in the picture) and "example_id" [N] uint32. `provenance` has an entry for
    each collection of pictures that the examples are from; arrays have none.
    """

    features: Features
    columns: dict[str, np.ndarray]
    provenance: tuple[Provenance, ...]

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices` [n]: "image" [n, H, W, C] uint8 or float32 in [0, 1], or vectors [n, D] float32.

        Beside it, the columns at `indices`.
        """
        ...

    def names(self, indices: np.ndarray) -> list[str]:
        """What a user would call the examples at `indices`: the paths of their files, or their numbers in an array."""
        ...


class Pictures(Protocol):
    """A collection of pictures as they lie on disk, of any size: what a cache of decoded ones is built from.

    It is pickled to the processes that decode, so its class stands in a module. `columns` is as in `Source`, and only
    asked for when a cache is built. `fingerprint` changes whenever a picture may have. `channels` is what
    `data.channels=0` comes to: 1 only where every picture is known to be grey, as in MNIST. `dtype` is uint8, or
    float32 where `load` gives arrays in [0, 1]. `unique` asks that a picture which is there twice is kept once.
    `place` is the folder or archive that the pictures are in.
    """

    columns: dict[str, np.ndarray]
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    fingerprint: str
    channels: int
    dtype: np.dtype
    unique: bool
    place: str

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a user would call the picture: its file's path below the folder, or its number."""
        ...

    def load(self, index: int) -> bytes | np.ndarray:
        """The picture's file as it is, or its pixels [H, W, C] where the collection holds arrays.

        Any exception means that this picture can't be read: it is left out, and the message is told beside its name.
        """
        ...


class ArraySource:
    """A source held in memory: `images` [N, H, W, C] uint8 or float32 in [0, 1], or vectors [N, D] of any float32."""

    provenance = ()

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None, classes: tuple[str, ...] = ()):
        if images.ndim == 2:
            if images.dtype != np.float32:
                raise UserError(f"vectors are {images.dtype}; they must be float32.")
            if not np.isfinite(images).all():
                raise UserError("vectors have entries that are not finite; all must be.")
        elif images.dtype not in (np.uint8, np.float32):
            raise UserError(f"images are {images.dtype}; they must be uint8, or float32 in [0, 1].")
        elif images.dtype == np.float32 and images.size and not (images.min() >= 0 and images.max() <= 1):
            raise UserError(f"images run from {images.min()} to {images.max()}; float32 ones must lie in [0, 1].")
        if labels is not None and len(labels) != len(images):
            raise UserError(f"labels has {len(labels)} entries; there must be one for each of {len(images)} images.")
        self.features = Features(images.shape[1:], images.dtype, classes)
        self.columns = {} if labels is None else {"label": labels}
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {"image": self.images[indices]} | rows(self.columns, indices)

    def names(self, indices: np.ndarray) -> list[str]:
        return [str(index) for index in indices]


class Subset:
    """The examples of `source` at `indices` [N], in that order."""

    def __init__(self, source: Source, indices: np.ndarray):
        self.features, self.provenance = source.features, source.provenance
        self._source = source
        self._indices = indices

    @property
    def columns(self) -> dict[str, np.ndarray]:
        return rows(self._source.columns, self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._source.read(self._indices[indices])

    def names(self, indices: np.ndarray) -> list[str]:
        return self._source.names(self._indices[indices])


class Joined:
    """The examples of `sources` laid end to end; `features` and `columns` are those of the whole."""

    def __init__(self, sources: Sequence[Source], features: Features, columns: dict[str, np.ndarray]):
        self.features, self.columns = features, columns
        self.provenance = tuple(dict.fromkeys(entry for source in sources for entry in source.provenance))
        self._sources = tuple(sources)
        self._starts = np.cumsum([0, *map(len, sources)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        images = np.empty((len(indices), *self.features.shape), self.features.dtype)
        number_of = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(number_of):
            here = number_of == number
            images[here] = self._sources[number].read(indices[here] - self._starts[number])["image"]
        return {"image": images} | rows(self.columns, indices)

    def names(self, indices: np.ndarray) -> list[str]:
        number_of = np.searchsorted(self._starts, indices, side="right") - 1
        places = zip(number_of, indices - self._starts[number_of], strict=True)
        return [self._sources[number].names([place])[0] for number, place in places]


def join(sources: Sequence[Source]) -> Joined:
    """The splits of one data set as one, with the columns that all of them have."""
    names = set.intersection(*(set(source.columns) for source in sources))
    columns = {name: np.concatenate([source.columns[name] for source in sources]) for name in sorted(names)}
    return Joined(sources, sources[0].features, columns)


def rows(columns: dict[str, np.ndarray], indices: np.ndarray) -> dict[str, np.ndarray]:
    """What the columns say of the examples at `indices`."""
    return {name: values[indices] for name, values in columns.items()}


def hold_out(source: Source, fraction: float, *, seed: int, name: str) -> tuple[Subset, Subset]:
    """The source without a random `fraction` of its examples, and that fraction, drawn for (seed, name)."""
    drawn = philox(seed, zlib.crc32(name.encode())).permutation(len(source))
    count = max(1, round(fraction * len(source)))
    return Subset(source, np.sort(drawn[count:])), Subset(source, np.sort(drawn[:count]))


def philox(*key: int) -> np.random.Generator:
    """A generator of random numbers that the two numbers of `key` alone decide."""
    return np.random.Generator(np.random.Philox(key=np.array([number % 2**64 for number in key], np.uint64)))

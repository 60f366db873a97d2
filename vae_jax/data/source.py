"""What a data set is to the rest of the package: a length, random access, and the features of its examples."""

import zlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vae_jax.errors import UserError


@dataclass(frozen=True)
class Features:
    """The shape and dtype of one image, and the names of the classes and attributes where there are any."""

    shape: tuple[int, ...]  # (H, W, C), or (D,) for vectors
    dtype: np.dtype
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


class Source(Protocol):
    """A data set of random access; it is pickled where worker processes read it."""

    features: Features

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at `indices` [n]: "image" [n, H, W, C] uint8 or float32 in [0, 1], or vectors [n, D] float32.

        Beside it, where the data have them: "label" [n] int32, "attributes" [n, A] uint8 of 0 and 1, "identity" [n]
        int32 (who is in the picture), and "example_id" [n] uint32 where it is known without the pixels.
        """
        ...


class Pictures(Protocol):
    """A collection of pictures as they lie on disk, of any size: what a cache of decoded ones is built from.

    It is pickled to the processes that decode. `columns` holds what is known without opening a picture: "label" [N],
    "attributes" [N, A], "identity" [N], as in `Source.read`. `fingerprint` changes whenever a picture may have.
    `unique` asks that a picture which is there twice is kept once.
    """

    columns: dict[str, np.ndarray]
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    fingerprint: str
    unique: bool

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What a user would call the picture: its file's path below the folder, or its number."""
        ...

    def load(self, index: int) -> bytes | np.ndarray:
        """The picture's file as it is, or its pixels [H, W, C] where the collection holds arrays."""
        ...


class ArraySource:
    """A source held in memory: `images` [N, H, W, C] uint8 or float32 in [0, 1], and perhaps `labels` [N]."""

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None, classes: tuple[str, ...] = ()):
        if images.dtype not in (np.uint8, np.float32):
            raise UserError(f"images are {images.dtype}; they must be uint8, or float32 in [0, 1].")
        if images.dtype == np.float32 and images.size and not (images.min() >= 0 and images.max() <= 1):
            raise UserError(f"images run from {images.min()} to {images.max()}; float32 ones must lie in [0, 1].")
        if labels is not None and len(labels) != len(images):
            raise UserError(f"labels has {len(labels)} entries; there must be one for each of {len(images)} images.")
        self.features = Features(images.shape[1:], images.dtype, classes)
        self._arrays = {"image": images} if labels is None else {"image": images, "label": labels}

    def __len__(self) -> int:
        return len(self._arrays["image"])

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[indices] for name, values in self._arrays.items()}


class Subset:
    """The examples of `source` at `indices` [N], in that order."""

    def __init__(self, source: Source, indices: np.ndarray):
        self.features = source.features
        self._source = source
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return self._source.read(self._indices[indices])


def hold_out(source: Source, fraction: float, *, seed: int, name: str) -> tuple[Subset, Subset]:
    """The source without a random `fraction` of its examples, and that fraction, drawn for (seed, name)."""
    drawn = permutation(len(source), seed, zlib.crc32(name.encode()))
    count = max(1, round(fraction * len(source)))
    return Subset(source, np.sort(drawn[count:])), Subset(source, np.sort(drawn[:count]))


def permutation(size: int, *key: int) -> np.ndarray:
    """A random permutation of range(size) [size] int64, a pure function of size and the two numbers of `key`."""
    words = np.array([number % 2**64 for number in key], np.uint64)
    return np.random.Generator(np.random.Philox(key=words)).permutation(size)

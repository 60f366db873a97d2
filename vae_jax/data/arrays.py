"""Arrays of images as a collection of pictures, for the cache that keeps them cropped, resized or in other channels."""

import functools
import hashlib

import numpy as np

from vae_jax.data.source import ArraySource


class ArrayPictures:
    """The images [N, H, W, C] of a source as a `Pictures`: see vae_jax.data.source."""

    unique = False
    place = "arrays in memory"

    def __init__(self, source: ArraySource):
        self.columns, self.classes = source.columns, source.features.classes
        self.attributes, self.dtype = source.features.attributes, source.features.dtype
        self.channels = source.features.shape[2]
        self._source = source  # which knows how to be pickled

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the content: arrays have neither a name nor a date."""
        digest = hashlib.blake2b(repr((self._source.images.shape, self.dtype, self.classes)).encode(), digest_size=16)
        for array in (self._source.images, *self.columns.values()):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self._source.images)

    def name(self, index: int) -> str:
        return str(index)

    def load(self, index: int) -> np.ndarray:
        return np.asarray(self._source.images[index])

"""What the examples of a source are like, in numbers: one pass over all of them in bounded memory. Imports no jax."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from vae_jax.data.source import Source

CHUNK = 2**24  # bytes that are summed at once, as float64


@dataclass(frozen=True)
class Statistics:
    """Of N examples: moments of every pixel (or entry of a vector), uint8 ones scaled to [0, 1], and their digests."""

    low: float  # the smallest value, as stored
    high: float
    mean: np.ndarray  # [H, W, C] or [D], float64
    stddev: np.ndarray  # the same
    digests: np.ndarray  # [N] uint64: two examples with one digest are alike in every pixel

    @property
    def channel_mean(self) -> np.ndarray:
        """The mean of each channel over all pixels [C], or [D] of vectors."""
        return self.mean.reshape(-1, self.mean.shape[-1]).mean(axis=0)

    @property
    def channel_stddev(self) -> np.ndarray:
        """The standard deviation of each channel over all pixels of all examples [C], or [D]."""
        mean, stddev = (values.reshape(-1, values.shape[-1]) for values in (self.mean, self.stddev))
        return np.sqrt((stddev**2).mean(axis=0) + mean.var(axis=0))

    @property
    def repeated(self) -> int:
        """How many examples are alike, in every pixel, to one before them."""
        return len(self.digests) - len(np.unique(self.digests))


def measure(source: Source) -> Statistics:
    """The statistics of all examples; means and squares are merged chunk by chunk (Chan et al., 1983)."""
    shape, dtype = source.features.shape, source.features.dtype
    low, high = math.inf, -math.inf
    mean, squares = np.zeros(shape), np.zeros(shape)
    digests = np.empty(len(source), np.uint64)
    size = max(1, CHUNK // (8 * math.prod(shape)))
    for start in range(0, len(source), size):
        stop = min(start + size, len(source))
        image = np.ascontiguousarray(source.read(np.arange(start, stop))["image"])
        digests[start:stop] = [_digest(each) for each in image]
        low, high = min(low, float(image.min())), max(high, float(image.max()))
        x = image.astype(np.float64)
        own = x.mean(axis=0)
        difference = own - mean
        mean += difference * ((stop - start) / stop)
        squares += np.square(x - own).sum(axis=0) + difference**2 * (start * (stop - start) / stop)
    scale = 255 if dtype == np.uint8 else 1
    return Statistics(low, high, mean / scale, np.sqrt(squares / len(source)) / scale, digests)


def _digest(example):
    return int.from_bytes(hashlib.blake2b(example, digest_size=8).digest(), "little")

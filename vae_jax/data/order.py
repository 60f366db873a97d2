"""The order of training: which examples make the batch of a step, a pure function of the seed and the step."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from vae_jax.data.source import permutation
from vae_jax.errors import UserError


@dataclass(frozen=True)
class BatchIndices:
    """Which examples a batch holds, and in which epoch each of them is seen."""

    indices: np.ndarray  # [B] int64, or [R, B] of R replicas
    epoch: np.ndarray  # as indices, int32


@dataclass(frozen=True)
class Order:
    """One random permutation of `size` examples an epoch, laid end to end and cut into batches.

    The batch of step s takes the places [s * batch_size, (s + 1) * batch_size) of that stream. It may straddle two
    epochs, and nothing is dropped.
    """

    size: int
    batch_size: int
    seed: int

    def __post_init__(self):
        if not 1 <= self.batch_size <= self.size:
            raise UserError(
                f"train.batch_size is {self.batch_size}; it must be from 1 to {self.size}, the number of training "
                "examples."
            )

    @property
    def steps_per_epoch(self) -> int:
        """The steps after which every example was seen at least once, ceil(size / batch_size)."""
        return math.ceil(self.size / self.batch_size)

    def batch(self, step: int) -> BatchIndices:
        """The batch of `step`, counted from 0."""
        start = step * self.batch_size
        epoch, place = np.divmod(np.arange(start, start + self.batch_size), self.size)
        indices = np.concatenate(
            [_epoch(self.size, self.seed, number)[place[epoch == number]] for number in np.unique(epoch).tolist()]
        )
        return BatchIndices(indices, epoch.astype(np.int32))


@dataclass(frozen=True)
class Orders:
    """The orders of R replicas, each with its own seed."""

    each: tuple[Order, ...]

    @property
    def batch_size(self) -> int:
        """B, the same for all."""
        return self.each[0].batch_size

    def batch(self, step: int) -> BatchIndices:
        """The batches [R, B] of `step`."""
        batches = [order.batch(step) for order in self.each]
        return BatchIndices(np.stack([b.indices for b in batches]), np.stack([b.epoch for b in batches]))


@functools.lru_cache(maxsize=64)  # a batch straddles two epochs at most, of each replica
def _epoch(size: int, seed: int, epoch: int) -> np.ndarray:
    return permutation(size, seed, epoch)

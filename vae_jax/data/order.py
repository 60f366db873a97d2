"""The order of training: which examples make the batch of a step, a pure function of the seed and the step."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vae_jax.data.source import philox
from vae_jax.errors import UserError

TICKS = 2**16  # the parts of a place; float64 tells them apart for sets of millions


@dataclass(frozen=True)
class BatchIndices:
    """Which examples a batch holds, and in which epoch each of them is seen."""

    indices: np.ndarray  # [B] int64, or [R, B] of R replicas
    epoch: np.ndarray  # as indices, int32


@dataclass(frozen=True, eq=False)  # hashed by identity, as a key of `_epoch`
class Strata:
    """Groups of examples and how often each is drawn: `group` [N] numbers them, `share` [G] of an epoch sums to 1.

    Within a group all examples are drawn equally often.
    """

    group: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class Order:
    """Epochs of `size` places, laid end to end and cut into batches; in each, every example once, in random order.

    With `strata` an epoch is a random sample in their proportions instead: a group of n examples has size·share of its
    places, and each of the n examples size·share/n, all rounded up or down.

    The batch of step s takes the places [s * batch_size, (s + 1) * batch_size) of that stream. It may straddle two
    epochs, and nothing is dropped.
    """

    size: int
    batch_size: int
    seed: int
    strata: Strata | None = None

    def __post_init__(self):
        if not 1 <= self.batch_size <= self.size:
            raise UserError(
                f"train.batch_size is {self.batch_size}; it must be from 1 to {self.size}, the number of training "
                "examples."
            )

    @property
    def steps_per_epoch(self) -> int:
        """The steps after which an epoch is over, ceil(size / batch_size)."""
        return math.ceil(self.size / self.batch_size)

    def batch(self, step: int) -> BatchIndices:
        """The batch of `step`, counted from 0."""
        start = step * self.batch_size
        epoch, place = np.divmod(np.arange(start, start + self.batch_size), self.size)
        epochs = _epochs(self.size, self.seed, self.strata)
        indices = np.concatenate([epochs(number)[place[epoch == number]] for number in np.unique(epoch).tolist()])
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


@functools.lru_cache(maxsize=64)
def _epochs(size: int, seed: int, strata: Strata | None) -> Callable[[int], np.ndarray]:
    """`_epoch` of one order, for any epoch; it keeps the last two, as a batch straddles two at most."""
    return functools.lru_cache(maxsize=2)(functools.partial(_epoch, size, seed, strata=strata))


def _epoch(size: int, seed: int, epoch: int, strata: Strata | None) -> np.ndarray:
    """The examples at the places of an epoch [size] int64."""
    if strata is None:
        return philox(seed, epoch).permutation(size)
    return _sample(strata, size, philox(seed, epoch))


def _sample(strata: Strata, size: int, generator: np.random.Generator) -> np.ndarray:
    """A systematic sample of `size` places (Madow, 1949), in random order.

    The examples lie on a line, group by group and in random order within each, and each takes up as much of it as it
    is to be drawn; whoever has one of `size` evenly spaced points is drawn. In whole ticks, so that a group or example
    that is to be drawn a whole number of times is drawn exactly that often.
    """
    shuffled = generator.permutation(size)
    drawn = shuffled[np.argsort(strata.group[shuffled], kind="stable")]  # group by group
    group = strata.group[drawn]
    ends = np.cumsum((strata.share / np.bincount(group, minlength=len(strata.share)))[group])  # [N], up to 1
    ticks = np.rint(ends / ends[-1] * (size * TICKS)).astype(np.int64)
    counts = np.diff((ticks + generator.integers(TICKS)) // TICKS, prepend=0)  # [N]
    return generator.permutation(np.repeat(drawn, counts))

"""A host's share of a training call: which examples its K steps take there, and their arrays. Imports no jax."""

from dataclasses import dataclass

import numpy as np

from vae_jax.data.content import read_examples
from vae_jax.data.order import Order, Orders
from vae_jax.data.source import Source

ENDLESS = 2**40  # a length for what has no end


@dataclass(frozen=True)
class Calls:
    """Random access by call number: call c covers K = `steps_per_call` steps from `start_step + c * K` on.

    Arrays are [K, B, ...], or [K, R, B, ...] where the order is that of R replicas. B are the places `rows` [B] of the
    whole batch, those of this process.
    """

    source: Source
    order: Order | Orders
    rows: np.ndarray
    steps_per_call: int
    start_step: int

    def __len__(self) -> int:
        return ENDLESS

    def plan(self, call: int) -> dict[str, np.ndarray]:
        """What `call` takes, before any reading: indices and epoch [K, B] int32, mask [K, B] float32, all ones."""
        first = self.start_step + call * self.steps_per_call
        batches = [self.order.batch(step) for step in range(first, first + self.steps_per_call)]
        indices = np.stack([batch.indices[..., self.rows] for batch in batches]).astype(np.int32)
        epoch = np.stack([batch.epoch[..., self.rows] for batch in batches])
        return {"indices": indices, "epoch": epoch, "mask": np.ones(epoch.shape, np.float32)}

    def __getitem__(self, call: int) -> dict[str, np.ndarray]:
        """The whole of `call`: image [K, B, ...], epoch, mask [K, B] and the columns, by one read of the source."""
        plan = self.plan(call)
        indices = plan.pop("indices")
        examples = read_examples(self.source, indices.reshape(-1))
        return plan | {name: values.reshape(*indices.shape, *values.shape[1:]) for name, values in examples.items()}

"""From a source and an order to global arrays on the devices, for training and for evaluation."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import grain
import jax
import numpy as np
from absl import flags
from jax.sharding import Mesh

from vae_jax import cluster
from vae_jax.data.calls import Calls
from vae_jax.data.content import read_all, read_examples
from vae_jax.data.order import Order, Orders
from vae_jax.data.source import Source
from vae_jax.errors import UserError
from vae_jax.mesh import batch_sharding, check_batch_size, device_memory, local_rows, replicated, to_device

DELIVERIES = ("auto", "device", "host")
DEVICE_SHARE = 0.25  # of a device's memory: what a data set may take of it under delivery "auto"
THREADS = 4  # that read for the host's delivery without worker processes, each one call (K batches) ahead

Batch = dict[str, jax.Array]


@dataclass(frozen=True)
class Delivery:
    """How the pixels reach the devices, "device" or "host", and why."""

    name: str
    reason: str


def choose_delivery(source: Source, delivery: str, mesh: Mesh) -> Delivery:
    """What `delivery` ("auto", "device" or "host") comes to for this source on these devices.

    "auto" holds the data set on the devices if it takes at most `DEVICE_SHARE` of the memory of each. On the CPU, the
    devices are taken to share the host's physical memory evenly.
    """
    if delivery not in DELIVERIES:
        raise UserError(f"data.delivery is {delivery!r}; it must be one of {', '.join(DELIVERIES)}.")
    size = len(source) * math.prod(source.features.shape) * np.dtype(source.features.dtype).itemsize
    memory = device_memory(mesh)
    if delivery == "device" and not cluster.all_say(size <= memory):
        raise UserError(
            f"data.delivery is 'device', but the {size / 1e6:,.0f} MB of data don't fit in the {memory / 1e6:,.0f} MB "
            "of a device; take 'host'."
        )
    if delivery != "auto":
        return Delivery(delivery, "as data.delivery says")
    fits = cluster.all_say(size <= DEVICE_SHARE * memory)
    name, relation = ("device", "within") if fits else ("host", "more than")
    return Delivery(
        name, f"{size / 1e6:,.1f} MB of data, {relation} {DEVICE_SHARE:.0%} of a device's {memory / 1e6:,.0f} MB"
    )


def train_batches(
    source: Source,
    order: Order | Orders,
    *,
    mesh: Mesh,
    steps_per_call: int,
    start_step: int,
    delivery: str,
    workers: int,
) -> Iterator[Batch]:
    """The batches of training calls, without end: item c covers K steps from `start_step + c * K` on.

    An item holds global arrays split over the devices along B: image [K, B, H, W, C] in the source's dtype,
    example_id [K, B] uint32, epoch [K, B] int32, mask [K, B] float32, and the source's columns, as label [K, B] int32.
    They are bitwise the same for either delivery and any number of workers and of processes, each of which reads what
    its own devices take. The Orders of R replicas put R after K.

    "device" reads the data set once and gathers every call from it on the devices. "host" reads and transfers each
    call while the one before is at work: on threads of this process for `workers=0`, else in that many processes,
    which pays where decoding is slow. The processes are spawned: each imports the caller's main module (so a script
    needs its `if __name__ == "__main__":`) and gets a pickled copy of the source. Closing the iterator ends them.
    """
    check_batch_size(order.batch_size, mesh, field="train.batch_size")
    calls = Calls(source, order, local_rows(mesh, order.batch_size), steps_per_call, start_step)
    if choose_delivery(source, delivery, mesh).name == "device":
        return _gathered(calls, mesh)
    return _fed(calls, mesh, workers)


def evaluation_batches(source: Source, batch_size: int, *, mesh: Mesh, limit: int | None = None) -> Iterator[Batch]:
    """Each of the first `limit` examples (None: all of them) exactly once and in order, in batches of `batch_size`.

    The arrays are those of a training batch without its K: [B, ...], split over the devices. The last batch is filled
    up with its own first example under mask 0. All of evaluation counts as epoch 0.
    """
    check_batch_size(batch_size, mesh, field="eval.batch_size")
    return _evaluation(source, batch_size, mesh, len(source) if limit is None else min(limit, len(source)))


def _evaluation(source, batch_size, mesh, count):
    rows = local_rows(mesh, batch_size)
    for start in range(0, count, batch_size):
        places = start + rows
        batch = read_examples(source, np.where(places < count, places, start))
        batch["epoch"] = np.zeros(len(rows), np.int32)
        batch["mask"] = (places < count).astype(np.float32)
        yield to_device(batch, batch_sharding(mesh))


def _gathered(calls, mesh):
    sharding = _call_sharding(calls, mesh)
    data = to_device(read_all(calls.source), replicated(mesh))

    @jax.jit(out_shardings=sharding)
    def gather(data, indices):
        return {name: values.at[indices].get(mode="promise_in_bounds") for name, values in data.items()}

    for call in itertools.count():
        plan = to_device(calls.plan(call), sharding)
        yield gather(data, plan.pop("indices")) | plan


def _fed(calls, mesh, workers):
    if workers and not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain asks its own flags before it starts a process, in notebooks and tests too
    threads = 1 if workers else THREADS
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads)
    processes = grain.MultiprocessingOptions(num_workers=workers)
    reader = iter(grain.MapDataset.source(calls).to_iter_dataset(reading).mp_prefetch(processes))
    sharding = _call_sharding(calls, mesh)
    try:
        ready = to_device(next(reader), sharding)
        while True:
            following = to_device(next(reader), sharding)  # under way before the one before it is handed out
            yield ready
            ready = following
    finally:
        reader.close()


def _call_sharding(calls, mesh):
    """[K, B, ...] or [K, R, B, ...], split along B."""
    return batch_sharding(mesh, leading=calls.plan(0)["mask"].ndim - 1)

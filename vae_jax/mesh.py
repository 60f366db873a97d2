"""The device mesh, the shardings of states and batches, and the way from host arrays to global ones.

Of several processes, each holds the rows of a batch that its own devices take, and no others.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax import cluster
from vae_jax.errors import UserError

DATA, FSDP = "data", "fsdp"
V5E = ("TPU v5 lite", "TPU v5e")  # whose two-dimensional slices a mesh may cut across, as jax.make_mesh does
LEAST_SPLIT = 2**16  # numbers in an array: below, splitting it saves less than the messages cost


def make_mesh(devices: int = 0, *, fsdp: int = 1) -> Mesh:
    """A mesh of the axes `data` and `fsdp` over the first `devices` devices (0: all of them).

    All of them share a batch; each row of `fsdp` of them shares one copy of the state. The axes are Auto: under
    Explicit ones, jax's default, convolutions with sharded kernels raise.
    """
    available = jax.devices()
    if not 0 <= devices <= len(available):
        raise UserError(f"mesh.devices is {devices}; {len(available)} are here (0 takes all of them).")
    if cluster.is_together() and devices not in (0, len(available)):
        raise UserError(
            f"mesh.devices is {devices}; several processes take all of their {len(available)} devices (0), "
            "or some would have nothing to do."
        )
    count = devices or len(available)
    if fsdp < 1 or count % fsdp:
        raise UserError(f"mesh.fsdp is {fsdp}; it must be 1 or more, and divide the {count} devices.")
    return Mesh(_arranged(available[:count], fsdp), (DATA, FSDP), axis_types=(AxisType.Auto, AxisType.Auto))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: keys, a data set on the device, figures."""
    return NamedSharding(mesh, P())


def state_shardings(mesh: Mesh, state: Any) -> Any:
    """The sharding of each array of a training state: whole on every device, or split over the axis `fsdp`.

    Split are arrays of LEAST_SPLIT numbers or more, along the longest axis that `fsdp` divides; so the optimiser's and
    the averaged copies of a parameter lie where it lies.
    """
    return jax.tree.map(lambda leaf: NamedSharding(mesh, _split(leaf.shape, mesh.shape[FSDP])), state)


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """The sharding of arrays whose batch axis stands after `leading` others (1 for [K, B, ...])."""
    return NamedSharding(mesh, P(*([None] * leading), (DATA, FSDP)))


def device_memory(mesh: Mesh) -> float:
    """The memory, in bytes, of the smallest of this process's devices; infinite where they don't say.

    CPU devices of a process share their host's evenly.
    """
    if mesh.devices.flat[0].platform == "cpu":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // len(mesh.local_devices)
    return min((device.memory_stats() or {}).get("bytes_limit", math.inf) for device in mesh.local_devices)


def check_state_fits(state: Any, shardings: Any, mesh: Mesh, *, copies: int = 1) -> None:
    """Raises UserError where a device can't hold its share of so many training states, given as abstract arrays."""
    share = jax.tree.map(lambda leaf, to: leaf.dtype.itemsize * math.prod(to.shard_shape(leaf.shape)), state, shardings)
    size = copies * sum(jax.tree.leaves(share))
    if not cluster.all_say(size <= device_memory(mesh)):
        raise UserError(
            f"The parameters and the optimiser's state take {size / 1e9:,.1f} GB a device, which is more than one has; "
            "make the model smaller (model.latent, the nets), or split it over devices (mesh.fsdp)."
        )


def check_batch_size(batch_size: int, mesh: Mesh, *, field: str) -> None:
    """Raises UserError unless the devices of `mesh` can share a batch evenly."""
    if batch_size % mesh.size:
        raise UserError(f"{field} is {batch_size}; it must be a multiple of the {mesh.size} devices that share it.")


def local_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
    """The places in a batch of `batch_size`, in rising order, that the devices of this process take: all for one."""
    taken = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in taken]))


def to_device(batch: Mapping[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """The host arrays of a batch as global arrays under `sharding`; the transfer is not waited for.

    Along a split axis, the arrays have the rows of this process (`local_rows`).
    """
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def _arranged(devices: Sequence, fsdp: int) -> np.ndarray:
    """The devices [data, fsdp], neighbours beside each other; `data` runs through one TPU slice after the other."""
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    each = len(devices) // slices
    if each % fsdp:
        raise UserError(f"mesh.fsdp is {fsdp}; it must divide the {each} devices of each of the {slices} slices.")
    shape = (each // fsdp, fsdp)
    options = {"allow_split_physical_axes": devices[0].device_kind in V5E}
    if slices > 1:
        return mesh_utils.create_hybrid_device_mesh(shape, (slices, 1), devices, **options)
    return mesh_utils.create_device_mesh(shape, devices, **options)


def _split(shape: tuple[int, ...], parts: int) -> P:
    divisible = [axis for axis, size in enumerate(shape) if size % parts == 0]
    if parts == 1 or not divisible or math.prod(shape) < LEAST_SPLIT:
        return P()
    longest = max(divisible, key=lambda axis: shape[axis])
    return P(*[None] * longest, FSDP)

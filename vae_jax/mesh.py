"""The device mesh, the shardings of states and batches, and the way from host arrays to global ones."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.errors import UserError

DATA = "data"


def make_mesh(devices: int = 0) -> Mesh:
    """A mesh of one axis, `data`, over the first `devices` devices (0: all of them).

    Its axes are Auto: under Explicit ones, jax's default, convolutions with sharded kernels raise.
    """
    available = jax.devices()
    if not 0 <= devices <= len(available):
        raise UserError(f"mesh.devices is {devices}; {len(available)} are here (0 takes all of them).")
    count = devices or len(available)
    return jax.make_mesh((count,), (DATA,), axis_types=(AxisType.Auto,), devices=available[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole: parameters, keys, a data set on the device."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh, leading: int = 0) -> NamedSharding:
    """The sharding of arrays whose batch axis stands after `leading` others (1 for [K, B, ...])."""
    return NamedSharding(mesh, P(*([None] * leading), DATA))


def check_batch_size(batch_size: int, mesh: Mesh, *, field: str) -> None:
    """Raises UserError unless the devices of `mesh` can share a batch evenly."""
    if batch_size % mesh.size:
        raise UserError(f"{field} is {batch_size}; it must be a multiple of the {mesh.size} devices that share it.")


def to_device(batch: Mapping[str, np.ndarray], sharding: NamedSharding) -> dict[str, jax.Array]:
    """The host arrays of a batch as global arrays under `sharding`; the transfer is not waited for."""
    return {name: jax.device_put(array, sharding) for name, array in batch.items()}

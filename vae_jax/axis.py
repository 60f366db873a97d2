"""The replica axis: one function of R replicas in one compiled program."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

AXES = ("auto", "map", "vmap")


def choose_axis(axis: str, platform: str) -> str:
    """What `axis` ("auto", "map" or "vmap") comes to on "cpu", "gpu" or "tpu".

    "map" runs the replicas one after another: each has the whole device, and their program is compiled once.
    "vmap" makes each operation one larger operation of all replicas, and so a convolution a grouped one: on the CPU
    that is slower (1.7 to 2 times in turn for the digits' conv net), elsewhere it is what fills a device that one
    small net leaves idle. tests/benchmarks/replicas.py measures both.
    """
    if axis != "auto":
        return axis
    return "map" if platform == "cpu" else "vmap"


def over_replicas(function: Callable, arguments: Sequence[tuple], *, axis: str) -> tuple[Any, ...]:
    """`function(*arguments[r])` of every replica r; all take and give pytrees of the same shapes."""
    if len(arguments) == 1:
        return (function(*arguments[0]),)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *arguments)  # [R, ...]
    together = jax.vmap(function)(*stacked) if axis == "vmap" else jax.lax.map(lambda each: function(*each), stacked)
    return tuple(_of_replica(together, replica) for replica in range(len(arguments)))


def _of_replica(stacked: Any, replica: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[replica], stacked)

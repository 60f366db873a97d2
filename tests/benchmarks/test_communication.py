"""What is read off a compiled program is what it sends."""

import jax
import jax.numpy as jnp
import pytest
from communication import Machine, all_reduce_seconds, sent
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.mesh import FSDP, batch_sharding, make_mesh, replicated


def test_a_sum_over_the_batch_sends_its_result_once():
    mesh = make_mesh(8)
    x = jax.ShapeDtypeStruct((16, 5, 3), jnp.float32, sharding=batch_sharding(mesh))
    program = jax.jit(lambda x: x.sum(0), out_shardings=replicated(mesh)).lower(x).compile()
    assert sent(program.as_text()) == {"all-reduce": (1, 5 * 3 * 4)}


def test_what_is_split_and_wanted_whole_is_gathered():
    mesh = make_mesh(8, fsdp=8)
    x = jax.ShapeDtypeStruct((64, 6), jnp.float32, sharding=NamedSharding(mesh, P(FSDP)))
    program = jax.jit(lambda x: x, out_shardings=replicated(mesh)).lower(x).compile()
    assert sent(program.as_text()) == {"all-gather": (1, 64 * 6 * 4)}


def test_a_ring_of_two_passes_each_byte_once():
    machine = Machine("two", 2, bandwidth=1e9, latency=0.0, flops=1.0)
    assert all_reduce_seconds(machine, 1, 1_000_000) == pytest.approx(1e-3)

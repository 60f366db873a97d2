"""A training call updates its state in place: the compiled program holds no second copy of it between its ends."""

import jax
import numpy as np
import pytest

from vae_jax.config import default_config, resolve
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps

BATCH = 4
REPORT = 4096  # bytes: the scalars of the report, and the addresses of all outputs


@pytest.fixture(scope="module")
def steps():
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(256,), norm="batch")
    config.model.decoder = dict(family="mlp", mirror=True)
    config.optimizer.ema = 0.9
    config.train.update(batch_size=BATCH, log_every=2)
    resolve(config)
    return Steps(config, (8, 8, 1), make_mesh(1))


@pytest.fixture(scope="module")
def batch():
    ids = np.arange(2 * BATCH, dtype=np.uint32).reshape(2, BATCH)
    ones = np.ones((2, BATCH), np.float32)
    return {"image": np.zeros((2, BATCH, 8, 8, 1), np.uint8), "example_id": ids, "epoch": ids, "mask": ones}


def test_the_compiled_program_returns_the_state_in_the_memory_it_came_in(steps, batch):
    state = steps.abstract_state()
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)
    memory = steps.train.lower(state, shapes, steps.weights).compile().memory_analysis()
    assert memory.alias_size_in_bytes >= size
    assert memory.output_size_in_bytes - memory.alias_size_in_bytes < REPORT


def test_the_old_state_is_gone_after_a_call(steps, batch):
    before = steps.init()
    steps.train(before, batch, steps.weights)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))

"""Parameters split over devices: the same training, and each device holds its part."""

import contextlib
import itertools
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from vae_jax import mesh as mesh_module
from vae_jax.checkpoint import Checkpoints
from vae_jax.config import default_config
from vae_jax.data.pipeline import train_batches
from vae_jax.errors import UserError
from vae_jax.mesh import FSDP, _arranged, check_state_fits, make_mesh, state_shardings
from vae_jax.run import open_run

WIDTH = 1024  # [1024, 64] is the least that is split


def trained(folder, *, fsdp, devices=8, optimizer="sgd"):
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(WIDTH,))
    config.model.latent = 4
    config.optimizer.update(name=optimizer, learning_rate=1e-4, ema=0.9)
    config.train.update(batch_size=64, steps=10, steps_per_call=1)
    config.mesh.update(devices=devices, fsdp=fsdp)
    run = open_run(folder, "test", config)
    options = {"steps_per_call": 1, "start_step": 0, "delivery": "device", "workers": 0}
    state, losses = run.steps.init(), []
    with contextlib.closing(train_batches(run.splits["train"], run.order, mesh=run.mesh, **options)) as batches:
        for batch in itertools.islice(batches, 10):
            state, report = run.steps.train(state, batch, run.steps.weights)
            losses.append(float(report["window"]["loss"]))
    return run, state, losses


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("whole"), fsdp=1)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("split"), fsdp=4)


def test_split_parameters_train_as_whole_ones(whole, split):
    np.testing.assert_allclose(split[2], whole[2], rtol=1e-5)
    for one, other in zip(jax.tree.leaves(split[1]), jax.tree.leaves(whole[1]), strict=True):
        np.testing.assert_allclose(jax.device_get(one), jax.device_get(other), rtol=1e-5, atol=1e-5)


def test_each_device_holds_its_part_of_what_is_large(split):
    _, state, _ = split
    parts = {
        jax.tree_util.keystr(path): (leaf.size, leaf.addressable_shards[0].data.size)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }
    kernels = {name: sizes for name, sizes in parts.items() if sizes[0] == 64 * WIDTH}
    assert len(kernels) == 4, "encoder and decoder, and their averages"
    assert all(part == size // 4 for size, part in kernels.values())
    assert all(part == size for name, (size, part) in parts.items() if name not in kernels)


def test_the_longest_axis_that_divides_is_split():
    mesh = make_mesh(8, fsdp=4)
    shapes = {"kernel": (3, 3, 256, 130), "odd": (255, 257), "small": (64, 64), "dense": (512, 2048)}
    arrays = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    assert {name: sharding.spec for name, sharding in state_shardings(mesh, arrays).items()} == {
        "kernel": P(None, None, FSDP),
        "odd": P(),
        "small": P(),
        "dense": P(None, FSDP),
    }


def test_a_state_must_fit_a_device_or_be_split(monkeypatch):
    state = {"kernel": jax.ShapeDtypeStruct((512, 512), np.float32)}  # 1 MiB
    monkeypatch.setattr(mesh_module, "device_memory", lambda mesh: 2**19)
    whole, split = make_mesh(8), make_mesh(8, fsdp=4)
    with pytest.raises(UserError, match="make the model smaller"):
        check_state_fits(state, state_shardings(whole, state), whole)
    check_state_fits(state, state_shardings(split, state), split, copies=2)
    with pytest.raises(UserError, match="mesh.fsdp"):
        check_state_fits(state, state_shardings(split, state), split, copies=3)


def test_what_was_saved_split_comes_back_whole_and_the_other_way(whole, split, tmp_path):
    for name, (_, state, _), (reading, _, _) in (("split", split, whole), ("whole", whole, split)):
        with Checkpoints(tmp_path / name, clean=True) as checkpoints:
            checkpoints.save(10, state)
        with Checkpoints(tmp_path / name) as checkpoints:
            restored = checkpoints.restore(reading.steps.abstract_state(), "newest").tree
        for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
            assert jax.device_get(one).tobytes() == jax.device_get(other).tobytes()
        shardings = jax.tree.map(lambda leaf: leaf.sharding, reading.steps.abstract_state())
        assert jax.tree.map(lambda leaf: leaf.sharding, restored) == shardings


@pytest.mark.parametrize("fsdp", [0, 3, 16])
def test_devices_that_do_not_divide_are_refused(fsdp):
    with pytest.raises(UserError, match=f"mesh.fsdp is {fsdp}; it must be 1 or more, and divide the 8 devices"):
        make_mesh(8, fsdp=fsdp)


@dataclass(frozen=True)
class Chip:
    """What jax says of one chip of a TPU v5e."""

    id: int
    slice_index: int
    coords: tuple[int, int, int]
    process_index: int = 0
    core_on_chip: int = 0
    device_kind: str = "TPU v5 lite"
    platform: str = "tpu"


def test_the_data_axis_runs_through_one_slice_after_the_other():
    chips = [Chip(4 * s + 2 * y + x, s, (x, y, 0)) for s in (0, 1) for y in (0, 1) for x in (0, 1)]
    arranged = _arranged(chips, 2)
    assert arranged.shape == (4, 2)
    assert [[chip.slice_index for chip in row] for row in arranged] == [[0, 0], [0, 0], [1, 1], [1, 1]]


def test_a_copy_of_the_state_that_spans_slices_is_refused():
    chips = [Chip(4 * s + c, s, (c % 2, c // 2, 0)) for s in (0, 1) for c in range(4)]
    with pytest.raises(UserError, match="mesh.fsdp is 8; it must divide the 4 devices of each of the 2 slices"):
        _arranged(chips, 8)

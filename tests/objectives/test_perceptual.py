"""The perceptual term: its definition, that it teaches the nets, and that its frozen net is no part of the state."""

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.checkpoint import Checkpoints
from vae_jax.config import default_config
from vae_jax.errors import UserError
from vae_jax.evaluation.evaluate import evaluate
from vae_jax.nn.vgg import features, vgg_of
from vae_jax.objectives.perceptual import perceptual_distance
from vae_jax.pretrained.files import file_hash
from vae_jax.replicas import open_group
from vae_jax.run import check_same_run, open_run, read_record, write_config
from vae_jax.train import train, train_together
from vae_jax.writer import read_metrics

LAYERS = ("relu1_1", "relu2_1")
SHAPES = {0: (64, 3, 3, 3), 2: (64, 64, 3, 3), 5: (128, 64, 3, 3)}


def state_of(seed):
    draw, state = np.random.default_rng(seed), {}
    for number, shape in SHAPES.items():
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[f"features.{number}.weight"] = (scale * draw.standard_normal(shape)).astype(np.float32)
        state[f"features.{number}.bias"] = np.zeros(shape[0], np.float32)
    return state


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "vgg.npz"
    np.savez(path, **state_of(0))
    return str(path)


def config(weights, **objective):
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(8,))
    config.model.latent = 3
    config.objective.update({"reconstruction": 0.0, "kl": 1.0, "perceptual": 100.0, **objective})
    config.perceptual.update(weights=weights, layers=LAYERS)
    config.optimizer.learning_rate = 1e-2
    config.train.update(batch_size=64, steps=16, steps_per_call=4, log_every=4, eval_every=8)
    config.mesh.devices = 1
    return config


@pytest.fixture(scope="module")
def trained(weights, tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("run"), "test", config(weights))
    write_config(run, "test")
    return run, train(run).state


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_half_the_mean_squared_difference_of_each_layer_summed(channels):
    net = vgg_of(state_of(0), LAYERS, said="")
    x, y = np.random.default_rng(1).random((2, 3, 8, 10, channels), np.float32)
    found = perceptual_distance(net, x, y, layers=LAYERS, dtype=jnp.float32)
    ours, theirs = (
        features(net, jnp.asarray(np.repeat(each, 3 // channels, -1)), LAYERS, dtype=jnp.float32) for each in (x, y)
    )
    expected = sum(0.5 * np.square(np.asarray(ours[n]) - np.asarray(theirs[n])).mean(axis=(1, 2, 3)) for n in LAYERS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_array_equal(perceptual_distance(net, x, x, layers=LAYERS, dtype=jnp.float32), np.zeros(3))


def test_its_gradient_reaches_every_parameter_of_encoder_and_decoder(weights, tmp_path):
    options = config(weights, kl=0.0)
    options.optimizer.update(name="sgd", learning_rate=1.0)
    steps = open_run(tmp_path, "test", options).steps
    batch = {
        "image": np.random.default_rng(0).random((1, 64, 8, 8, 1), np.float32),
        "example_id": np.arange(64, dtype=np.uint32)[None],
        "mask": np.ones((1, 64), np.float32),
    }
    before = jax.device_get(steps.init().variables.params)
    after = jax.device_get(steps.train(steps.init(), batch, steps.weights, steps.features)[0].variables.params)
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), before, after)
    assert all(jax.tree.leaves(moved)), moved


def test_a_run_learns_by_it_and_records_it(trained):
    run, state = trained
    lines = [line for line in read_metrics(run.workdir) if line["split"] == "train"]
    assert lines[-1]["perceptual"] < 0.9 * lines[0]["perceptual"]
    for line in read_metrics(run.workdir):
        assert line["loss"] == pytest.approx(100 * line["perceptual"] + line["kl"], rel=1e-4)
        assert "elbo" not in line
    meta = evaluate(run, state, split="test", checkpoint="newest")
    assert meta["figures"]["perceptual"]["unit"] == "squared features"
    assert "no ELBO" in meta["notes"][0]


def test_the_frozen_net_is_in_no_state_and_no_checkpoint(trained):
    run, state = trained
    sizes = {leaf.shape for leaf in jax.tree.leaves(state)}
    assert not sizes & {leaf.shape for leaf in run.steps.features.kernels}
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.restore(run.steps.abstract_state(), "newest").step == 16


def test_the_hash_of_its_file_belongs_to_the_run_and_its_place_does_not(trained, weights, tmp_path):
    run, _ = trained
    assert read_record(run.workdir).config.perceptual.sha256 == file_hash(Path(weights))
    shutil.copy(weights, tmp_path / "same.npz")
    check_same_run(open_run(run.workdir, "test", config(str(tmp_path / "same.npz"))))
    np.savez(tmp_path / "other.npz", **state_of(1))
    other = config(str(tmp_path / "other.npz"))
    with pytest.raises(UserError, match="perceptual.sha256"):
        check_same_run(open_run(run.workdir, "test", other))
    saved = read_record(run.workdir).config
    saved.perceptual.weights = str(tmp_path / "other.npz")
    with pytest.raises(UserError, match="whose SHA-256 is"):
        open_run(run.workdir, "test", saved)


def test_replicas_may_differ_in_its_weight(weights, tmp_path):
    options = config(weights)
    options.train.replicas.perceptual = (0.25, 100.0)
    group = open_group(tmp_path, "test", options)
    trained = train_together(group.runs)
    alone = open_run(tmp_path / "alone", "alone", config(weights, perceptual=100.0))
    for name, other in jax.tree.map(np.asarray, dataclasses.asdict(train(alone).state.variables)).items():
        for a, b in zip(
            jax.tree.leaves(other), jax.tree.leaves(getattr(trained[1].state.variables, name)), strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-4)
    first = json.loads((group.runs[0].workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert first["loss"] == pytest.approx(first["kl"] + 0.25 * first["perceptual"], rel=1e-4)


def test_eight_devices_and_bfloat16_nets_train_by_it_too(weights, tmp_path):
    def first_loss(**changes):
        options = config(weights)
        options.train.update(steps=4)
        options.update_from_flattened_dict(changes)
        run = open_run(tmp_path / str(len(list(tmp_path.iterdir()))), "test", options)
        train(run)
        return read_metrics(run.workdir)[0]["perceptual"]

    one = first_loss()
    assert first_loss(**{"mesh.devices": 8}) == pytest.approx(one, rel=1e-5)
    assert first_loss(dtype="bfloat16") == pytest.approx(one, rel=0.03)

"""`vae_jax.load`: a trained model in a notebook."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vae_jax
from vae_jax.config import default_config
from vae_jax.errors import UserError
from vae_jax.run import open_run, write_config
from vae_jax.train import train

ROOT = Path(__file__).parents[1]
# jax has compiled something, without a cache, before the model is loaded: as in a notebook.
LOAD = """
import json, sys, jax, numpy as np
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event.rsplit("/", 1)[-1]))
jax.jit(lambda x: x + 1)(1)
import vae_jax
vae_jax.load(sys.argv[1]).encode(np.zeros((2, 8, 8, 1)))
print(json.dumps({name: events.count(name) for name in ("cache_hits", "cache_misses")}))
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A conv net with BatchNorm and averaged parameters, trained for 16 steps on pictures of 8×8 pixels."""
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(4,), kernel=3, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.latent = 3
    config.optimizer.update(ema=0.9, learning_rate=1e-2)
    config.train.update(steps=16, eval_every=8, checkpoint_every=8)
    run = open_run(tmp_path_factory.mktemp("run"), "test", config)
    write_config(run, "python -m vae_jax.main")
    train(run)
    return run.workdir


@pytest.fixture(scope="module")
def model(workdir):
    return vae_jax.load(workdir)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8)


def test_encode_gives_a_mean_and_a_stddev_for_each_image(model, images):
    q = model.encode(images)
    assert q.mean.shape == q.stddev.shape == (5, 3)
    assert np.all(q.stddev > 0)


def test_decode_and_reconstruct_give_floats_in_0_to_1(model, images):
    decoded = model.decode(np.array([[0.0, 100.0, -100.0]] * 5))
    for pictures in (decoded, model.reconstruct(images)):
        assert pictures.shape == images.shape
        assert pictures.dtype == np.float32
        assert pictures.min() >= 0
        assert pictures.max() <= 1


def test_uint8_and_the_floats_it_stands_for_are_the_same(model, images):
    floats = images / 255  # float64
    for name in ("mean", "stddev"):
        np.testing.assert_array_equal(getattr(model.encode(images), name), getattr(model.encode(floats), name))
    np.testing.assert_array_equal(model.reconstruct(images), model.reconstruct(floats.astype(np.float32)))


def test_a_reconstruction_decodes_the_mean_of_the_posterior(model, images):
    np.testing.assert_array_equal(model.reconstruct(images), model.decode(model.encode(images).mean))


def test_an_image_is_encoded_alike_alone_and_in_company(model, images):
    np.testing.assert_allclose(model.encode(images[:1]).mean, model.encode(images).mean[:1], atol=1e-5)


def test_the_first_samples_of_twenty_are_those_of_ten(model):
    np.testing.assert_array_equal(model.sample(20)[:10], model.sample(10))
    assert model.sample(10).shape == (10, 8, 8, 1)


def test_samples_depend_on_the_seed_alone(model):
    np.testing.assert_array_equal(model.sample(4, seed=1), model.sample(4, seed=1))
    assert not np.allclose(model.sample(4, seed=1), model.sample(4, seed=2))


def test_there_can_be_more_samples_than_a_batch(model):
    count = model.config.eval.batch_size + 3
    assert model.sample(count).shape == (count, 8, 8, 1)
    np.testing.assert_array_equal(model.sample(count)[:5], model.sample(5))


@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 8, 8), (5, 8, 8, 3), (5, 9, 8, 1), (64,)])
def test_images_of_another_shape_are_refused(model, shape):
    with pytest.raises(UserError, match=r"takes \[B, 8, 8, 1\]"):
        model.encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "images", [np.full((1, 8, 8, 1), 255.0), np.full((1, 8, 8, 1), -0.1), np.full((1, 8, 8, 1), np.nan)]
)
def test_floats_outside_of_0_to_1_are_refused(model, images):
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        model.encode(images)


def test_integers_that_are_not_uint8_are_refused(model):
    with pytest.raises(UserError, match="must be uint8, or floats"):
        model.encode(np.zeros((1, 8, 8, 1), np.int64))


@pytest.mark.parametrize("shape", [(3,), (5, 4), (1, 5, 3)])
def test_latents_of_another_shape_are_refused(model, shape):
    with pytest.raises(UserError, match=r"must be \[B, 3\]"):
        model.decode(np.zeros(shape))


@pytest.mark.parametrize("count", [0, -1])
def test_no_samples_are_refused(model, count):
    with pytest.raises(UserError, match="count"):
        model.sample(count)


def test_a_checkpoint_is_picked_by_name_or_step(workdir, images):
    assert vae_jax.load(workdir).step == 16
    assert vae_jax.load(str(workdir), checkpoint=8).step == 8
    assert vae_jax.load(workdir, checkpoint="best").step in (8, 16)
    with pytest.raises(UserError, match="newest, best or one of the steps 8, 16"):
        vae_jax.load(workdir, checkpoint=9)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        vae_jax.load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def load_in_a_process(workdir, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    found = subprocess.run(
        [sys.executable, "-c", LOAD, workdir],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**inherited, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", **environment},
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_a_second_process_compiles_nothing_that_the_first_has_compiled(workdir, tmp_path):
    first = load_in_a_process(workdir, XDG_CACHE_HOME=str(tmp_path))
    second = load_in_a_process(workdir, XDG_CACHE_HOME=str(tmp_path))
    assert first["cache_misses"] > 0
    assert any((tmp_path / "vae_jax" / "xla").iterdir())
    assert second["cache_misses"] == 0
    assert second["cache_hits"] >= first["cache_misses"]


def test_the_cache_is_where_jax_was_told_to_keep_it(workdir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    found = load_in_a_process(workdir, XDG_CACHE_HOME=str(tmp_path / "home"), JAX_COMPILATION_CACHE_DIR=str(elsewhere))
    assert found["cache_misses"] > 0
    assert any(elsewhere.iterdir())
    assert not (tmp_path / "home").exists()

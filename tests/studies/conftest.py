"""A small trained run on the digits, and a model whose arithmetic can be done by hand."""

import sys
import types

import numpy as np
import pytest
from absl import flags

import vae_jax
from vae_jax import main
from vae_jax.config import default_config
from vae_jax.distributions import Normal
from vae_jax.run import open_run, write_config
from vae_jax.train import train


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """A conv net with two latents, trained for 32 steps on scikit-learn's digits."""
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(8,), kernel=3)
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.latent = 2
    config.optimizer.learning_rate = 1e-2
    config.train.update(steps=32, eval_every=32, checkpoint_every=32)
    run = open_run(tmp_path_factory.mktemp("runs") / "digits", "digits", config)
    write_config(run, "python -m vae_jax.main")
    train(run)
    return run.workdir


def trained(folder, **changes):
    """A dense net, trained on scikit-learn's digits."""
    config = default_config()
    config.model.update(latent=2, variance=0.1)
    config.optimizer.learning_rate = 3e-3
    config.train.update(steps=320, eval_every=320, checkpoint_every=320)
    config.mesh.devices = 1
    config.update_from_flattened_dict(changes)
    run = open_run(folder, folder.name, config)
    write_config(run, "python -m vae_jax.main")
    train(run)
    return folder


@pytest.fixture(scope="session")
def told_workdir(tmp_path_factory):
    """A run that is told which digit it is."""
    return trained(tmp_path_factory.mktemp("runs") / "told", **{"model.cond": ("label",), "objective.kl": 4.0})


@pytest.fixture(scope="session")
def classifier(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "classifier", **{"model.target": ("label",)})


@pytest.fixture(scope="session")
def autoencoder_workdir(tmp_path_factory):
    changes = {"model.posterior": "point", "objective.kl": 0.0}
    return trained(tmp_path_factory.mktemp("runs") / "autoencoder", **changes)


@pytest.fixture
def command(monkeypatch):
    """Runs the command line."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["main.py", "--mode=study", *map(str, arguments)])
        flags.FLAGS.unparse_flags()
        main.main()

    yield run
    flags.FLAGS.unparse_flags()


@pytest.fixture(scope="session")
def model(workdir):
    return vae_jax.load(workdir)


@pytest.fixture(scope="session")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), dtype=np.uint8) / np.float32(255)


class ByHand:
    """Pictures of side² pixels and as many latents: z = encode(x) is `gain`·x with stddev 0.5, and decode(z) is z."""

    conditions = None

    def __init__(self, gain=1.0, side=2):
        self.gain, self.shape = np.float32(gain), (side, side, 1)
        self.config = types.SimpleNamespace(
            model=types.SimpleNamespace(latent=side**2),
            data=types.SimpleNamespace(corrupt=types.SimpleNamespace(kind="none")),
        )

    def encode(self, images):
        mean = self.gain * np.asarray(images, np.float32).reshape(len(images), -1)
        return Normal(mean, np.full_like(mean, 2 * np.log(0.5)))

    def decode(self, z):
        return z.reshape(-1, *self.shape)


@pytest.fixture
def by_hand():
    return ByHand

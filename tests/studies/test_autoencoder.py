"""Studies of an autoencoder, which has no posterior to draw from, no KL and no prior."""

import json
import shutil

import numpy as np
import pytest

from vae_jax import studies
from vae_jax.distributions import Point


class Autoencoder:
    """Pictures of four pixels and as many latents: z = encode(x) is `gain`·x, and decode(z) is z."""

    def __init__(self, by_hand, gain):
        self.gain, hand = np.float32(gain), by_hand()
        self.config, self.shape, self.conditions, self.decode = hand.config, hand.shape, None, hand.decode

    def encode(self, images):
        return Point(self.gain * np.asarray(images, np.float32).reshape(len(images), -1))


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((40, 2, 2, 1), np.float32)


@pytest.fixture
def autoencoder(by_hand):
    return Autoencoder(by_hand, [1, 3, 4, 2])


def test_it_is_traversed_by_the_spread_of_its_latents(autoencoder, pictures):
    latents = pictures.reshape(40, 4) * autoencoder.gain
    arrays = studies.traverse(autoencoder, pictures, steps=3)
    assert arrays["dimension"].tolist() == [2, 1, 3, 0] and "kl" not in arrays
    np.testing.assert_allclose(arrays["stddev"], latents.std(axis=0)[[2, 1, 3, 0]], rtol=1e-5)
    ends = [z[2].mean() + reach * z[2].std() for z in [latents.T] for reach in (-3, 0, 3)]
    np.testing.assert_allclose(arrays["latents"][1, 0, :, 2], ends, rtol=1e-5)
    np.testing.assert_allclose(arrays["latents"][0, 0, 1], latents.mean(axis=0), rtol=1e-5)


def test_nothing_is_drawn_of_it_and_it_has_no_kl(autoencoder, pictures):
    arrays = studies.latent_stats(autoencoder, pictures)
    assert not arrays.keys() & {"kl", "active", "noise", "latent_stddev"}
    np.testing.assert_allclose(arrays["aggregate_covariance"], np.cov(arrays["latents"], rowvar=False), rtol=1e-5)
    assert not studies.reconstruct(autoencoder, pictures).keys() & {"noise", "latent_stddev", "stochastic"}


def test_what_only_a_vae_has_is_left_out_of_its_studies(command, tmp_path, autoencoder_workdir, capsys):
    workdir = shutil.copytree(autoencoder_workdir, tmp_path / "own")
    names = "reconstruct", "latent_stats", "traverse", "sample", "manifold"
    command(f"--workdir={workdir}", f"--study={','.join(names)}", "--config.study.examples=60", "--input=test:0-2")
    metas = {name: json.loads((workdir / "studies" / name / "meta.json").read_text()) for name in names}
    assert [name for name, meta in metas.items() if "no prior" in " ".join(meta["notes"])] == list(names[1:])
    assert not [name for name in metas["reconstruct"]["figures"] if "stochastic" in name]
    with pytest.raises(SystemExit):
        command(f"--workdir={workdir}", "--study=posterior")
    assert "of this run, an autoencoder, is a point" in capsys.readouterr().err

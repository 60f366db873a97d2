"""What a net learns that sees corrupted pictures and is scored on the clean ones."""

import numpy as np
import pytest

from vae_jax.config import default_config
from vae_jax.data.content import read_all
from vae_jax.data.corruption import GREY
from vae_jax.evaluation.evaluate import reconstruction_grid
from vae_jax.run import open_run
from vae_jax.train import train


@pytest.fixture
def pictures(tmp_path, request):
    """The mean of the training digits, and test digits as they are, as seen and as reconstructed after training."""
    config = default_config()
    config.data.corrupt.update(request.param)
    config.model.encoder = dict(family="mlp", widths=(64,))
    config.model.decoder = dict(family="mlp", mirror=True)
    config.model.update(latent=16, variance=0.05)
    config.optimizer.learning_rate = 3e-3
    config.train.update(steps=300, steps_per_call=100, eval_every=300, log_every=300)
    config.mesh.devices = 1
    run = open_run(tmp_path, "corrupted", config)
    found = reconstruction_grid(run, train(run).state.variables, "test", count=359)
    return {"mean": read_all(run.splits["train"])["image"].mean(axis=0), **found}


def error(one, other, where=True):
    return np.square(one - other).mean(where=where)


@pytest.mark.parametrize("pictures", [{"kind": "noise", "amount": 0.4}], indirect=True)
def test_a_denoising_net_comes_nearer_to_the_clean_picture_than_what_it_sees_and_than_the_mean(pictures):
    clean, reconstruction = pictures["originals"], pictures["reconstructions"]
    assert error(reconstruction, clean) < 0.7 * error(pictures["mean"], clean)
    assert error(reconstruction, clean) < 0.7 * error(pictures["seen"], clean)


@pytest.mark.parametrize("pictures", [{"kind": "patches", "patch": 2, "weight": 3.0}], indirect=True)
def test_what_is_masked_is_filled_in_better_than_by_the_mean_image(pictures):
    clean, masked = pictures["originals"], pictures["seen"] != pictures["originals"]
    assert (pictures["seen"][masked] == GREY).all()
    assert error(pictures["reconstructions"], clean, masked) < 0.8 * error(pictures["mean"], clean, masked)

"""Imported nets give what the original PyTorch code gave: the files of ../shared/weights against their references."""

from pathlib import Path

import numpy as np
import pytest

import vae_jax
from vae_jax.config import load_file
from vae_jax.importing import import_weights

CONFIGS = Path(__file__).parents[2] / "configs" / "pretrained"
FILES = {
    "beta_vae.py": "beta_vae_celeba/l32",
    "beta_vae.py:200": "beta_vae_celeba/l200",
    "burgess.py": "disentangling_vae/VAE_celeba",
    "burgess.py:mnist": "disentangling_vae/VAE_mnist",
}


@pytest.mark.parametrize("spec", FILES)
def test_an_imported_net_gives_what_the_original_gave(spec, shared, tmp_path):
    pytest.importorskip("torch")
    weights = shared / "weights" / f"{FILES[spec]}.pt"
    config = load_file(f"{CONFIGS}/{spec}")
    import_weights(tmp_path / "run", "test", config, [str(weights)], partial=False, command="")
    model = vae_jax.load(tmp_path / "run")
    reference = np.load(weights.with_name(f"{weights.stem}_reference.npz"))
    posterior = model.encode(reference["images"])
    np.testing.assert_allclose(posterior.mean, reference["mean"], atol=1e-4)
    np.testing.assert_allclose(posterior.log_variance, reference["logvar"], atol=1e-4)
    decoded = model.decode(reference["mean"])
    np.testing.assert_allclose(decoded, reference["reconstruction"], atol=1e-4)
    assert (decoded.min() >= 0.5) == spec.startswith("beta_vae")  # whose decoder ends in ReLU before the sigmoid

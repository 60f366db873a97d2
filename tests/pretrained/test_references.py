"""Imported nets give what the original PyTorch code gave: the files of ../shared/weights against their references."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

import vae_jax
from vae_jax.config import load_file
from vae_jax.data.fit import Fit
from vae_jax.data.pictures import decode
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


def _block(conv):
    """A convolution with what follows each one in the β-VAE."""
    from torch import nn

    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


def _beta_vae(latent):
    from torch import nn

    down = zip((3, 32, 32, 64), (32, 32, 64, 64), strict=True)
    up = zip((64, 64, 32, 32), (64, 32, 32, 3), (0, 0, 1, 0), strict=True)
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(*(_block(nn.Conv2d(i, o, 4, 2)) for i, o in down)),
            "fc_mu": nn.Linear(256, latent),
            "fc_var": nn.Linear(256, latent),
            "fc_z": nn.Linear(latent, 256),
            "decoder": nn.Sequential(
                *(_block(nn.ConvTranspose2d(i, o, 4, 2, output_padding=extra)) for i, o, extra in up)
            ),
        }
    ).eval()


def test_the_error_on_256_held_out_faces_is_that_of_pytorch(shared, tmp_path):
    torch = pytest.importorskip("torch")
    faces, weights = shared / "data" / "celeba", shared / "weights" / "beta_vae_celeba" / "l32.pt"
    lines = (faces / "list_eval_partition.txt").read_text().splitlines()
    names = [line.split()[0] for line in lines if line.endswith(" 2")][:256]
    fit = Fit("celeba_178", (64, 64), 3)
    with zipfile.ZipFile(faces / "img_align_celeba.zip") as pictures:
        images = np.stack([fit(decode(pictures.read(f"img_align_celeba/{name}"))) for name in names])
    net = _beta_vae(32)
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        mean = net["fc_mu"](net["encoder"](x).flatten(1))
        decoded = torch.sigmoid(net["decoder"](net["fc_z"](mean).view(-1, 64, 2, 2)))
        theirs = float(torch.square(decoded - x).mean())
    config = load_file(f"{CONFIGS}/beta_vae.py")
    import_weights(tmp_path / "run", "test", config, [str(weights)], partial=False, command="")
    ours = np.square(vae_jax.load(tmp_path / "run").reconstruct(images) - images / 255).mean()
    assert len(images) == 256 and abs(ours - theirs) < 1e-4

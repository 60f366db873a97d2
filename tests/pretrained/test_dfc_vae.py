"""The DFC-VAE's net, built in PyTorch with random weights, gives the same after it was imported."""

from pathlib import Path

import pytest

from vae_jax.config import load_file

torch = pytest.importorskip("torch")
CONFIG = Path(__file__).parents[2] / "configs" / "pretrained" / "dfc_vae.py"
WIDTHS = (3, 32, 64, 128, 256)


class Net(torch.nn.Module):
    """Its modules by the names of the file, and a layer of the class that it inherits from and does not use."""

    def __init__(self, latent):
        super().__init__()
        self.encoder = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 4), torch.nn.BatchNorm2d(2))
        for n, (i, o) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True), 1):
            self.add_module(f"e{n}", torch.nn.Sequential(torch.nn.Conv2d(i, o, 4, 2, 1), _random_norm(o)))
            up = torch.nn.Sequential(torch.nn.ReplicationPad2d(1), torch.nn.Conv2d(o, i, 3), _random_norm(i))
            self.add_module(f"d{5 - n}", up)
        self.fc_mu, self.fc_var = torch.nn.Linear(4096, latent), torch.nn.Linear(4096, latent)
        self.fc_z = torch.nn.Linear(latent, 4096)

    def encode(self, h):
        for n in range(1, 5):
            h = torch.nn.functional.leaky_relu(self.get_submodule(f"e{n}")(h))
        return self.fc_mu(h.flatten(1)), self.fc_var(h.flatten(1))

    def decode(self, z):
        h = self.fc_z(z).view(-1, 256, 4, 4)
        for n in range(1, 5):
            h = torch.nn.functional.interpolate(h, scale_factor=2)
            h = torch.nn.functional.leaky_relu(self.get_submodule(f"d{n}")(h))
        return torch.sigmoid(h)


def _random_norm(width):
    norm = torch.nn.BatchNorm2d(width)
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.5, 1.5)
    return norm


def test_the_imported_net_gives_what_pytorch_gives(gives_what_pytorch_gives):
    torch.manual_seed(0)
    net = Net(7).eval()
    config = load_file(str(CONFIG))
    config.model.latent = 7
    gives_what_pytorch_gives(net, config)

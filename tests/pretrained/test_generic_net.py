"""The generic convolutional VAE: what PyTorch computes, ours computes, by widths and depth that the file alone has."""

import re
from pathlib import Path

import numpy as np
import pytest

from vae_jax.config import load_file
from vae_jax.exporting import export

torch = pytest.importorskip("torch")
CONFIG = Path(__file__).parents[2] / "configs" / "pretrained" / "conv_vae.py"


class Net(torch.nn.Module):
    """Convolutions of kernel 4 and stride 2, LeakyReLU; in one flat Sequential, or in one of Sequentials."""

    def __init__(self, size, widths, latent, *, batch_norm, flat):
        super().__init__()
        sizes = [size]
        for _ in widths:
            sizes.append(tuple((side + 2 - 4) // 2 + 1 for side in sizes[-1]))
        self.inner = (widths[-1], *sizes[-1])
        features = int(np.prod(self.inner))

        def stack(layers):
            return torch.nn.Sequential(
                *(part for layer in layers for part in layer) if flat else map(_sequence, layers)
            )

        def norm(width):
            return [torch.nn.BatchNorm2d(width)] if batch_norm else []

        down = zip((3, *widths[:-1]), widths, strict=True)
        self.encoder = stack([[torch.nn.Conv2d(i, o, 4, 2, 1), *norm(o), torch.nn.LeakyReLU()] for i, o in down])
        up = []
        for k, (i, o) in enumerate(zip(widths[::-1], (*widths[-2::-1], 3), strict=True)):
            outer, inner = sizes[-2 - k], sizes[-1 - k]
            extra = tuple(a - 2 * b for a, b in zip(outer, inner, strict=True))
            conv = torch.nn.ConvTranspose2d(i, o, 4, 2, 1, output_padding=extra)
            last = k == len(widths) - 1
            up.append([conv] if last else [conv, *norm(o), torch.nn.LeakyReLU()])
        self.decoder = stack(up)
        self.fc_mu, self.fc_var = torch.nn.Linear(features, latent), torch.nn.Linear(features, latent)
        self.fc_z = torch.nn.Linear(latent, features)

    def encode(self, x):
        h = self.encoder(x).flatten(1)
        return self.fc_mu(h), self.fc_var(h)

    def decode(self, z):
        return torch.sigmoid(self.decoder(self.fc_z(z).view(-1, *self.inner)))


def _sequence(layers):
    return torch.nn.Sequential(*layers)


def with_statistics(net):
    """The net with running statistics that are not those of a new one."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in net.state_dict().items():
        if re.search("running_(mean|var)", name):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return net.eval()


@pytest.mark.parametrize(
    ("size", "widths", "latent", "batch_norm", "flat"),
    [
        ((64, 64), (4, 6, 8), 5, True, True),
        ((64, 64), (4, 6), 200, False, False),
        ((218, 178), (4, 6, 8, 8, 8), 512, True, False),
        ((218, 178), (4, 6, 6, 8), 3, False, True),
    ],
)
def test_the_imported_net_gives_what_pytorch_gives(gives_what_pytorch_gives, size, widths, latent, batch_norm, flat):
    torch.manual_seed(0)
    net = with_statistics(Net(size, widths, latent, batch_norm=batch_norm, flat=flat))
    config = load_file(str(CONFIG))
    config.data.image_size = size
    model = gives_what_pytorch_gives(net, config)
    assert model.config.model.encoder.channels == widths
    assert model.config.model.latent == latent


def test_an_exported_state_dict_gives_the_same_in_the_net_that_it_came_from(gives_what_pytorch_gives, tmp_path):
    torch.manual_seed(0)
    net = with_statistics(Net((64, 64), (4, 6), 3, batch_norm=True, flat=False))
    model = gives_what_pytorch_gives(net, load_file(str(CONFIG)))
    images, z = torch.rand(2, 3, 64, 64), torch.randn(2, 3)
    with torch.no_grad():
        before = (*net.encode(images), net.decode(z))
        (path,) = export(model, tmp_path, kind="torch")
        net.load_state_dict(torch.load(path, weights_only=True))
        after = (*net.encode(images), net.decode(z))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-6)

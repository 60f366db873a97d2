"""A PyTorch net that is none of ours, by one new family and a mapping: see configs/pretrained/README.md."""

import pytest

from vae_jax import nn
from vae_jax.config import default_config

torch = pytest.importorskip("torch")

FAMILY = '''
"""One convolution, one residual block; and back."""

import jax
from flax import nnx

from vae_jax.nn.convolution_layers import Conv, ConvTranspose

OPTIONS = {"channels": (8,)}


def check(options, shape, *, field):
    """Images of any even size fit."""


class Block(nnx.Module):
    def __init__(self, channels, *, dtype, rngs):
        self.first, self.second = (
            Conv(channels, channels, (3, 3), strides=1, padding=((1, 1), (1, 1)), dtype=dtype, rngs=rngs)
            for _ in range(2)
        )

    def __call__(self, h):
        return jax.nn.relu(h + self.second(jax.nn.relu(self.first(h))))


class Encoder(nnx.Module):
    def __init__(self, shape, options, *, dtype, rngs):
        height, width, inputs = shape
        (channels,) = options["channels"]
        self.stem = Conv(inputs, channels, (4, 4), strides=2, padding=((1, 1), (1, 1)), dtype=dtype, rngs=rngs)
        self.block = Block(channels, dtype=dtype, rngs=rngs)
        self.features = height // 2 * (width // 2) * channels

    def __call__(self, x):
        return self.block(jax.nn.relu(self.stem(x))).reshape(x.shape[0], -1)


class Decoder(nnx.Module):
    def __init__(self, latent, shape, options, *, dtype, out_dtype=None, rngs):
        height, width, outputs = shape
        (channels,) = options["channels"]
        self.start = (height // 2, width // 2, channels)
        self.dense = nnx.Linear(latent, height // 2 * (width // 2) * channels, dtype=dtype, rngs=rngs)
        self.block = Block(channels, dtype=dtype, rngs=rngs)
        # Padding of the dilated map: kernel - 1 - PyTorch's padding.
        self.out = ConvTranspose(
            channels, outputs, (4, 4), strides=2, padding=((2, 2), (2, 2)), dtype=out_dtype or dtype, rngs=rngs
        )

    def __call__(self, z):
        return self.out(self.block(self.dense(z).reshape(z.shape[0], *self.start)))
'''
MAPPING = (
    ("enc.stem", "encoder.stem", "conv"),
    ("enc.res.c1", "encoder.block.first", "conv"),
    ("enc.res.c2", "encoder.block.second", "conv"),
    ("to_mean", "heads.mean", "linear_after_flatten"),
    ("to_logvar", "heads.log_variance", "linear_after_flatten"),
    ("from_z", "decoder.dense", "linear_before_unflatten"),
    ("dec.res.c1", "decoder.block.first", "conv"),
    ("dec.res.c2", "decoder.block.second", "conv"),
    ("dec.out", "decoder.out", "conv_transpose"),
)


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, h):
        return torch.relu(h + self.c2(torch.relu(self.c1(h))))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = torch.nn.ModuleDict({"stem": torch.nn.Conv2d(3, 8, 4, 2, 1), "res": Residual()})
        self.to_mean, self.to_logvar = torch.nn.Linear(8 * 6 * 5, 4), torch.nn.Linear(8 * 6 * 5, 4)
        self.from_z = torch.nn.Linear(4, 8 * 6 * 5)
        self.dec = torch.nn.ModuleDict({"res": Residual(), "out": torch.nn.ConvTranspose2d(8, 3, 4, 2, 1)})

    def encode(self, x):
        h = self.enc["res"](torch.relu(self.enc["stem"](x))).flatten(1)
        return self.to_mean(h), self.to_logvar(h)

    def decode(self, z):
        return torch.sigmoid(self.dec["out"](self.dec["res"](self.from_z(z).view(-1, 8, 6, 5))))


def test_a_net_with_a_residual_block_gives_what_pytorch_gives(gives_what_pytorch_gives, tmp_path, monkeypatch):
    (tmp_path / "families").mkdir()
    (tmp_path / "families" / "my_residual.py").write_text(FAMILY)
    monkeypatch.setattr(nn, "__path__", [*nn.__path__, str(tmp_path / "families")])
    torch.manual_seed(0)
    net = Net().eval()
    config = default_config()
    config.data.update(image_size=(12, 10), channels=3)
    config.model.encoder = dict(family="my_residual")
    config.model.decoder = dict(family="my_residual")
    config.model.latent = 4
    config.pretrained.mapping = MAPPING
    gives_what_pytorch_gives(net, config)

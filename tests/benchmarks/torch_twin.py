"""The PyTorch twin of one of our models: the same layers and loss, our parameters copied in.

It covers what the benchmark compares: the conv family with numbers for padding, a normal posterior, and a Gaussian
likelihood of fixed variance or a Bernoulli one on logits. Sizes and losses are worked out anew, not taken from ours.
"""

import math
from collections.abc import Mapping

import jax
import numpy as np
import torch
from flax import nnx
from torch import nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": F.relu, "leaky_relu": F.leaky_relu}  # both libraries' leaky slope is 0.01


class Twin(nn.Module):
    """`model` is config.model as a dict, `shape` that of an image (H, W, C); images come as [B, H, W, C], uint8."""

    def __init__(self, model: Mapping, shape: tuple[int, int, int], *, memory_format=torch.contiguous_format):
        super().__init__()
        self.memory_format = memory_format
        self.latent, self.likelihood, self.variance = model["latent"], model["likelihood"], model["variance"]
        self.encoder = Encoder(shape, model["encoder"])
        self.heads = nn.Linear(self.encoder.features, 2 * self.latent)
        self.decoder = Decoder(self.latent, shape, model["decoder"], memory_format)
        self.to(memory_format=memory_format)

    def pixels(self, images: torch.Tensor) -> torch.Tensor:
        """[B, H, W, C] uint8 -> [B, C, H, W] in [0, 1]."""
        return (images.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=self.memory_format)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance, both [B, Z], of x [B, C, H, W]."""
        return self.heads(self.encoder(x)).float().chunk(2, dim=1)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """The mean of p(x|z) [B, C, H, W]."""
        return torch.sigmoid(self.decoder(z).float())

    def loss(self, images: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """−log p(x|z) + KL at z = mean + stddev·noise, nats, the mean over the batch."""
        x = self.pixels(images)
        mean, log_variance = self.encode(x)
        raw = self.decoder(mean + torch.exp(0.5 * log_variance) * noise).float()
        if self.likelihood == "bernoulli":
            reconstruction = F.binary_cross_entropy_with_logits(raw, x, reduction="sum")
        else:
            squares = torch.square(x - torch.sigmoid(raw)).sum() / self.variance
            reconstruction = 0.5 * (squares + x.numel() * math.log(2 * math.pi * self.variance))
        kl = 0.5 * (torch.exp(log_variance) + torch.square(mean) - 1 - log_variance).sum()
        return (reconstruction + kl) / len(images)

    @torch.no_grad()
    def copy_from(self, params: nnx.State) -> None:
        """Takes over the parameters of our model; fails where one of them has no place here."""
        flat = {".".join(map(str, path)): np.array(leaf) for path, leaf in nnx.to_flat_state(jax.device_get(params))}
        for name, module in self.named_modules():
            for ours, theirs in _names(module).items():
                value = flat.pop(f"{name}.{ours}", None)
                if value is not None:
                    getattr(module, theirs).copy_(torch.from_numpy(_laid_out(module, value)))
        if flat:
            raise ValueError(f"parameters without a twin: {', '.join(flat)}")


class Encoder(nn.Module):
    """[B, C, H, W] -> [B, features]."""

    def __init__(self, shape, options):
        super().__init__()
        self.activation = ACTIVATIONS[options["activation"]]
        batch_norm, (height, width, channels) = options["norm"] == "batch", shape
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        for out, kernel, stride, padding in _layers(options):
            self.convs.append(nn.Conv2d(channels, out, kernel, stride, padding, bias=not batch_norm))
            self.norms.append(nn.BatchNorm2d(out) if batch_norm else nn.Identity())
            height, width, channels = *(_inner(size, kernel, stride, padding) for size in (height, width)), out
        self.dense = DenseStack((height * width * channels, *options["dense"]), self.activation)
        self.features = (height * width * channels, *options["dense"])[-1]

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x)))
        return self.dense(x.permute(0, 2, 3, 1).flatten(1))  # [B, h·w·c], in our order; with channels last no copy


class Decoder(nn.Module):
    """z [B, Z] -> [B, C, H, W] before the sigmoid."""

    def __init__(self, latent, shape, options, memory_format):
        super().__init__()
        self.memory_format, self.activation = memory_format, ACTIVATIONS[options["activation"]]
        batch_norm, layers = options["norm"] == "batch", _layers(options)
        sizes = [tuple(shape[:2])]  # from the image inwards
        for _, kernel, stride, padding in reversed(layers):
            sizes.append(tuple(_inner(size, kernel, stride, padding) for size in sizes[-1]))
        self.start = (*sizes.pop(), layers[0][0])
        self.dense = DenseStack((latent, *options["dense"], math.prod(self.start)), self.activation)
        self.convs, self.norms, inner = nn.ModuleList(), nn.ModuleList(), self.start[:2]
        for number, (channels, kernel, stride, padding) in enumerate(layers, 1):
            last, outer = number == len(layers), sizes.pop()
            out = shape[2] if last else layers[number][0]
            extra = tuple(o - ((i - 1) * stride + kernel - 2 * padding) for o, i in zip(outer, inner, strict=True))
            bias = last or not batch_norm
            self.convs.append(nn.ConvTranspose2d(channels, out, kernel, stride, padding, extra, bias=bias))
            if not last:
                self.norms.append(nn.BatchNorm2d(out) if batch_norm else nn.Identity())
            inner = outer

    def forward(self, z):
        h = self.dense(z).view(-1, *self.start).permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)
        for conv, norm in zip(self.convs[:-1], self.norms, strict=True):
            h = self.activation(norm(conv(h)))
        return self.convs[-1](h)


class DenseStack(nn.Module):
    """[B, sizes[0]] -> [B, sizes[-1]]."""

    def __init__(self, sizes, activation):
        super().__init__()
        self.activation = activation
        self.dense = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes[:-1], sizes[1:], strict=True))

    def forward(self, h):
        for dense in self.dense:
            h = self.activation(dense(h))
        return h


def _layers(options):
    """(channels, kernel, stride, padding) of every layer."""
    channels = options["channels"]
    lists = [options[name] for name in ("kernel", "stride", "padding")]
    lists = [value if isinstance(value, tuple) else (value,) * len(channels) for value in lists]
    return list(zip(channels, *lists, strict=True))


def _inner(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


def _names(module):
    """Our names of a layer's parameters -> PyTorch's."""
    if isinstance(module, nn.BatchNorm2d):
        return {"scale": "weight", "bias": "bias"}
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        return {"kernel": "weight", "bias": "bias"}
    return {}


def _laid_out(module, value):
    """Our array in PyTorch's layout; ours are [in, out] and [kh, kw, in, out], a transposed one turned by 180°."""
    if isinstance(module, nn.Linear) and value.ndim == 2:
        return value.T.copy()
    if isinstance(module, nn.Conv2d) and value.ndim == 4:
        return value.transpose(3, 2, 0, 1).copy()
    if isinstance(module, nn.ConvTranspose2d) and value.ndim == 4:
        return value[::-1, ::-1].transpose(2, 3, 0, 1).copy()
    return value

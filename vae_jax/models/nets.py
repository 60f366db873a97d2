"""Encoders and decoders by the name of their family."""

import importlib
from collections.abc import Mapping

from flax import nnx


def make_net(options: Mapping, kind: str, *args, **kwargs) -> nnx.Module:
    """The `kind` ("Encoder" or "Decoder") of `options`, whose "family" is a module of vae_jax/nn."""
    options = dict(options)
    family = importlib.import_module(f"vae_jax.nn.{options.pop('family')}")
    return getattr(family, kind)(*args, options, **kwargs)

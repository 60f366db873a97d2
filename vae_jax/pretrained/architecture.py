"""The architecture of a convolutional VAE as its tensors have it: what a config need not say."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from vae_jax.errors import UserError
from vae_jax.pretrained.mapping import Rule, Tensors

Shapes = dict[str, tuple[int, ...]]


def read_architecture(config: ConfigDict, rules: Sequence[Rule], tensors: Tensors) -> None:
    """Fills in, in place, channels, kernels, dense widths, norms and latent by what the found `rules` find.

    Strides, paddings, activations and the image's size are in no file: those the config must say. UserError where
    the convolutions or the heads are not found.
    """
    weights = {
        ours: tensors[f"{theirs}.weight"].shape
        for theirs, ours, layout in rules
        if layout not in ("unused", "bias_into_mean") and f"{theirs}.weight" in tensors
    }
    with config.ignore_type(), config.unlocked():
        for name in ("encoder", "decoder"):
            net, convs = config.model[name], _below(weights, f"{name}.convs.")
            net.channels = tuple(shape[0] for shape in convs)  # [O, C, h, w], or transposed [C, O, h, w]
            net.kernel = tuple(shape[2] for shape in convs)
            net.dense = tuple(shape[0] for shape in _below(weights, f"{name}.dense.dense.", some=False))  # [O, I]
            norms = _below(weights, f"{name}.norms.", some=False)
            net.norm = "batch" if norms else "none"
        decoder = config.model.decoder
        decoder.dense = decoder.dense[:-1]  # the last one makes the map that the convolutions begin with
        if norms:
            decoder.last_layer = "activated" if len(norms) == len(convs) else "plain"
        config.data.channels = _below(weights, "encoder.convs.")[0][1]
        both = "heads" in weights  # one dense layer for mean and log-variance
        config.model.latent = _below(weights, "heads")[0][0] // (2 if both else 1)


def _below(weights: Shapes, prefix: str, *, some: bool = True) -> list[tuple[int, ...]]:
    """The shapes of the weights of our modules below `prefix`; with `some`, UserError where there are none."""
    found = [shape for ours, shape in weights.items() if ours.startswith(prefix)]
    if some and not found:
        raise UserError(f"The file has nothing that pretrained.mapping takes for {prefix}, so its widths are unknown.")
    return found

"""How far apart two pictures look, by the features of a SqueezeNet that no model here is trained on."""

from pathlib import Path

import jax
import jax.numpy as jnp

from vae_jax.errors import UserError
from vae_jax.nn.squeezenet import SMALLEST_SIDE, SqueezeNet, features, squeezenet_of
from vae_jax.pretrained.files import read_weights

EPSILON = 1e-10  # beside a feature vector's norm, which is 0 where no unit responds


def open_squeezenet(path: str, shape: tuple[int, ...]) -> SqueezeNet | None:
    """The SqueezeNet v1.0 in the file that `eval.features` names, to measure pictures of `shape`; None without a name.

    UserError where the file is none, or has none, or the examples are too small or no pictures.
    """
    if not path:
        return None
    said = f"eval.features is {path!r}"
    if len(shape) != 3 or shape[-1] not in (1, 3) or min(shape[:2]) < SMALLEST_SIDE:
        raise UserError(
            f"{said}, which measures pictures of {SMALLEST_SIDE}×{SMALLEST_SIDE} pixels or more with 1 or 3 channels; "
            f"the examples are {shape}."
        )
    try:
        arrays = read_weights(Path(path).expanduser())
    except UserError as error:
        raise UserError(f"{said}: {error}") from error
    return squeezenet_of(arrays, said=said)


def feature_distance(net: SqueezeNet, x: jax.Array, y: jax.Array) -> jax.Array:
    """Σ_l 1/(H_l·W_l) Σ_hw ‖Φ̂_l(x) − Φ̂_l(y)‖² for pictures x, y [B, H, W, C] in [0, 1]: [B], at least 0.

    Φ̂_l are the activations of layer l with unit norm over the channels at each position: Zhang et al. (2018),
    equation 1, with all w_l = 1, so that it is LPIPS before its weights are learnt, on the layers named in
    nn/squeezenet.py. Grey pictures are given to all three channels.
    """
    ours, theirs = (features(net, jnp.broadcast_to(each, (*each.shape[:-1], 3))) for each in (x, y))
    return sum(jnp.square(_unit(ours[layer]) - _unit(theirs[layer])).sum(-1).mean(axis=(1, 2)) for layer in ours)


def _unit(h: jax.Array) -> jax.Array:
    return h / (jnp.linalg.norm(h, axis=-1, keepdims=True) + EPSILON)

"""The perceptual distance of a reconstruction from its picture, by the features of a frozen VGG-19."""

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vae_jax.errors import UserError
from vae_jax.nn.vgg import WHERE_TO_GET_IT, Vgg, features, smallest_side, vgg_of
from vae_jax.pretrained.files import file_hash, read_weights


def open_features(options: ConfigDict, shape: tuple[int, ...]) -> Vgg | None:
    """The frozen net of the config's `perceptual`, for pictures of `shape`; None where no file is named.

    Fills in `options.sha256`, by which a resumed run knows that its net is the same. UserError where the file is of
    another hash than stands there, is no VGG-19, or the pictures are too small for its layers.
    """
    if not options.weights:
        return None
    least = smallest_side(options.layers)
    if len(shape) != 3 or shape[-1] not in (1, 3) or min(shape[:2]) < least:
        raise UserError(
            f"perceptual.layers is {tuple(options.layers)}, which need pictures of {least}×{least} pixels or more with "
            f"1 or 3 channels; the examples are {shape}."
        )
    path, said = Path(options.weights).expanduser(), f"perceptual.weights is {options.weights!r}"
    try:
        state = read_weights(path)
    except UserError as error:
        raise UserError(f"{said}: {str(error).rstrip('.')}; a VGG-19 is {WHERE_TO_GET_IT}.") from error
    net, found = vgg_of(state, options.layers, said=said), file_hash(path)
    if options.sha256 not in ("", found):
        raise UserError(f"{said}, whose SHA-256 is {found}; perceptual.sha256 asks for {options.sha256}.")
    options.sha256 = found
    return net


def perceptual_distance(
    net: Vgg, x: jax.Array, reconstruction: jax.Array, *, layers: Sequence[str], dtype: jnp.dtype
) -> jax.Array:
    """Σ_l 1/(2·C_l·H_l·W_l) Σ (Φ_l(x) − Φ_l(x̂))² for pictures [B, H, W, C] in [0, 1]: [B], in squared features.

    Hou et al. (2017), section 3.2: half the squared difference, the mean over channels and positions of a layer, and
    the sum over layers. Grey pictures are given to all three channels.
    """
    ours, theirs = (features(net, _rgb(each), layers, dtype=dtype) for each in (x, reconstruction))
    return sum(
        0.5 * jnp.square((ours[name] - theirs[name]).astype(jnp.float32)).mean(axis=(1, 2, 3)) for name in layers
    )


def _rgb(x: jax.Array) -> jax.Array:
    return jnp.broadcast_to(x, (*x.shape[:-1], 3))

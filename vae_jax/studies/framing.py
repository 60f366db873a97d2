"""Whether pictures from elsewhere look like what a run was trained on, by how much of them comes back."""

import numpy as np

from vae_jax.errors import UserError
from vae_jax.studies import nets
from vae_jax.studies.align import framed_as_celeba
from vae_jax.studies.inputs import Inputs, as_the_net_takes_them
from vae_jax.studies.study import Setting

COMPARED = 256  # held-out examples
FLAT = 1e-3  # variance of a picture that shows hardly anything
USUAL = 97.5  # per cent of them, beyond which a picture is told of


def unlike_held_out(setting: Setting) -> tuple[str, ...]:
    """A sentence for each input of which less comes back than of nearly all held-out examples.

    That is measured by the squared error as a share of the picture's variance: the error itself is small wherever a
    picture has little in it, as a wide photo of a small face.
    """
    inputs, data = setting.inputs, setting.config.data
    try:
        own = setting.examples("test", limit=COMPARED)
    except UserError:
        return (f"Whether these are framed as the run's own pictures is not told: data.dir={data.dir!r} has none.",)
    limit = np.percentile(_lost(setting, own), USUAL)
    hint = " (--align=face frames a photo's largest face so)" if framed_as_celeba(data) and not inputs.aligned else ""
    return tuple(
        f"{name} is framed or lit otherwise than what the run was trained on{hint}, or shows something else: "
        f"{share:.0%} of its variance is lost in its reconstruction, against {limit:.0%} or less for {USUAL:g}% of "
        "held-out examples."
        for name, share in zip(inputs.names, _lost(setting, inputs), strict=True)
        if share > limit
    )


def _lost(setting: Setting, inputs: Inputs) -> np.ndarray:
    """The squared error of each reconstruction as a share of the picture's variance, [B]."""
    images = as_the_net_takes_them(inputs, setting.config.data)
    pixels = tuple(range(1, images.ndim))
    error = np.square(nets.reconstruct(setting.model, images, inputs.cond) - images).mean(axis=pixels)
    return error / np.maximum(images.var(axis=pixels), FLAT)

"""Whether pictures from elsewhere look like what a run was trained on, by how well they come back."""

import math
from pathlib import Path

import numpy as np

from vae_jax.inference import Model
from vae_jax.report.page import read_meta
from vae_jax.studies import nets
from vae_jax.studies.inputs import Inputs

SURPRISING = 3.0  # standard deviations above the mean of the held-out examples


def unlike_held_out(model: Model, workdir: Path, inputs: Inputs, images: np.ndarray) -> tuple[str, ...]:
    """A sentence for each input whose squared error is far above that of held-out examples.

    `images` [B, H, W, C] are the inputs as the net takes them; those errors are known from the run's evaluation;
    nothing is said where there was none.
    """
    evaluation = read_meta(workdir / "studies" / "evaluation")
    if evaluation is None:
        return ()
    known = evaluation["figures"]["mse"]
    limit = known["mean"] + SURPRISING * known["stderr"] * math.sqrt(known["examples"])
    error = np.square(nets.reconstruct(model, images, inputs.cond) - images).mean(axis=tuple(range(1, images.ndim)))
    return tuple(
        f"{name} comes back with a squared error of {value:.4f} per pixel, where held-out examples have "
        f"{known['mean']:.4f} on average: it may be framed or lit otherwise than what the run was trained on "
        "(for faces, --align=face frames it)."
        for name, value in zip(inputs.names, error, strict=True)
        if value > limit
    )

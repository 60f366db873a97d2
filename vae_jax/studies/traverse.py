"""What each latent dimension does: one moved at a time, the others held."""

import numpy as np

from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.study import Picture, Result, Setting, Study

REACH = 3.0  # standard deviations of the prior to either side
STEPS, FRAMES = 11, 16
SHOWN = 12  # dimensions
COLUMNS = 6  # of the animation


def traverse(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    dimensions: int = SHOWN,
    steps: int = STEPS,
) -> dict[str, np.ndarray]:
    """Moves one latent dimension at a time from −3 to 3, around the prior's mean and around the first of the images.

    The dimensions D are those of largest KL(q ‖ p), the mean over the images [B, H, W, C], the largest first. Arrays:
    `values` [T], `dimension` [D], `kl` [D] nats, `latents` [2, D, T, Z], `outputs` [2, D, T, ...]. A conditional model
    is told for all of them what it is told of the first image.
    """
    posterior = nets.encode(model, images, cond)
    zeros = np.zeros(posterior.mean.shape[1], np.float32)
    each = posterior.kl.mean(axis=0)  # [Z]
    order = np.argsort(-each, kind="stable")[:dimensions]
    values = np.linspace(-REACH, REACH, steps, dtype=np.float32)
    centers = np.stack([zeros, posterior.mean[0]])  # [2, Z]
    latents = np.tile(centers[:, None, None], (1, len(order), steps, 1))  # [2, D, T, Z]
    for d, dimension in enumerate(order):
        latents[:, d, :, dimension] = values
    return {
        "values": values,
        "dimension": order,
        "kl": each[order],
        "latents": latents,
        "outputs": nets.decode(model, latents, None if cond is None else cond[0]),
    }


def _run(setting: Setting) -> Result:
    arrays = traverse(setting.model, setting.images, cond=setting.cond)
    around = {"prior": "the prior's mean", "input": setting.inputs.names[0]}
    names = [f"z{d}, KL {kl:.2f}" for d, kl in zip(arrays["dimension"], arrays["kl"], strict=True)]
    pictures = {}
    for (which, where), outputs in zip(around.items(), arrays["outputs"], strict=True):
        captions = [f"{value:.1f}" for value in arrays["values"]]
        rows = dict(zip(names, outputs, strict=True))
        alt = f"One latent dimension a row, from -3 to 3 (below), around {where}; the largest KL (nats) first."
        pictures[f"traverse_{which}"] = Picture(grids.named_rows(rows, len(captions), captions=captions), alt)
    pictures["animation"] = _animation(setting, names)
    notes = (f"KL is the mean over {len(setting.inputs)} inputs; the dimensions with the largest are shown.",)
    return Result(arrays, pictures, notes=notes)


def _animation(setting, names):
    """All the dimensions at once around the first input, there and back."""
    arrays = traverse(setting.model, setting.images, cond=setting.cond, steps=FRAMES)
    frames = [
        grids.grid(
            arrays["outputs"][1, :, t], COLUMNS, captions=[f"{name.split(',')[0]} {value:.1f}" for name in names]
        )
        for t, value in enumerate(arrays["values"])
    ]
    alt = f"Each latent dimension moved from -3 to 3 and back around {setting.inputs.names[0]}."
    return Picture(np.stack(frames + frames[-2:0:-1]), alt)


STUDY = Study(
    name="traverse",
    title="What each latent dimension does",
    chapter=story.LATENT_SPACE,
    function=traverse,
    run=_run,
)

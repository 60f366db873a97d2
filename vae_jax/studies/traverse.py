"""What each latent dimension does: one moved at a time, the others held."""

import numpy as np

from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.study import NO_PRIOR, Picture, Result, Setting, Study

REACH = 3.0  # standard deviations of the prior (of an autoencoder, which has none, of the latents) to either side
STEPS, FRAMES = 11, 16
SHOWN = 12  # dimensions
COLUMNS = 6  # of the animation


def traverse(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    among: nets.Encoded | None = None,
    dimensions: int = SHOWN,
    steps: int = STEPS,
) -> dict[str, np.ndarray]:
    """Moves one latent dimension at a time from −3 to 3, around the prior's mean and around the first of the images.

    The dimensions D are those of largest KL(q ‖ p), the mean over the posteriors `among` (without it, those of the
    images [B, H, W, C]), the largest first. An autoencoder has no prior: mean and standard deviation are those of the
    latents `among`, and the dimensions those of the largest. Arrays: `values` [T], `dimension` [D], `kl` [D] nats or
    `stddev` [D], `latents` [2, D, T, Z], `outputs` [2, D, T, ...]. A conditional model is told for all of them what it
    is told of the first image.
    """
    posterior = nets.encode(model, images, cond)
    among = posterior if among is None else among
    if among.deterministic:
        measure, center, scale = "stddev", among.mean.mean(axis=0), among.mean.std(axis=0)
        each = scale
    else:
        measure, center, scale = "kl", np.zeros_like(among.mean[0]), np.ones_like(among.mean[0])
        each = among.kl.mean(axis=0)  # [Z]
    order = np.argsort(-each, kind="stable")[:dimensions]
    values = np.linspace(-REACH, REACH, steps, dtype=np.float32)
    centers = np.stack([center, posterior.mean[0]])  # [2, Z]
    latents = np.tile(centers[:, None, None], (1, len(order), steps, 1))  # [2, D, T, Z]
    for d, dimension in enumerate(order):
        latents[:, d, :, dimension] = center[dimension] + scale[dimension] * values
    return {
        "values": values,
        "dimension": order,
        measure: each[order],
        "latents": latents,
        "outputs": nets.decode(model, latents, None if cond is None else cond[0]),
    }


def _run(setting: Setting) -> Result:
    among, whose = _among(setting)
    arrays = traverse(setting.model, setting.images, cond=setting.cond, among=among)
    if setting.deterministic:
        measure, center = "stddev", "the mean of the latents"
        words = f"{NO_PRIOR}: -3 to 3 are standard deviations of the latents, over {whose}, from their mean"
    else:
        measure, center = "KL", "the prior's mean"
        words = f"KL is the mean over {whose}"
    each = zip(arrays["dimension"], arrays[measure.lower()], strict=True)
    names = [f"z{d}, {measure} {value:.2f}" for d, value in each]
    pictures = {}
    around = {"center": center, "input": setting.inputs.names[0]}
    for (which, where), outputs in zip(around.items(), arrays["outputs"], strict=True):
        captions = [f"{value:.1f}" for value in arrays["values"]]
        rows = dict(zip(names, outputs, strict=True))
        alt = f"One latent dimension a row, from -3 to 3 (below), around {where}; the largest {measure} first."
        pictures[f"traverse_{which}"] = Picture(grids.named_rows(rows, len(captions), captions=captions), alt)
    pictures["animation"] = _animation(setting, among, names)
    return Result(arrays, pictures, notes=(f"{words}; the dimensions with the largest {measure} are shown.",))


def _among(setting):
    """The posteriors by which dimensions are ordered, and whose they are: held-out examples', where these are there."""
    try:
        examples = setting.examples("test", limit=setting.options.examples)
    except UserError:
        return None, f"{len(setting.inputs)} inputs, as the run's data are not there"
    images = as_the_net_takes_them(examples, setting.config.data)
    return nets.encode(setting.model, images, examples.cond), f"{len(images):,} examples of the test split"


def _animation(setting, among, names):
    """All the dimensions at once around the first input, there and back."""
    arrays = traverse(setting.model, setting.images, cond=setting.cond, among=among, steps=FRAMES)
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

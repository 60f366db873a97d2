"""How far the posterior spreads: decodes of draws of q(z|x), and where they differ."""

import numpy as np

from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import draws, nets
from vae_jax.studies.measures import diversity
from vae_jax.studies.plots import heat_map
from vae_jax.studies.study import Picture, Result, Setting, Study, check_size, latent_noise

SHOWN, DRAWN, SIDE = 8, 4, 96


def posterior(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    count: int = 10,
    seed: int = 0,
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Decodes of K = `count` draws z ~ q(z|x) for images [B, H, W, C].

    Arrays: `noise` and `latents` [K, B, Z], `outputs` [K, B, ...], `pixel_stddev` [B, ...] over the draws.
    """
    q = nets.encode(model, images, cond)
    epsilon = draws.normal(images, q.mean.shape[1:], count=count, seed=seed, name="posterior", noise=noise)
    latents = q.mean + q.stddev * epsilon
    outputs = nets.decode(model, latents, cond)
    return {"noise": epsilon, "latents": latents, "outputs": outputs, "pixel_stddev": outputs.std(axis=0)}


def _run(setting: Setting) -> Result:
    options = setting.options
    drawn = {"count": options.count, "seed": options.seed, "noise": setting.noise}
    arrays = posterior(setting.model, setting.images, cond=setting.cond, **drawn)
    stddev = arrays["pixel_stddev"][:SHOWN].mean(axis=-1)  # [B, H, W], over the channels
    highest = float(stddev.max())
    rows = {"input": setting.images[:SHOWN]}
    rows |= {f"draw {k + 1}": draw[:SHOWN] for k, draw in enumerate(arrays["outputs"][:DRAWN])}
    rows[f"stddev, 0 to {highest:.3f}"] = heat_map(stddev, highest=highest)
    pixels = grids.named_rows(_coloured(rows), SHOWN, captions=setting.inputs.names[:SHOWN], min_side=SIDE)
    alt = (
        f"Inputs above decodes of draws from their posteriors, and the standard deviation of each pixel over "
        f"{len(arrays['outputs'])} draws, from dark (0) to yellow ({highest:.3f})."
    )
    wide = figure(diversity(arrays["outputs"][None])[0], "Standard deviation per pixel over draws of the posterior")
    return Result(arrays, {"posterior": Picture(pixels, alt)}, {"stddev": wide})


def _coloured(rows):
    """Grey pictures [B, H, W, 1] as colours, beside which a heat map can stand."""
    return {name: np.broadcast_to(pictures, (*pictures.shape[:-1], 3)) for name, pictures in rows.items()}


def _check(setting: Setting) -> None:
    if setting.deterministic:
        raise UserError("The study posterior draws from the posterior, which of this run, an autoencoder, is a point.")
    check_size(setting, setting.options.count * len(setting.inputs), field="study.count")


STUDY = Study(
    name="posterior",
    title="What the posterior leaves open",
    chapter=story.COMES_BACK,
    function=posterior,
    run=_run,
    check=_check,
    noise=latent_noise,
)

"""Reconstructions: what is decoded from the posterior's mean, and (but for an autoencoder) from a draw of it."""

import numpy as np

from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import draws, nets
from vae_jax.studies.measures import LABELS, similarity
from vae_jax.studies.study import Picture, Result, Setting, Study, latent_noise

SHOWN, COLUMNS, SIDE = 24, 8, 96
WAYS = {"reconstructions": "z = mean", "stochastic": "z sampled"}


def reconstruct(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    seed: int = 0,
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The images [B, H, W, C] encoded and decoded by the posterior's mean, and by one draw z = mean + stddev·ε.

    Arrays: `noise` [1, B, Z], `latent_mean`, `latent_stddev` [B, Z], `reconstructions` and `stochastic` [B, ...], and
    of each "mse", "psnr" and "ssim" [B] as `reconstructions_mse` and so on. An autoencoder has nothing to draw: of it
    there are the latents' mean and the reconstructions.
    """
    posterior = nets.encode(model, images, cond)
    arrays = {"latent_mean": posterior.mean, "reconstructions": nets.decode(model, posterior.mean, cond)}
    if not posterior.deterministic:
        epsilon = draws.normal(images, posterior.mean.shape[1:], count=1, seed=seed, name="reconstruct", noise=noise)
        stochastic = nets.decode(model, posterior.mean + posterior.stddev * epsilon[0], cond)
        arrays |= {"noise": epsilon, "latent_stddev": posterior.stddev, "stochastic": stochastic}
    for way in [way for way in WAYS if way in arrays]:
        arrays |= {f"{way}_{name}": values for name, values in similarity(images, arrays[way]).items()}
    return arrays


def _run(setting: Setting) -> Result:
    drawn = {"seed": setting.options.seed, "noise": setting.noise}
    arrays = reconstruct(setting.model, setting.images, cond=setting.cond, **drawn)
    figures = {
        f"{way}_{name}": figure(arrays[f"{way}_{name}"], f"{label}, {words}", unit)
        for name, (label, unit) in LABELS.items()
        for way, words in WAYS.items()
        if f"{way}_{name}" in arrays
    }
    rows = {"input": setting.images, **{words: arrays[way] for way, words in WAYS.items() if way in arrays}}
    errors = zip(arrays["reconstructions_mse"], setting.inputs.names, strict=True)
    captions = [f"{error:.4f}, {name}" for error, name in errors][:SHOWN]
    shown = {name: pictures[:SHOWN] for name, pictures in rows.items()}
    pixels = grids.named_rows(shown, COLUMNS, captions=captions, min_side=SIDE)
    and_a_draw = "" if setting.deterministic else ", and what a draw does"
    alt = f"Inputs and what their posterior's mean decodes to{and_a_draw}; below, the squared error at the mean."
    return Result(arrays, {"reconstruct": Picture(pixels, alt)}, figures)


STUDY = Study(
    name="reconstruct",
    title="Reconstruction",
    chapter=story.COMES_BACK,
    function=reconstruct,
    run=_run,
    noise=lambda setting: None if setting.deterministic else (1, *latent_noise(setting)[1:]),
)

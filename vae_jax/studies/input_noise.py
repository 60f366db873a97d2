"""Noise on the picture, not on its latent: the way to variations where posteriors are too narrow."""

from collections.abc import Sequence

import numpy as np

from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import draws, nets
from vae_jax.studies.measures import distance, diversity
from vae_jax.studies.study import Picture, Result, Setting, Study, check_size
from vae_jax.study_options import numbers

SHOWN, COLUMNS = 4, 8


def input_noise(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    strength: float | Sequence[float] = 0.2,
    count: int = 10,
    seed: int = 0,
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The images [B, H, W, C] with strength·ε added, ε ~ N(0, 1), clipped to [0, 1], then encoded and decoded.

    Arrays, with S strengths and K = `count`: `strength` [S], `noise` [K, B, ...], `outputs` [S, K, B, ...].
    """
    epsilon = draws.normal(images, images.shape[1:], count=count, seed=seed, name="input noise", noise=noise)
    strengths = draws.strengths(strength)
    outputs = [nets.reconstruct(model, noisy(images, each * epsilon), cond) for each in strengths]
    return {"strength": strengths, "noise": epsilon, "outputs": np.stack(outputs)}


def noisy(images: np.ndarray, added: np.ndarray) -> np.ndarray:
    """The images with `added`, within [0, 1] as what a net is given; vectors have no such bounds."""
    seen = images + added
    return np.clip(seen, 0, 1) if images.ndim == 4 else seen


def _run(setting: Setting) -> Result:
    options = setting.options
    strengths = numbers("study.strength", options.strength)
    arrays = input_noise(
        setting.model,
        setting.images,
        cond=setting.cond,
        strength=strengths,
        count=options.count,
        seed=options.seed,
        noise=setting.noise,
    )
    outputs, figures = arrays["outputs"], {}
    for strength, far, wide in zip(strengths, distance(outputs, setting.images), diversity(outputs), strict=True):
        label = f"stddev of the noise {strength:g}"
        figures[f"mse_{strength:g}"] = figure(far, f"Squared error per pixel to the clean input, {label}")
        figures[f"diversity_{strength:g}"] = figure(wide, f"Diversity (stddev per pixel), {label}")
    return Result(arrays, {"input_noise": _picture(setting, arrays)}, figures)


def _picture(setting: Setting, arrays: dict[str, np.ndarray]) -> Picture:
    shown = min(COLUMNS, arrays["noise"].shape[0])
    rows = {}
    for b, name in enumerate(setting.inputs.names[:SHOWN]):
        for s, strength in enumerate(arrays["strength"]):
            seen = noisy(setting.images[b : b + 1], strength * arrays["noise"][:1, b])
            rows[f"{name}, noise {strength:g}"] = np.concatenate(
                [setting.images[b : b + 1], seen, arrays["outputs"][s, :shown, b]]
            )
    captions = ["input", "seen (1)", *map(str, range(1, shown + 1))]
    pixels = grids.named_rows(rows, len(captions), captions=captions)
    count, of = len(arrays["noise"]), len(setting.images)
    alt = (
        f"{min(SHOWN, of)} of {of} inputs, the first of their {count} noisy versions, and reconstructions of {shown} "
        "of these, a row for each stddev of the noise."
    )
    return Picture(pixels, alt)


def _check(setting: Setting) -> None:
    count = len(numbers("study.strength", setting.options.strength)) * setting.options.count
    check_size(setting, count * len(setting.inputs), field="study.count")


STUDY = Study(
    name="input_noise",
    title="Noise on the input",
    chapter=story.COMES_BACK,
    function=input_noise,
    run=_run,
    check=_check,
    noise=lambda setting: (setting.options.count, len(setting.inputs), *setting.model.shape),
)

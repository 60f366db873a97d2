"""Variations of a picture: decodes of latents near its own."""

from collections.abc import Sequence

import numpy as np

from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import draws, nets
from vae_jax.studies.classifier import check_classifier, read_judge
from vae_jax.studies.measures import distance, diversity
from vae_jax.studies.plots import CLASSES, plotted
from vae_jax.studies.study import Picture, Result, Setting, Study, check_size, latent_noise
from vae_jax.study_options import numbers

SHOWN = 4  # inputs
COLUMNS = 10  # variations of each


def variation(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    strength: float | Sequence[float] = 0.2,
    count: int = 10,
    seed: int = 0,
    z: str = "mean",
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Decodes of z + strength·ε, for `count` draws of ε ~ N(0, 1) around each of the images [B, H, W, C].

    z is the posterior's mean, or with z="sample" one draw from it. `noise` is that of an earlier call, in
    the place of new. Arrays, with S strengths and K = `count`: `strength` [S], `noise` [K, B, Z], `latent_center`
    [B, Z], `latents` [S, K, B, Z], `reconstructions` [B, ...] (of the centres), `outputs` [S, K, B, ...].
    """
    epsilon = draws.normal(images, (model.config.model.latent,), count=count, seed=seed, name="variation", noise=noise)
    posterior = nets.encode(model, images, cond)
    centers = posterior.mean
    if z == "sample":
        around = draws.normal(images, centers.shape[1:], count=1, seed=seed, name="variation center")[0]
        centers = posterior.mean + posterior.stddev * around  # [B, Z]
    strengths = draws.strengths(strength)
    latents = centers + strengths[:, None, None, None] * epsilon
    return {
        "strength": strengths,
        "noise": epsilon,
        "latent_center": centers,
        "latents": latents,
        "reconstructions": nets.decode(model, centers, cond),
        "outputs": nets.decode(model, latents, cond),
    }


def _run(setting: Setting) -> Result:
    options = setting.options
    arrays = variation(
        setting.model,
        setting.images,
        cond=setting.cond,
        strength=numbers("study.strength", options.strength),
        count=options.count,
        seed=options.seed,
        z=options.z,
        noise=setting.noise,
    )
    outputs = arrays["outputs"]
    figures = {}
    for s, (far, wide) in enumerate(zip(distance(outputs, setting.images), diversity(outputs), strict=True)):
        strength = f"{arrays['strength'][s]:g}"
        figures[f"distance_{strength}"] = figure(far, f"Squared distance per pixel to the input, strength {strength}")
        figures[f"diversity_{strength}"] = figure(wide, f"Diversity (stddev per pixel), strength {strength}")
    drift = _drift(setting, arrays)
    pictures = {"variation": _picture(setting, arrays)}
    if drift:
        pictures["drift"] = _dots(drift, arrays["strength"])
    for name, each in drift.items():
        for strength, values in zip(arrays["strength"], each, strict=True):
            label = f"Drift of {name} (probability), strength {strength:g}"
            figures[f"drift_{name}_{strength:g}"] = figure(values, label)
    return Result(arrays, pictures, figures)


def _drift(setting: Setting, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """How far the probability of each attribute that the classifier can tell moves from the input's reconstruction.

    [S, B] under the attribute's name, the mean over the variations.
    """
    judge = read_judge(setting)
    if judge is None:
        return {}
    moved = judge(arrays["outputs"]) - judge(arrays["reconstructions"])  # [S, K, B, A]
    drift = np.abs(moved).mean(axis=1)  # [S, B, A]
    return {judge.names[a]: drift[..., a] for a in np.flatnonzero(judge.reliable)}


def _dots(drift, strengths):
    """The mean drift of each attribute at each strength, the largest at the greatest above."""
    order = sorted(drift, key=lambda name: drift[name][strengths.argmax()].mean())
    with plotted(width=9, height=1.2 + 0.24 * len(order)) as (plot, (ax,)):
        for s, strength in enumerate(strengths):
            means = [drift[name][s].mean() for name in order]
            ax.plot(means, range(len(order)), "o", color=CLASSES[s % len(CLASSES)], label=f"strength {strength:g}")
        ax.set_yticks(range(len(order)), order, fontsize=9)
        ax.set(xlabel="mean drift of the probability", ylim=(-0.7, len(order) - 0.3))
        ax.set_xlim(left=0)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    alt = (
        "How far the classifier's probability of each attribute moves from the input's own reconstruction, the mean "
        "over inputs and variations, the most moved above."
    )
    return Picture(plot.pixels, alt)


def _picture(setting: Setting, arrays: dict[str, np.ndarray]) -> Picture:
    shown = min(COLUMNS, arrays["outputs"].shape[1])
    rows = {}
    for b, name in enumerate(setting.inputs.names[:SHOWN]):
        fixed = [setting.images[b], arrays["reconstructions"][b]]
        for s, strength in enumerate(arrays["strength"]):
            rows[f"{name}, strength {strength:g}"] = np.stack([*fixed, *arrays["outputs"][s, :shown, b]])
    captions = ["input", "decoded", *map(str, range(1, shown + 1))]
    pixels = grids.named_rows(rows, len(captions), captions=captions)
    return Picture(
        pixels,
        f"Variations of {min(SHOWN, len(setting.inputs))} inputs, one row for each strength of the noise; at the left "
        "the input and what its own latent decodes to.",
    )


def _check(setting: Setting) -> None:
    count = len(numbers("study.strength", setting.options.strength)) * setting.options.count
    check_size(setting, count * len(setting.inputs), field="study.count")
    check_classifier(setting)


STUDY = Study(
    name="variation",
    title="Variations around an input",
    chapter=story.MADE_FROM_IT,
    function=variation,
    run=_run,
    noise=latent_noise,
    check=_check,
)

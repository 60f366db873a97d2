"""New pictures: from the prior at several temperatures, and from where the data's latents lie."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_jax.evaluation.figures import figure
from vae_jax.evaluation.sampling import told_in_words
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import draws, nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.nearest import nearest
from vae_jax.studies.shards import SHARD, check_shards, write_shards
from vae_jax.studies.study import NO_PRIOR, Picture, Result, Setting, Study
from vae_jax.study_options import numbers

COLUMNS = 10
SHARDS = Path("studies", "sample_shards")  # below the run folder
KEPT = 1000  # samples of each kind in the arrays of the study; more are in the shards
FITTED = 5000  # training examples that the mixture is fitted to


def sample(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    told: Sequence[float] | None = None,
    temperature: float | Sequence[float] = 0.7,
    mixture: int = 10,
    count: int = 10,
    seed: int = 0,
    noise: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Decodes of ε ~ N(0, 1), of temperature·ε, and of draws from a Gaussian mixture on the aggregate posterior.

    The mixture of `mixture` components is fitted to one draw of q(z|x) for each of the training images [N, H, W, C]. A
    conditional model is told `cond` [N, n] of these, and `told` [n] of all samples, or (without it) conditions drawn as
    often as the training split has them. Arrays, with T temperatures and K = `count`: `temperature` [T], `noise` [K,
    Z]; `latents` [K, Z] and `samples` [K, ...], those of `Model.sample`; `tempered_latents` and `tempered_samples` [T,
    K, ...]; `mixture_latents` and `mixture_samples` [K, ...]; `cond` [K, n] of samples that are told something.
    """
    from vae_jax.studies.mixture import draw_mixture, fit_mixture  # scikit-learn takes a second to import

    shape = (count, model.config.model.latent)
    noise = draws.of_the_prior(model, 0, count, seed=seed) if noise is None else draws.checked(noise, shape)
    temperatures = draws.strengths(temperature, field="temperature")
    q = nets.encode(model, images, cond)
    own = draws.normal(images, q.mean.shape[1:], count=1, seed=seed, name="aggregate posterior")[0]
    fitted = fit_mixture(q.mean + q.stddev * own, mixture, seed=seed)
    latents = {
        "latents": noise,
        "tempered_latents": temperatures[:, None, None] * noise,
        "mixture_latents": draw_mixture(fitted, len(noise), seed=seed),
    }
    each = draws.conditions(model, 0, count, seed=seed, cond=told)
    samples = {name.replace("latents", "samples"): nets.decode(model, z, each) for name, z in latents.items()}
    conditions = {} if each is None else {"cond": each}
    return {"temperature": temperatures, "noise": noise, **latents, **samples, **conditions}


def _run(setting: Setting) -> Result:
    options = setting.options
    temperatures = numbers("study.temperature", options.temperature, least=0)
    fitted = setting.examples("train", limit=FITTED)
    arrays = sample(
        setting.model,
        as_the_net_takes_them(fitted, setting.config.data),
        cond=fitted.cond,
        told=setting.told,
        temperature=temperatures,
        mixture=options.mixture,
        count=min(options.count, KEPT),
        seed=options.seed,
        noise=setting.noise,
    )
    kinds = {"prior": arrays["samples"]}
    kinds |= {f"prior, T = {t:g}": each for t, each in zip(temperatures, arrays["tempered_samples"], strict=True)}
    kinds[f"mixture of {options.mixture}"] = arrays["mixture_samples"]
    found = {kind: nearest(setting, drawn) for kind, drawn in kinds.items()}
    arrays["nearest_index"] = np.stack([each.index for each in found.values()])
    arrays["nearest_distance"] = np.stack([each.distance for each in found.values()])
    label = "Squared distance per pixel to the nearest training example"
    figures = {f"nearest, {kind}": figure(each.distance, f"{label}, {kind}") for kind, each in found.items()}
    held_out = as_the_net_takes_them(setting.examples("test", limit=options.examples), setting.config.data)
    own = nearest(setting, held_out)
    figures["nearest, held out"] = figure(own.distance, f"{label}, held-out examples (no copies)")
    words = told_in_words(setting.config.model.cond, options.cond)
    notes = [f"The samples were {words}."] if words else []
    if setting.deterministic:
        notes.append(f"{NO_PRIOR}: of its samples only those of the mixture mean anything, not those of N(0, 1).")
    if options.count > KEPT:
        notes.append(_write_all(setting))
    return Result(arrays, {"sample": _picture(kinds, found)}, figures, tuple(notes))


def _write_all(setting):
    """Writes samples of the prior beyond those that the study keeps, and says where."""
    folder, options = setting.workdir / SHARDS, setting.options
    write_shards(setting.model, folder, options.count, seed=options.seed, cond=setting.told)
    return f"All {options.count:,} samples of the prior lie in {folder}, {SHARD:,} a file."


def _picture(kinds, found):
    rows = {}
    for kind, drawn in kinds.items():
        rows |= {kind: drawn[:COLUMNS], f"{kind}: nearest": found[kind].images[:COLUMNS]}
    numbered = [str(k + 1) for k in range(min(COLUMNS, len(drawn)))]
    pixels = grids.named_rows(rows, COLUMNS, captions=numbered)
    alt = (
        "Samples from the prior, at temperatures T, and from a Gaussian mixture fitted to the latents of training "
        "examples; below each, the training example nearest to it, so that copying would show."
    )
    return Picture(pixels, alt)


def _check(setting: Setting) -> None:
    if setting.options.count > KEPT:
        check_shards(setting.model, setting.workdir / SHARDS, seed=setting.options.seed, cond=setting.told)


STUDY = Study(
    name="sample",
    title="Samples, and the training examples nearest to them",
    chapter=story.MADE_FROM_IT,
    function=sample,
    run=_run,
    check=_check,
    noise=lambda setting: (min(setting.options.count, KEPT), setting.config.model.latent),
    inputs=0,
)

"""The whole latent line or plane, decoded at evenly spaced quantiles of the prior."""

from collections.abc import Sequence

import numpy as np
from jax.scipy.stats import norm

from vae_jax.data.named import in_words
from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.study import NO_PRIOR, Picture, Result, Setting, Study

SIDE = 20  # decodes along a dimension
PIXELS = 40  # of a shown decode, at least


def manifold(model: Model, *, told: Sequence[float] | None = None, side: int = SIDE) -> dict[str, np.ndarray]:
    """Decodes of a net with one or two latents at the quantiles (i + ½)/side of N(0, 1) (Kingma & Welling, 2014).

    Arrays: `values` [side], `latents` [side, Z] or [side, side, Z] (rows: the second dimension, from above), `outputs`.
    A conditional model is told `told` [n].
    """
    _check_latent(model)
    values = np.asarray(norm.ppf((np.arange(side, dtype=np.float32) + 0.5) / side))
    if model.config.model.latent == 1:
        latents = values[:, None]
    else:
        latents = np.stack(np.meshgrid(values, values[::-1]), axis=-1)  # [side, side, 2]
    return {"values": values, "latents": latents, "outputs": nets.decode(model, latents, told)}


def _check_latent(model):
    if model.config.model.latent > 2:
        raise UserError(
            f"The study manifold needs one or two latent dimensions, and this run has {model.config.model.latent}; "
            "take traverse."
        )


def _run(setting: Setting) -> Result:
    told = _told(setting)
    arrays = manifold(setting.model, told=told)
    captions = [f"{value:.2f}" for value in arrays["values"]]
    if arrays["outputs"].ndim == 4:
        rows = {"decoded": arrays["outputs"]}
    else:
        values = arrays["values"][::-1]
        rows = {f"z1 = {value:.2f}": row for value, row in zip(values, arrays["outputs"], strict=True)}
    pixels = grids.named_rows(rows, SIDE, captions=captions, captioned="z0 =", min_side=PIXELS, gap=0)
    where = "z0 to the right" + (", z1 upwards" if arrays["outputs"].ndim == 5 else "")
    alt = f"Decodes at {SIDE} quantiles of the prior along each latent dimension: {where}."
    notes = [] if told is None else [f"All of them are told {in_words(told, setting.config.model.cond)}."]
    if setting.deterministic:
        notes.append(f"{NO_PRIOR}: its latents need not lie where these quantiles of N(0, 1) do.")
    return Result(arrays, {"manifold": Picture(pixels, alt)}, notes=tuple(notes))


def _told(setting):
    """What all decodes are told: what is asked for, else what most training examples have."""
    conditions = setting.model.conditions
    return setting.told or (conditions and conditions.most_frequent)


STUDY = Study(
    name="manifold",
    title="The whole latent space",
    chapter=story.LATENT_SPACE,
    function=manifold,
    run=_run,
    inputs=0,
    check=lambda setting: _check_latent(setting.model),
)

"""Several runs on the same inputs and the same seeds, side by side."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model, load_model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.measures import LABELS, similarity
from vae_jax.studies.study import Picture, Result, Setting, Study

SHOWN = 8


def compare(
    model: Model,
    images: np.ndarray,
    *,
    others: Mapping[str, Model],
    cond: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The images [B, H, W, C] reconstructed by `model` and by the `others`, and as many samples of each under `seed`.

    Those of them that are conditional are told `cond` [B, n] of the images, and of the samples too. Arrays, the runs R
    in order with `model` first: `reconstructions`, `samples` [R, B, ...], `mse`, `psnr` and `ssim` [R, B].
    """
    told = [(each, cond if each.config.model.cond else None) for each in (model, *others.values())]
    outputs = np.stack([nets.reconstruct(each, images, own) for each, own in told])
    samples = np.stack([each.sample(len(images), seed=seed, cond=own) for each, own in told])
    return {"reconstructions": outputs, "samples": samples, **similarity(images, outputs)}


def _run(setting: Setting) -> Result:
    others = _others(setting)
    arrays = compare(setting.model, setting.images, others=others, cond=setting.cond, seed=setting.options.seed)
    names = [setting.workdir.name, *others]
    figures = {
        f"{metric}_{name}": figure(arrays[metric][r], f"{label}, {name}", unit)
        for metric, (label, unit) in LABELS.items()
        for r, name in enumerate(names)
    }
    shown = setting.images[:SHOWN]
    rows = {"input": shown} | {name: each[:SHOWN] for name, each in zip(names, arrays["reconstructions"], strict=True)}
    above = grids.named_rows(rows, SHOWN, captions=setting.inputs.names[:SHOWN], min_side=96)
    drawn = {f"{name}, sample": each[:SHOWN] for name, each in zip(names, arrays["samples"], strict=True)}
    below = grids.named_rows(drawn, SHOWN, captions=[str(k + 1) for k in range(len(shown))], min_side=96)
    alt = f"Inputs and their reconstructions by {', '.join(names)}; below, samples of each from the prior."
    crop = setting.config.data.crop
    notes = tuple(
        f"{name} was trained on pictures of data.crop={other.config.data.crop}; these are {crop}."
        for name, other in others.items()
        if other.config.data.crop != crop
    )
    return Result(arrays, {"compare": Picture(grids.stacked(above, below), alt)}, figures, notes)


def _others(setting) -> dict[str, Model]:
    """The runs that `study.runs` names, by their folders' names."""
    folders = [Path(part.strip()) for part in setting.options.runs.split(",") if part.strip()]
    if not folders:
        raise UserError("The study compare needs run folders to compare with, as --config.study.runs=runs/a,runs/b.")
    models = {}
    for folder in folders:
        try:
            model = load_model(folder)
        except UserError as error:
            raise UserError(f"study.runs: {error}") from error
        if model.config.model.target:
            raise UserError(f"study.runs names {folder}, which holds a classifier; name runs that decode pictures.")
        if model.shape != setting.model.shape:
            raise UserError(f"study.runs names {folder}, whose examples are {model.shape}, not {setting.model.shape}.")
        if model.config.model.cond and model.config.model.cond != setting.config.model.cond:
            raise UserError(
                f"study.runs names {folder}, which is told {', '.join(model.config.model.cond)}; this run is told "
                f"{', '.join(setting.config.model.cond) or 'nothing'}."
            )
        models[folder.name if folder.name not in (setting.workdir.name, *models) else str(folder)] = model
    return models


def _check(setting: Setting) -> None:
    _others(setting)


STUDY = Study(
    name="compare",
    title="Beside other runs",
    chapter=story.COMES_BACK,
    function=compare,
    run=_run,
    check=_check,
)

"""Decoded pictures put right afterwards, stage by stage, each measured against the original."""

from collections.abc import Mapping

import jax
import numpy as np

from vae_jax.config import default_config
from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.evaluation.images import image_metrics
from vae_jax.images import grids
from vae_jax.images.postprocess import chain
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.measures import LABELS
from vae_jax.studies.study import Picture, Result, Setting, Study
from vae_jax.study_options import stage_names

MEASURED = 256  # held-out examples
SHOWN = 8


def postprocess(
    model: Model, images: np.ndarray, *, cond: np.ndarray | None = None, options: Mapping | None = None
) -> dict[str, np.ndarray]:
    """Reconstructions of the images [B, H, W, C], and what each stage makes of them.

    `options` are the fields of study.postprocess, by default the config's own. Arrays: `reconstructions` [B, ...] and
    `outputs` [S, B, ...], after each of the S stages.
    """
    options = options or default_config().study.postprocess
    reconstructions = nets.reconstruct(model, images, cond)
    outputs = chain(reconstructions, stage_names(options["stages"]), options)
    return {"reconstructions": reconstructions, "outputs": np.stack([np.asarray(output) for output in outputs])}


def _run(setting: Setting) -> Result:
    options, split = setting.options.postprocess, setting.options.split
    arrays = postprocess(setting.model, setting.images, cond=setting.cond, options=options)
    held_out = setting.examples(split, limit=MEASURED)
    originals, people = as_the_net_takes_them(held_out, setting.config.data), held_out.columns.get("identity")
    made = postprocess(setting.model, originals, cond=held_out.cond, options=options)
    names, figures = ["decoded", *stage_names(options.stages)], {}
    measure = jax.jit(image_metrics)
    for number, (name, output) in enumerate(zip(names, [made["reconstructions"], *made["outputs"]], strict=True)):
        measured = measure(originals, output)
        for metric, (label, unit) in LABELS.items():
            values = np.asarray(measured[metric])
            figures[f"{metric}_{number}_{name}"] = figure(values, f"{label}, {number}. {name}", unit, people=people)
    note = f"Measured on the first {len(originals)} examples of the {split} split, each stage after the ones before."
    return Result(arrays, {"postprocess": _picture(setting, arrays, names)}, figures, (note,))


def _picture(setting: Setting, arrays: dict[str, np.ndarray], names: list[str]) -> Picture:
    pictures = [setting.images, arrays["reconstructions"], *arrays["outputs"]]
    rows = {name: row[:SHOWN] for name, row in zip(["original", *names], pictures, strict=True)}
    stages = ", ".join(names[1:])
    pixels = grids.named_rows(rows, SHOWN, captions=setting.inputs.names[:SHOWN], min_side=96)
    return Picture(pixels, f"Originals, what is decoded of them, and that after each stage: {stages}.")


def _check(setting: Setting) -> None:
    shape = setting.model.shape
    if not grids.showable(shape):
        raise UserError(f"The study postprocess is of pictures; this run is on examples of {shape}.")
    options = setting.options.postprocess
    if shape[-1] == 1 and "saturation" in stage_names(options.stages):
        raise UserError("study.postprocess.stages has saturation, which grey pictures have not; take it out.")
    radius = max(options.bilateral_radius, round(3 * options.sharpen_sigma))
    if radius >= min(shape[:2]):
        raise UserError(
            f"study.postprocess reaches {radius} pixels around each; these pictures are {shape[0]}×{shape[1]}: take a "
            f"smaller bilateral_radius or sharpen_sigma."
        )


STUDY = Study(
    name="postprocess",
    title="Pictures put right afterwards",
    chapter=story.COMES_BACK,
    function=postprocess,
    run=_run,
    check=_check,
)

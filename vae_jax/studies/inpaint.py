"""Hidden parts of a picture, filled in: in one pass, and in many with the known pixels put back each time."""

import numpy as np

from vae_jax.data.corruption import GREY
from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.masks import fixed_mask, make_mask
from vae_jax.studies.restored import Restored, confusion, restored_classes
from vae_jax.studies.study import Picture, Result, Setting, Study

COLUMNS, SIDE, SHOWN = 8, 96, 16
WAYS = {"one_pass": "one pass", "iterated": "iterated"}


def inpaint(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    mask: str = "lower",
    cycles: int = 20,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Fills in what `mask` (see `masks.make_mask`) hides of images [B, H, W, C], by z = the posterior's mean.

    The net first sees the mean of the known pixels in the place of the hidden ones (grey where it was trained on hidden
    parts); iterated, what it made of them in the pass before. Arrays: `mask` [B, H, W, 1], `seen`, `one_pass` and
    `iterated` [B, ...] with the known pixels put back, and of each `..._inside_mse`, `..._outside_mse` [B], the latter
    before they are put back.
    """
    if cycles < 1:
        raise UserError(f"cycles is {cycles}; it must be 1 or more.")
    hidden = make_mask(mask, images, seed=seed)
    seen = np.where(hidden, _filling(model, images, hidden), images).astype(np.float32)
    arrays, current = {"mask": hidden, "seen": seen}, seen
    for n in range(cycles):
        decoded = nets.reconstruct(model, current, cond)
        current = np.where(hidden, decoded, images)
        if n == 0:
            arrays |= {"one_pass": current, **_errors("one_pass", decoded, images, hidden)}
    return arrays | {"iterated": current, **_errors("iterated", decoded, images, hidden)}


def _filling(model, images, hidden):
    if model.config.data.corrupt.kind in ("box", "patches"):
        return GREY
    known = ~hidden
    total = (images * known).sum(axis=(1, 2), keepdims=True)
    return total / np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)  # [B, 1, 1, C]


def _errors(way, decoded, images, hidden):
    error = np.square(decoded - images).mean(axis=-1, keepdims=True)  # [B, H, W, 1]
    return {
        f"{way}_{where}_mse": (error * part).sum(axis=(1, 2, 3)) / part.sum(axis=(1, 2, 3))
        for where, part in {"inside": hidden, "outside": ~hidden}.items()
    }


def _run(setting: Setting) -> Result:
    arrays = _inpaint(setting, setting.images, setting.cond)
    figures = {
        f"{way}_{where}_mse": figure(arrays[f"{way}_{where}_mse"], f"Squared error per pixel {where} the mask, {words}")
        for where in ("inside", "outside")
        for way, words in WAYS.items()
    }
    rows = {"input": setting.images, "seen": arrays["seen"], **{words: arrays[way] for way, words in WAYS.items()}}
    shown = {name: pictures[:SHOWN] for name, pictures in rows.items()}
    errors = zip(arrays["iterated_inside_mse"], setting.inputs.names, strict=True)
    captions = [f"{error:.3f}, {name}" for error, name in errors][:SHOWN]
    pixels = grids.named_rows(shown, COLUMNS, captions=captions, min_side=SIDE)
    alt = (
        f"Inputs, what the net sees of them (mask: {setting.options.mask}), filled in by one pass and by "
        f"{setting.options.cycles}; below, the squared error of the latter inside the mask."
    )
    pictures, notes = {"inpaint": Picture(pixels, alt)}, ()
    if "label" in setting.inputs.columns:
        found = {split: _classes(setting, split) for split in ("train", "test")}
        for split, each in found.items():
            figures[f"restored_{split}"] = figure(each.right, f"Class restored, {split} split (iterated)")
            figures[f"recognised_{split}"] = figure(
                each.right_before, f"Class told from the whole picture, {split} split"
            )
        arrays |= {f"confusion_{split}": each.confusion for split, each in found.items()}
        pictures["confusion"] = confusion(found["test"], setting.splits["test"].features.classes)
        notes = ("Classes are told by 5 nearest neighbours among training pictures that are not looked at here.",)
    return Result(arrays, pictures, figures, notes)


def _inpaint(setting, images, cond):
    options = setting.options
    return inpaint(setting.model, images, cond=cond, mask=options.mask, cycles=options.cycles, seed=options.seed)


def _classes(setting, split) -> Restored:
    examples = setting.examples(split, limit=setting.options.examples)
    images = as_the_net_takes_them(examples, setting.config.data)
    filled = _inpaint(setting, images, examples.cond)["iterated"]
    return restored_classes(setting, images, filled, examples.columns["label"])


def _check(setting: Setting) -> None:
    fixed_mask(setting.options.mask, setting.model.shape[:2])


STUDY = Study(
    name="inpaint",
    title="Hidden parts filled in",
    chapter=story.MADE_FROM_IT,
    function=inpaint,
    run=_run,
    check=_check,
)

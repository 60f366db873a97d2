"""What happens to a batch inside the compiled step, the same for every way of delivering it.

All of it is keyed by (key, epoch, example_id), so that neither batches nor devices change it.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from vae_jax import rng
from vae_jax.data.corruption import GREY, KINDS, add_noise, box_mask, patch_mask
from vae_jax.data.source import Features
from vae_jax.errors import UserError

BINARIZATIONS = ("none", "threshold", "dynamic")
CELL_STEPS = 2**16  # values that uniform dequantisation takes within a grey level


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prepared:
    """A batch as the model takes it; without corruption, `seen` is `clean`."""

    clean: jax.Array  # [B, H, W, C] float32 in [0, 1], or vectors [B, D]: what is scored
    seen: jax.Array  # the same, as the encoder is given it
    weight: jax.Array | None = None  # [B, H, W, 1], of each pixel in the reconstruction; None: all count as one
    cond: jax.Array | None = None  # [B, n], what a conditional model is told
    target: jax.Array | None = None  # [B, A], what a classifier has to tell


def for_training(batch: Mapping[str, jax.Array], seed: jax.Array | int, data: Mapping) -> Prepared:
    """A training batch as a step takes it: augmented and prepared anew in each epoch, as `seed` decides."""
    key = rng.stream(seed, "binarize")  # the stream is named after the first of what draws from it
    return prepare(augment(batch, key, data), key, data)


def held_out(batch: Mapping[str, jax.Array], data: Mapping) -> Prepared:
    """A held-out batch, prepared by one draw that belongs to the data and not to the run."""
    return prepare(batch, rng.stream(data["seed"], "held-out draw"), data)


def augment(batch: Mapping[str, jax.Array], key: jax.Array, data: Mapping) -> dict[str, jax.Array]:
    """The batch with what is done in training only: with `data.flip`, half of the images mirrored left to right."""
    if not data["flip"]:
        return dict(batch)
    mirrored = rng.uniform(_keys(batch, rng.named(key, "flip")), batch["epoch"].shape) < 0.5
    image = batch["image"]
    return {**batch, "image": jnp.where(mirrored[:, None, None, None], image[:, :, ::-1], image)}


def prepare(batch: Mapping[str, jax.Array], key: jax.Array, data: Mapping) -> Prepared:
    """The images of a batch as floats in [0, 1], and what of them the net sees; `data` as in a config.

    uint8 ones are scaled by 1/255, float ones taken as they are. Then, where `data` asks for it:

    `dequantize`: uint8 images become (x + u)/256 with uniform u in [0, 1), as in Theis et al. (2016).
    `binarization`: "threshold" gives x > 0.5; "dynamic" draws each pixel from Bernoulli(x), as in Burda et al. (2016).
    `corrupt`: "noise" of stddev `amount`; a "box" of side `amount`, or a share `amount` of all "patches", in grey 0.5.
    """
    clean = _values(batch, key, data)
    named = {name: batch[name].astype(jnp.float32) for name in ("cond", "target") if name in batch}
    corrupt = data["corrupt"]
    if corrupt["kind"] == "none":
        return Prepared(clean, clean, **named)
    keys = _keys(batch, rng.named(key, "corrupt"))
    if corrupt["kind"] == "noise":
        return Prepared(clean, add_noise(clean, keys, stddev=corrupt["amount"]), **named)
    if corrupt["kind"] == "box":
        masked = box_mask(keys, clean.shape[1:3], side=corrupt["amount"])
    elif corrupt["kind"] == "patches":
        masked = patch_mask(keys, clean.shape[1:3], share=corrupt["amount"], patch=corrupt["patch"])
    else:
        raise UserError(f"data.corrupt.kind is {corrupt['kind']!r}; it must be one of {', '.join(KINDS)}.")
    weight = None if corrupt["weight"] == 1 else jnp.where(masked, jnp.float32(corrupt["weight"]), 1)
    return Prepared(clean, jnp.where(masked, GREY, clean), weight, **named)


def check_examples(data: Mapping, features: Features) -> None:
    """Raises UserError where `data` asks for what can't be done with examples of these features."""
    if data["dequantize"] and features.dtype != "uint8":
        raise UserError(
            f"data.dequantize is True, but the examples of data.source={data['source']!r} are {features.dtype}, which "
            "has no grey levels; set it to False, or take a source of uint8 pictures."
        )
    if len(features.shape) == 3:
        return
    if data["flip"]:
        raise UserError(
            f"data.flip is True, but the examples of data.source={data['source']!r} are vectors; set it to False."
        )
    if data["binarization"] != "none":
        raise UserError(
            f"data.binarization is {data['binarization']!r}, but the examples of data.source={data['source']!r} are "
            "vectors of any numbers; it must be none."
        )
    if data["corrupt"]["kind"] not in ("none", "noise"):
        raise UserError(
            f"data.corrupt.kind is {data['corrupt']['kind']!r}, but the examples of data.source={data['source']!r} are "
            "vectors; it must be none or noise."
        )


def _values(batch, key, data):
    image = batch["image"]
    if data["dequantize"]:
        # In steps that float32 can tell apart up to 256: rounding would else lift some values into the next level.
        u = jnp.floor(rng.uniform(_keys(batch, key), image.shape) * CELL_STEPS) / CELL_STEPS
        return (image.astype(jnp.float32) + u) / 256
    x = image.astype(jnp.float32) / 255 if image.dtype == jnp.uint8 else image
    if data["binarization"] == "none":
        return x
    if data["binarization"] == "threshold":
        return (x > 0.5).astype(jnp.float32)
    if data["binarization"] == "dynamic":
        return (rng.uniform(_keys(batch, key), x.shape) < x).astype(jnp.float32)
    raise UserError(f"data.binarization is {data['binarization']!r}; it must be one of {', '.join(BINARIZATIONS)}.")


def _keys(batch, key):
    """One key for each example in its epoch [B]."""
    return rng.per_example(rng.per_example(key, batch["epoch"]), batch["example_id"])

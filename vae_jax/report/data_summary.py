"""What a config trains on, before anything is trained: figures of every split, and pictures of the examples."""

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vae_jax.data.balance import strata
from vae_jax.data.content import read_examples
from vae_jax.data.mix import PART, read_parts
from vae_jax.data.order import Order
from vae_jax.data.pipeline import choose_delivery
from vae_jax.data.source import Source
from vae_jax.data.statistics import Statistics, measure
from vae_jax.data.transforms import for_training
from vae_jax.images import grids
from vae_jax.images.lettering import with_heading
from vae_jax.report import data_figures
from vae_jax.run import write_json

SHOWN = 32
COLUMNS = 8
SIDE = 128  # pixels of a shown example, at least
MEAN_SIDE = 256
POINTS = 2000  # of a scatter plot


def summarise(folder: Path, config: ConfigDict, splits: Mapping[str, Source], mesh: Mesh, *, name: str) -> dict:
    """Writes examples.png, mean.png, attributes.png and meta.json, as far as the data have them, into `folder`.

    Returns what meta.json holds. Every example of every split is read once.
    """
    splits = {split: splits[split] for split in ("train", "validation", "test")}
    statistics = {split: measure(source) for split, source in splits.items()}
    train = splits["train"]
    delivery = choose_delivery(train, config.data.delivery, mesh)
    meta = {
        "name": name,
        "config": config.to_dict(),
        "shape": list(train.features.shape),
        "dtype": str(train.features.dtype),
        "delivery": {"name": delivery.name, "reason": delivery.reason},
        "found": [
            {"place": found.place, "cache": found.cache, "pictures": found.pictures, "left_out": found.left_out}
            for found in train.provenance
        ],
        "splits": {split: _figures(splits[split], statistics[split]) for split in splits},
        "shared": [_shared(splits, statistics, pair) for pair in itertools.combinations(splits, 2)],
        "classes": _classes(splits),
        "attributes": _attributes(splits),
        "parts": _parts(splits, config.data),
    }
    shutil.rmtree(folder, ignore_errors=True)  # an earlier summary, perhaps of data with other figures
    write_json(folder / "meta.json", meta)
    if grids.showable(train.features.shape):
        grids.save_png(folder / "examples.png", _examples(train, config, name))
        grids.save_png(folder / "mean.png", _mean(statistics["train"], name))
    elif len(train.features.shape) == 1:
        data_figures.save_scatter(folder / "examples.png", train, POINTS, title=f"Training vectors of {name}")
    if meta["attributes"]:
        shares = {attribute: shares["train"] for attribute, shares in meta["attributes"].items()}
        data_figures.save_attribute_bars(folder / "attributes.png", shares, title=f"Training examples of {name}")
    return meta


def _figures(source: Source, statistics: Statistics) -> dict:
    people = source.columns.get("identity")
    return {
        "examples": len(source),
        "low": statistics.low,
        "high": statistics.high,
        "mean": statistics.channel_mean.tolist(),
        "stddev": statistics.channel_stddev.tolist(),
        "repeated": statistics.repeated,
        "people": None if people is None else len(np.unique(people)),
    }


def _shared(splits, statistics, pair):
    """What two splits have in common, which makes a test of one no test of the other."""
    one, other = (splits[split].columns.get("identity") for split in pair)
    return {
        "splits": list(pair),
        "examples": len(np.intersect1d(*(statistics[split].digests for split in pair))),
        "people": None if one is None or other is None else len(np.intersect1d(one, other)),
    }


def _classes(splits):
    """The number of examples of each class in each split, the most frequent in training first."""
    names = splits["train"].features.classes
    if not names or "label" not in splits["train"].columns:
        return {}
    counts = {split: np.bincount(source.columns["label"], minlength=len(names)) for split, source in splits.items()}
    order = np.argsort(-counts["train"], kind="stable")
    return {names[i]: {split: int(count[i]) for split, count in counts.items()} for i in order}


def _attributes(splits):
    """The share of each split that has an attribute, the most frequent in training first."""
    names = splits["train"].features.attributes
    if not names or "attributes" not in splits["train"].columns:
        return {}
    shares = {split: source.columns["attributes"].mean(axis=0) for split, source in splits.items()}
    order = np.argsort(-shares["train"], kind="stable")
    return {names[i]: {split: float(share[i]) for split, share in shares.items()} for i in order}


def _parts(splits, config):
    """The entries of `data.mix`: the share of training that each is given, and its examples in each split."""
    if PART not in splits["train"].columns:
        return {}
    parts = read_parts(config.mix)
    counts = {split: np.bincount(source.columns[PART], minlength=len(parts)) for split, source in splits.items()}
    total = sum(part.proportion for part in parts)
    return {
        part.entry: {"share": part.proportion / total} | {split: int(count[i]) for split, count in counts.items()}
        for i, part in enumerate(parts)
    }


def _examples(train, config, name):
    """The first examples of the first epoch as a training step takes them, above what the net sees of them."""
    count = min(SHOWN, len(train))
    batch = Order(len(train), count, config.seed, strata(train, config.data)).batch(0)
    examples = read_examples(train, batch.indices)
    prepare = jax.jit(lambda batch: for_training(batch, config.seed, config.data))
    prepared = jax.device_get(prepare({**examples, "epoch": batch.epoch}))
    classes = train.features.classes
    captions = [classes[label] for label in examples.get("label", ())] if classes else []
    options = {"captions": captions, "min_side": SIDE}
    if config.data.corrupt.kind == "none":
        picture = grids.grid(prepared.seen, COLUMNS, **options)
    else:
        picture = grids.named_rows({"original": prepared.clean, "seen": prepared.seen}, COLUMNS, **options)
    return with_heading(picture, f"{name}: the first {count} training examples, as a training step takes them")


def _mean(statistics: Statistics, name: str):
    """The mean picture beside the standard deviation of its pixels, over all channels, stretched to its largest."""
    stddev = np.sqrt((statistics.stddev**2).mean(axis=-1, keepdims=True))  # [H, W, 1]
    largest = stddev.max()
    pair = np.stack(np.broadcast_arrays(statistics.mean, stddev / (largest or 1)))
    captions = ["mean", f"standard deviation (white: {largest:.2f})"]
    return with_heading(grids.grid(pair, 2, captions=captions, min_side=MEAN_SIDE), f"{name}: all training examples")

"""The splits of a data set by the name of its source, which is the name of a module in `vae_jax.data.sources`."""

import difflib
import importlib
import pkgutil

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data import sources
from vae_jax.data.cache import cached
from vae_jax.data.fit import Fit
from vae_jax.data.pictures import BrokenPicture
from vae_jax.data.source import ArraySource, Source, hold_out
from vae_jax.errors import UserError


def open_splits(config: ConfigDict) -> dict[str, Source]:
    """The splits "train", "validation" and "test" of `config.source`; `config` is the `data` part of a config.

    Their images are of `config.image_size` and `config.channels`, cut out by `config.crop`; vectors are as they are.

    A source without a test split has `config.test_fraction` of its examples held out, and one without a validation
    split `config.validation_fraction` of its training examples, both drawn by `config.seed`. The validation split is
    what checkpoints are chosen by, so that the test split is never used for choosing.
    """
    for field in ("test_fraction", "validation_fraction"):
        if not 0 < config[field] < 1:
            raise UserError(f"data.{field} is {config[field]}; it must lie between 0 and 1.")
    splits = _ready(_source_module(config.source).open_splits(config), config)
    for name in ("test", "validation"):
        if name not in splits:
            splits["train"], splits[name] = hold_out(
                splits["train"], config[f"{name}_fraction"], seed=config.seed, name=name
            )
    _check_examples(splits, config)
    return splits


def _ready(found, config):
    """What a source has found, as examples of the size and channels that are wanted.

    Arrays are fitted where they are, in memory; pictures come from their cache.
    """
    _check_examples(found, config)
    train = found["train"]
    if not isinstance(train, ArraySource):
        fit = Fit(config.crop, tuple(config.image_size), config.channels or train.channels)
        return cached(found, fit, cache_dir=config.cache_dir, max_broken=config.max_broken)
    shape = train.features.shape
    if len(shape) != 3:
        return found
    fit = Fit(config.crop, tuple(config.image_size), config.channels or shape[2])
    try:
        return found if fit.keeps(shape) else {name: _fitted(split, fit) for name, split in found.items()}
    except BrokenPicture as error:
        raise UserError(f"data.source={config.source!r} has an image that can't be used: {error}.") from error


def _fitted(source, fit):
    images = np.stack([fit(image) for image in source.images])
    return ArraySource(images, source.columns.get("label"), source.features.classes)


def _check_examples(splits, config):
    for name, split in splits.items():
        if not len(split):
            raise UserError(f"data.source={config.source!r} gives no examples for the split {name}; all need some.")


def _source_module(name):
    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(f"data.source is {name!r}; it must be one of {', '.join(names)}{hint}.")
    return importlib.import_module(f"{sources.__name__}.{name}")

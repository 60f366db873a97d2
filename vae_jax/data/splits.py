"""The splits of a data set by the name of its source, which is the name of a module in `vae_jax.data.sources`."""

import difflib
import importlib
import pkgutil

from ml_collections import ConfigDict

from vae_jax.data import sources
from vae_jax.data.arrays import ArrayPictures
from vae_jax.data.cache import cached
from vae_jax.data.fit import Fit
from vae_jax.data.mix import open_mix
from vae_jax.data.source import ArraySource, Source, hold_out, join
from vae_jax.errors import UserError

MIX = "mix"  # the source that is several others
TRAIN_ON = ("train", "all")


def open_splits(config: ConfigDict) -> dict[str, Source]:
    """The splits "train", "validation" and "test" of `config.source`; `config` is the `data` part of a config.

    Their images are of `config.image_size` and `config.channels`, cut out by `config.crop`; vectors are as they are.
    The source "mix" has those of all the sources that `config.mix` names.

    A source without a test split has `config.test_fraction` of its examples held out, and one without a validation
    split `config.validation_fraction` of its training examples, both drawn by `config.seed`. The validation split is
    what checkpoints are chosen by, so that the test split is never used for choosing.

    With `config.train_on` "all" the training split is all three together, as in examples that report a training loss
    alone: the other two are then no longer held out, and an evaluation says so.
    """
    for field in ("test_fraction", "validation_fraction"):
        if not 0 < config[field] < 1:
            raise UserError(f"data.{field} is {config[field]}; it must lie between 0 and 1.")
    if config.source == MIX:
        return open_mix(config, open_splits)
    splits = _ready(_source_module(config.source).open_splits(config), config)
    for name in ("test", "validation"):
        if name not in splits:
            splits["train"], splits[name] = hold_out(
                splits["train"], config[f"{name}_fraction"], seed=config.seed, name=name
            )
    _check_examples(splits, config)
    if config.train_on == "all":
        splits["train"] = join(list(splits.values()))
    return splits


def _ready(found, config):
    """What a source has found, as examples of the size and channels that are wanted: as it is, or from its cache."""
    _check_examples(found, config)
    features = {name: split.features for name, split in found.items() if isinstance(split, ArraySource)}
    _check_alike(features, config)
    if features and len(features["train"].shape) != 3:
        return found  # vectors
    pictures = {name: ArrayPictures(split) if name in features else split for name, split in found.items()}
    fit = Fit(config.crop, tuple(config.image_size), config.channels or pictures["train"].channels)
    if features and all(fit.keeps(each.shape) for each in features.values()):
        return found
    return cached(pictures, fit, cache_dir=config.cache_dir, max_broken=config.max_broken)


def _check_examples(splits, config):
    for name, split in splits.items():
        if not len(split):
            raise UserError(
                f"data.source={config.source!r} gives no examples for the split {name}; all need some "
                f"(data.test_fraction={config.test_fraction}, data.validation_fraction={config.validation_fraction})."
            )


def _check_alike(features, config):
    """Pictures of other sizes can be resized; of anything else, the splits of arrays must have the same."""
    for name, each in features.items():
        train = features["train"]
        if (each.dtype, len(each.shape), each.shape[-1]) != (train.dtype, len(train.shape), train.shape[-1]):
            raise UserError(
                f"data.source={config.source!r} gives training examples {train.dtype} {train.shape} and {name} ones "
                f"{each.dtype} {each.shape}; all splits must have the same dtype and the same channels."
            )


def _source_module(name):
    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    if name not in names:
        names = sorted([*names, MIX])
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(f"data.source is {name!r}; it must be one of {', '.join(names)}{hint}.")
    return importlib.import_module(f"{sources.__name__}.{name}")

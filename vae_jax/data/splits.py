"""The splits of a data set by the name of its source, which is the name of a module in `vae_jax.data.sources`."""

import difflib
import importlib
import pkgutil

from ml_collections import ConfigDict

from vae_jax.data import sources
from vae_jax.data.source import Source, hold_out
from vae_jax.errors import UserError


def open_splits(config: ConfigDict) -> dict[str, Source]:
    """The splits "train", "validation" and "test" of `config.source`; `config` is the `data` part of a config.

    A source without a test split has `config.test_fraction` of its examples held out, and one without a validation
    split `config.validation_fraction` of its training examples, both drawn by `config.seed`. The validation split is
    what checkpoints are chosen by, so that the test split is never used for choosing.
    """
    for field in ("test_fraction", "validation_fraction"):
        if not 0 < config[field] < 1:
            raise UserError(f"data.{field} is {config[field]}; it must lie between 0 and 1.")
    splits = _source_module(config.source).open_splits(config)
    for name in ("test", "validation"):
        if name not in splits:
            splits["train"], splits[name] = hold_out(
                splits["train"], config[f"{name}_fraction"], seed=config.seed, name=name
            )
    shape = splits["train"].features.shape
    empty = [name for name, split in splits.items() if not len(split)]
    if empty:
        raise UserError(
            f"data.source={config.source!r} gives no examples for the split {empty[0]}; all three need some."
        )
    if len(shape) == 3 and shape[:2] != tuple(config.image_size):
        raise UserError(
            f"data.image_size is {tuple(config.image_size)}, but the images of data.source={config.source!r} are "
            f"{shape[:2]}; nothing resizes them yet, so set data.image_size={shape[:2]}."
        )
    return splits


def _source_module(name):
    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        raise UserError(f"data.source is {name!r}; it must be one of {', '.join(names)}{hint}.")
    return importlib.import_module(f"{sources.__name__}.{name}")

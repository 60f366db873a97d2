"""The contract of a study: what it is given, and what it gives back."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.source import Source
from vae_jax.errors import UserError
from vae_jax.inference import Model
from vae_jax.studies.inputs import Inputs, as_the_net_takes_them, read_split

LARGEST = 4e9  # bytes of the pictures that a study makes and keeps
NO_PRIOR = "This autoencoder was trained towards no prior"


@dataclasses.dataclass(frozen=True)
class Picture:
    """What a study shows: `pixels` uint8 [h, w, 3], or [T, h, w, 3] for an animation; `alt` says it in words."""

    pixels: np.ndarray
    alt: str


@dataclasses.dataclass(frozen=True)
class Result:
    """What a study gives: all its arrays, its pictures by file name, its figures (`evaluation.figures.figure`).

    `notes` are sentences that a reader of the figures must know.
    """

    arrays: dict[str, np.ndarray]
    pictures: dict[str, Picture]
    figures: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a study is given: a trained model, the inputs, the options, and the run's data when it asks for them.

    `config` is the run's, with `study.*` as the command has them. `noise` is that of an earlier study, to be used
    again, or None.
    """

    workdir: Path
    model: Model
    config: ConfigDict
    inputs: Inputs | None
    open_splits: Callable[[], Mapping[str, Source]]  # once, when they are first asked for
    noise: np.ndarray | None = None

    @property
    def options(self) -> ConfigDict:
        return self.config.study

    @functools.cached_property
    def images(self) -> np.ndarray:
        """The inputs as the net takes them, [B, H, W, C] float32 in [0, 1]."""
        return as_the_net_takes_them(self.inputs, self.config.data)

    @property
    def cond(self) -> np.ndarray | None:
        """What a conditional model is told of the inputs, [B, n]; None for any other."""
        return self.inputs.cond

    @property
    def told(self) -> tuple[float, ...] | None:
        """What the command says that a conditional model is told, [n]; None where it says nothing."""
        return tuple(self.options.cond) or None

    @property
    def deterministic(self) -> bool:
        """Whether the model is an autoencoder, whose posterior is a point, so that there is no KL and no prior."""
        return self.config.model.posterior == "point"

    @property
    def splits(self) -> Mapping[str, Source]:
        """The run's data; UserError where they are not there."""
        return self.open_splits()

    def examples(self, split: str, *, limit: int | None = None) -> Inputs:
        """The first `limit` examples of a split (None: all of them), with what is known of each in `columns`."""
        source = self.splits[split]
        count = len(source) if limit is None else min(limit, len(source))
        return read_split(source, split, np.arange(count))


@dataclasses.dataclass(frozen=True)
class Study:
    """A study: its name on the command line, its heading and chapter in the report, and what does it.

    `function` is for notebooks: `function(model, ...) -> dict of arrays`, where a conditional model is told `cond` of
    the images; one that draws noise can take it as `noise`, and `noise` here gives the shape of what it draws in a
    setting, None for nothing. `run` does the same in a setting, and measures and draws it. `inputs` is the least number
    of inputs that it needs, 0 where it takes none. `check` raises UserError, before anything is computed, where the
    study can't be made of this run or these inputs.
    """

    name: str
    title: str
    chapter: str  # of report.story
    function: Callable[..., dict[str, np.ndarray]]
    run: Callable[[Setting], Result]
    inputs: int = 1
    vectors: bool = False  # whether it can be made of a run on vectors
    check: Callable[[Setting], None] = lambda setting: None
    noise: Callable[[Setting], tuple[int, ...] | None] = lambda setting: None


def check_size(setting: Setting, decodes: int, *, field: str) -> None:
    """UserError where `decodes` pictures, which `field` makes so many, would take more memory than LARGEST."""
    size = decodes * math.prod(setting.model.shape) * np.dtype(np.float32).itemsize
    if size > LARGEST:
        raise UserError(
            f"{field} is {setting.options[field.removeprefix('study.')]}, by which a study would hold {decodes:,} "
            f"pictures or {size / 1e9:,.1f} GB, more than {LARGEST / 1e9:g} GB; lower it, or name fewer inputs."
        )


def latent_noise(setting: Setting) -> tuple[int, ...]:
    """The shape of `study.count` draws for each input's latent."""
    return (setting.options.count, len(setting.inputs), setting.config.model.latent)

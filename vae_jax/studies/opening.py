"""From what a command asks for to the setting of its studies."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vae_jax.config import differences
from vae_jax.data.named import check_condition
from vae_jax.errors import UserError
from vae_jax.inference import Model
from vae_jax.run import open_data
from vae_jax.studies.inputs import Inputs, read_inputs
from vae_jax.studies.study import Setting

DEFAULT_INPUT = "test:0-7"
REPLAYED = ("noise", "seed", "inputs", "inputs_name", "inputs_cond")  # of the arrays.npz of a study


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command line says of studies: the flags as they are, None where one is not given."""

    studies: str | None
    input: str | None = None
    noise: str | None = None
    align: bool = False


def open_setting(asked: Asked, workdir: Path, model: Model, config: ConfigDict, *, needs_inputs: bool) -> Setting:
    """The setting of studies of `model`; `config` has `study.*`, and where the run's data lie now.

    Without `needs_inputs`, there are inputs only where the command names some.
    UserError where the inputs or the noise can't be used. Nothing is compiled.
    """
    replayed = _read_noise(asked.noise)
    changed = differences(config, model.config)
    if changed:
        raise UserError(f"A study is of the run as it is, but the command changes {'; '.join(changed)}.")
    check_condition("study.cond", config.study.cond, model.config.model.cond)
    merged = model.config.copy_and_resolve_references()
    merged.update(study=config.study, data=config.data)
    merged.eval.features = config.eval.features
    merged.study.seed = int(replayed.get("seed", config.study.seed))
    open_splits = functools.cache(lambda: open_data(merged))
    if asked.input is None and "inputs" in replayed:
        if asked.align:
            raise UserError("--align=face is for pictures; the inputs of --noise are framed already.")
        inputs = _same_inputs(asked.noise, replayed, model.shape)
    elif asked.input is None and not needs_inputs:
        inputs = None
    else:
        spec = DEFAULT_INPUT if asked.input is None else asked.input
        inputs = read_inputs(spec, merged.data, model.shape, open_splits, align=asked.align)
    if inputs is not None and model.config.model.cond:
        inputs = _with_condition(inputs, merged)
    return Setting(workdir, model, merged, inputs, open_splits, replayed.get("noise"))


def _with_condition(inputs: Inputs, config: ConfigDict) -> Inputs:
    """The inputs with what a conditional model is told of them: `study.cond`, else what is known of each."""
    names = config.model.cond
    if config.study.cond:
        return inputs.told(config.study.cond)
    if inputs.cond is None:
        example = ",".join("1" if number == 0 else "0" for number in range(len(names)))
        raise UserError(
            f"The run is told {', '.join(names)} of each picture, and of these inputs nobody knows it; say it with "
            f'--config.study.cond="({example}{"," * (len(names) == 1)})", one number for each.'
        )
    return inputs


def _read_noise(path: str | None) -> dict[str, np.ndarray]:
    """The noise of the study whose arrays lie at `path`, its seed and its inputs; nothing without a path."""
    if path is None:
        return {}
    try:
        with np.load(path) as arrays:
            found = {name: arrays[name] for name in REPLAYED if name in arrays}
    except OSError as error:
        raise UserError(f"--noise is {path!r}, which can't be read ({error.strerror}).") from error
    except Exception as error:  # numpy and zipfile raise errors of every kind of a file that is none of theirs
        raise UserError(f"--noise is {path!r}, which is not the arrays.npz of a study.") from error
    if "noise" not in found:
        raise UserError(f"--noise is {path!r}, which holds no noise; name the arrays.npz of a study that draws some.")
    return found


def _same_inputs(path: str, replayed: dict[str, np.ndarray], shape: tuple[int, ...]) -> Inputs:
    images = replayed["inputs"]
    if images.shape[1:] != shape:
        raise UserError(f"--noise is {path!r}, whose inputs are {images.shape[1:]}; this run is on {shape}.")
    known = {"cond": replayed["inputs_cond"]} if "inputs_cond" in replayed else {}
    names = replayed.get("inputs_name", [f"input {i}" for i in range(len(images))])  # a notebook's have none
    return Inputs(images, None, tuple(map(str, names)), known, notes=(f"The inputs of {path}.",))

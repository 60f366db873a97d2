"""`--mode=import`: a run folder like any other from the weight files of another framework."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vae_jax.checkpoint import Checkpoints, named_leaves, with_leaves
from vae_jax.config import resolve
from vae_jax.disk import folder_written_aside
from vae_jax.errors import UserError
from vae_jax.mesh import make_mesh
from vae_jax.pretrained.architecture import read_architecture
from vae_jax.pretrained.files import file_hash, read_weights, refuse_duplicates
from vae_jax.pretrained.fit import Fit, fit
from vae_jax.pretrained.mapping import (
    Tensors,
    check_rules,
    found_modules,
    join_heads,
    pairs,
    split_heads,
    unused,
)
from vae_jax.run import Record, write_record
from vae_jax.state import TrainState, Variables
from vae_jax.steps import Steps
from vae_jax.validation import check_shape, get_field

PART_OF_A_MODEL = re.compile(r"(\w+)=(.+)")


def import_weights(
    workdir: Path, name: str, config: ConfigDict, weights: Sequence[str], *, partial: bool, command: str
) -> None:
    """Makes `workdir` a run of `config` whose checkpoint, at step 0, has the `weights`; the data need not be there.

    Each of `weights` is a file, or PREFIX=FILE for one of several that together hold a model. What does not fit is
    printed as a table and refused, unless `partial`: what is missing then keeps its initial values. In config.json the
    mapping is the one that was found, module by module, and the files are named with their hashes.
    """
    if workdir.exists():
        raise UserError(f"--workdir is {str(workdir)!r}, which is there already; import into a new folder.")
    if not weights:
        raise UserError("--weights names no file; write --mode=import --weights=FILE.")
    _check_kind(config)
    tensors, hashes = read_files(weights)
    if not config.pretrained.mapping and config.model.posterior != "point":
        tensors = split_heads(tensors)
    # A file's dtype is not a model's: float16 and bfloat16 are float32 exactly.
    lower = sorted({str(tensor.dtype) for tensor in tensors.values() if tensor.dtype.itemsize == 2})
    check_rules(config.pretrained.mapping)
    rules = found_modules(config.pretrained.mapping, tensors)
    if config.pretrained.mapping and not rules:
        raise UserError(
            f"--weights={','.join(weights)}: pretrained.mapping finds none of the modules of the file "
            f"({_some(tensors)})."
        )
    if config.pretrained.architecture == "file":
        read_architecture(config, rules, tensors)
    with config.ignore_type():
        config.pretrained.update(mapping=tuple(rules), files=hashes, architecture="config")
    resolve(config)
    shape = (*config.data.image_size, config.data.channels)
    if not config.data.channels:
        raise UserError("data.channels is 0; to import weights it must be 1 or 3, as the model has them.")
    check_shape(config, shape)
    steps = Steps(config, shape, make_mesh(config.mesh.devices))
    found = fit_to_model(config, steps, tensors)
    if found.wrong:
        print(found.table(), flush=True)
        if not found.values:
            raise UserError(f"{', '.join(weights)} has nothing that fits the model, see the table.")
        if not partial:
            raise UserError(_refusal(weights, found))
    state = _with_values(steps.init(), found.values, config)
    record = Record(name, config, shape)
    with folder_written_aside(workdir) as aside:
        with Checkpoints(aside / "checkpoints", clean=True) as checkpoints:
            checkpoints.save(0, state)
        write_record(aside, record, mesh=steps.mesh, command=command)
    if lower:
        print(f"The file's {' and '.join(lower)} tensors are float32 in the model, which changes none of them.")
    print(f"{workdir}: {len(found.values)} parameters of {', '.join(weights)}")


def read_files(weights: Sequence[str]) -> tuple[Tensors, tuple[str, ...]]:
    """The tensors of all files, those of PREFIX=FILE under "PREFIX.", and "NAME sha256:HASH" of each file."""
    named, hashes = [], []
    for entry in weights:
        part = PART_OF_A_MODEL.fullmatch(entry)
        prefix, path = (f"{part[1]}.", Path(part[2])) if part else ("", Path(entry))
        named += [(prefix + name, tensor) for name, tensor in read_weights(path.expanduser()).items()]
        hashes.append(f"{path.name} sha256:{file_hash(path.expanduser())}")
    refuse_duplicates(f"--weights={','.join(weights)}", [name for name, _ in named])
    return dict(named), tuple(hashes)


def fit_to_model(config: ConfigDict, steps: Steps, tensors: Tensors) -> Fit:
    """What of the tensors fits the model, by the found rules of its config."""
    rules, variables = config.pretrained.mapping, steps.abstract_state().variables
    zeros = {name: np.broadcast_to(np.float32(0), leaf.shape) for name, leaf in named_parameters(variables).items()}
    shapes = {name: zero.shape for name, zero in exchanged(zeros, config.model).items()}
    paired = pairs(rules, shapes, channels=map_channels(config.model))
    return fit(paired, tensors, shapes, unused=unused(rules, tensors))


def named_parameters(variables: Variables) -> dict:
    """Parameters and statistics of a model by name, as "encoder.convs.0.kernel"."""
    return {_parameter(path): leaf for path, leaf in named_leaves(variables).items()}


def _parameter(path: str) -> str:
    """What a parameter is called whose leaf is at `path`, "params.NAME.value" or "model_state.NAME.value"."""
    return path.partition(".")[2].removesuffix(".value")


def exchanged(parameters: Tensors, model: ConfigDict) -> Tensors:
    """The parameters of a config's `model` as mappings name them: the heads of a posterior as two, if it has two."""
    return parameters if model.posterior == "point" else split_heads(parameters)


def map_channels(model: ConfigDict) -> dict[str, int]:
    """The channels of the maps beside the dense layers, for nets that have them."""
    encoder, decoder = model.encoder, model.decoder
    return {
        name: net.channels[place]
        for name, net, place in (("encoder", encoder, -1), ("decoder", decoder, 0))
        if "channels" in net
    }


def _check_kind(config: ConfigDict) -> None:
    """Raises UserError for what takes the data to be known, and for many runs in one."""
    for name in ("model.cond", "model.target", *(f"train.replicas.{field}" for field in config.train.replicas)):
        if value := get_field(config, name):
            raise UserError(
                f"{name} is {tuple(value)!r}; it must be () for --mode=import, which makes one run of a VAE without "
                f"conditions."
            )


def _with_values(state: TrainState, values: Tensors, config: ConfigDict) -> TrainState:
    """The initial state with the imported values in the place of the initial ones, in the averaged variables too."""

    def imported(variables: Variables) -> Variables:
        initial = {name: np.asarray(leaf) for name, leaf in named_parameters(variables).items()}
        named = {**exchanged(initial, config.model), **values}
        joined = named if config.model.posterior == "point" else join_heads(named)
        paths = {path: joined[_parameter(path)] for path in named_leaves(variables)}
        return with_leaves(jax.tree.map(jnp.asarray, paths), variables)

    changes = {"variables": imported(state.variables), "ema": state.ema and imported(state.ema)}
    return dataclasses.replace(state, **changes)


def _refusal(weights: Sequence[str], found: Fit) -> str:
    first, *others = found.wrong
    more = f" and {len(others)} more" if others else ""
    return (
        f"{', '.join(weights)} does not fit the model ({first.verdict.lower()}: {first}{more}, see the table); set "
        f"model.* and pretrained.mapping to what the file has, or import what fits with --partial."
    )


def _some(tensors: Tensors) -> str:
    names = list(tensors)
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")

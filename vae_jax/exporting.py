"""`--mode=export`: a run's model for others, as .safetensors, as a PyTorch state dict or as compiled functions."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export
from safetensors.numpy import save

from vae_jax import __version__, rng
from vae_jax.disk import folder_written_aside
from vae_jax.errors import UserError
from vae_jax.importing import exchanged, map_channels, named_parameters
from vae_jax.inference import Model
from vae_jax.nn.layers import check_choice
from vae_jax.pretrained.mapping import Tensors, counted, pairs
from vae_jax.pretrained.torch_names import conv_rules
from vae_jax.steps import Steps

PLATFORMS = ("cpu", "cuda", "tpu")


def export(model: Model, workdir: Path, *, kind: str) -> list[Path]:
    """Writes the model into workdir/export/KIND, and returns the files; UserError for what can't be written.

    `kind` is one of FORMATS.
    """
    if model.config.model.target and kind != "safetensors":
        raise UserError(
            f"--format is {kind!r}, but {workdir} holds a classifier, of which only safetensors are written."
        )
    files = FORMATS[kind](model)
    folder = workdir / "export" / kind
    with folder_written_aside(folder) as aside:
        for name, content in files.items():
            (aside / name).write_bytes(content)
    return sorted(folder.iterdir())


def check_format(kind: str) -> None:
    """Raises UserError for a --format that is not known."""
    check_choice("--format", kind, tuple(FORMATS))


def torch_state_dict(model: Model) -> Tensors:
    """The parameters as PyTorch's layers have them: under the names they were imported by, else those of `conv_rules`.

    A convolution before BatchNorm, which has no bias here, gets one of zeros.
    """
    config, parameters = model.config, _parameters(model)
    rules = config.pretrained.mapping or conv_rules(config.model)
    named = exchanged(parameters, config.model)
    state: dict[str, np.ndarray] = {}
    for pair in pairs(rules, named, channels=map_channels(config.model)):
        if pair.ours in named:
            state[pair.theirs] = state.get(pair.theirs, 0) + pair.to_theirs(named[pair.ours])
    norms = [name for name in counted(rules) if name.rpartition(".")[0] + ".weight" in state]
    return state | {name: np.zeros((), np.int64) for name in norms}


def functions(model: Model) -> dict[str, tuple[Callable, tuple]]:
    """What is compiled for others, each with the shapes of its arguments for any number B of images.

    encode: x [B, H, W, C] -> the posterior's mean and stddev [B, Z]. decode: z [B, Z] -> [B, H, W, C] in [0, 1].
    sample: seed (uint32), numbers [B] (uint32) -> the samples of these numbers under the seed, [B, H, W, C].
    Those of a conditional model take cond [B, n] last.
    """
    config = model.config.copy_and_resolve_references()
    config.convolution = "xla"  # the other lowering is for this machine's CPU
    steps, variables = Steps(config, model.shape, model.mesh), model.variables

    def encode(x, *cond):
        posterior = steps.encode(variables, x, *cond)
        return posterior.mean, posterior.stddev

    def decode(z, *cond):
        return _pixels(steps.decode(variables, z, *cond))

    def sample(seed, numbers, *cond):
        _, x = steps.sample(variables, rng.per_example(rng.stream(seed, "sample"), numbers), *cond)
        return _pixels(x)

    def _pixels(x):
        return jnp.clip(x, 0, 1) if len(model.shape) == 3 else x

    (b,) = jax_export.symbolic_shape("b")
    floats, integers = jnp.float32, jnp.uint32
    conditions = len(config.model.cond)
    cond = (jax.ShapeDtypeStruct((b, conditions), floats),) if conditions else ()
    return {
        "encode": (encode, (jax.ShapeDtypeStruct((b, *model.shape), floats), *cond)),
        "decode": (decode, (jax.ShapeDtypeStruct((b, config.model.latent), floats), *cond)),
        "sample": (sample, (jax.ShapeDtypeStruct((), integers), jax.ShapeDtypeStruct((b,), integers), *cond)),
    }


def _safetensors(model: Model) -> dict[str, bytes]:
    """Our parameters under our names, which --mode=import takes without a mapping; the config is in the metadata."""
    metadata = {
        "config": json.dumps(model.config.to_dict()),
        "shape": json.dumps(model.shape),
        "step": str(model.step),
        "vae_jax": __version__,
    }
    return {"model.safetensors": save(_parameters(model), metadata=metadata)}


def _torch(model: Model) -> dict[str, bytes]:
    try:
        import torch
    except ImportError as error:
        raise UserError("--format=torch needs torch to write its file: pip install torch.") from error
    state = {name: torch.from_numpy(np.array(value, order="C")) for name, value in torch_state_dict(model).items()}
    content = io.BytesIO()
    torch.save(state, content)
    return {"model.pt": content.getvalue()}


def _stablehlo(model: Model) -> dict[str, bytes]:
    try:
        import flatbuffers  # noqa: F401 - jax.export serialises by it
    except ImportError as error:
        raise UserError("--format=stablehlo needs flatbuffers: pip install flatbuffers.") from error
    return {
        f"{name}.stablehlo": jax_export.export(jax.jit(function), platforms=PLATFORMS)(*arguments).serialize()
        for name, (function, arguments) in functions(model).items()
    }


def _parameters(model: Model) -> dict[str, np.ndarray]:
    named = jax.device_get(named_parameters(model.variables))
    return {name: np.ascontiguousarray(value) for name, value in named.items()}


FORMATS = {"safetensors": _safetensors, "torch": _torch, "stablehlo": _stablehlo}

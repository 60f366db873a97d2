"""What a config may hold, checked before anything compiles; every complaint is one sentence."""

import importlib
import math
import pkgutil
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict

import vae_jax.nn
from vae_jax.axis import AXES
from vae_jax.data.corruption import KINDS, check_corruption
from vae_jax.data.fit import check_crop
from vae_jax.data.pipeline import DELIVERIES
from vae_jax.data.splits import TRAIN_ON
from vae_jax.data.transforms import BINARIZATIONS
from vae_jax.distributions import LOG_STDDEV_FLOOR
from vae_jax.errors import UserError
from vae_jax.nn.convolution_layers import LOWERINGS
from vae_jax.nn.layers import ACTIVATIONS, LAST_LAYERS, NORMS, check_choice, mirrored
from vae_jax.nn.vgg import LAYERS, WHERE_TO_GET_IT
from vae_jax.study_options import LARGEST_FLOAT32, check_study

SMALLEST_FLOAT32 = float(np.finfo(np.float32).tiny)  # that is normal: positive

SEEDS = 2**32  # of a key
OF_A_KL = ("objective.kl", "objective.free_bits", "objective.capacity")
OF_A_VAE = (
    "model.cond",
    "objective.free_bits",
    "objective.capacity",
    "train.replicas.kl",
    "perceptual.weights",
    "eval.features",
    "eval.importance_samples",
)
MAX_SAMPLES = 10_000  # held in memory at once


def check_values(config: ConfigDict) -> None:
    """Raises UserError for the first value that no data set could make right."""
    _check_choices(config)
    _check_numbers(config)
    check_corruption(config.data.corrupt, config.data.image_size)
    check_study(config.study)


def check_net(net: str, options: Mapping) -> None:
    """Raises UserError for the first option of the encoder or decoder that is wrong whatever its images are."""
    if net == "model.encoder" and not hasattr(family(options["family"]), "Encoder"):
        raise UserError(f"{net}.family is {options['family']!r}, which is for decoders only; take another, as 'conv'.")
    for name, allowed in (("activation", tuple(ACTIVATIONS)), ("norm", NORMS)):
        if name in options:
            check_choice(f"{net}.{name}", options[name], allowed)
    if "last_layer" in options:
        check_choice(f"{net}.last_layer", options["last_layer"], LAST_LAYERS)
        check_choice(f"{net}.dense_activation", options["dense_activation"], ("same", *ACTIVATIONS))
    for name in ("widths", "channels", "dense"):
        if name in options and not _sizes(options[name]):
            raise UserError(f"{net}.{name} is {options[name]!r}; it must be a tuple of positive integers, as (32, 64).")
    if options.get("channels") == ():
        raise UserError(f"{net}.channels is (); it must name the channels of one convolution or more.")
    for name in ("kernel", "stride"):
        if name in options and not _sizes(_one_a_layer(options[name])):
            raise UserError(f"{net}.{name} is {options[name]!r}; it must be a positive integer, or a tuple of them.")
    for name, least in (("blocks", 1), ("attention", 0)):
        if name in options and not _size(options[name], least):
            raise UserError(f"{net}.{name} is {options[name]!r}; it must be an integer, {least} or more.")
    if not all(entry == "same" or _size(entry, 0) for entry in _one_a_layer(options.get("padding", ()))):
        raise UserError(f"{net}.padding is {options['padding']!r}; it must be 'same', pixels, or a tuple of these.")


def check_shape(config: ConfigDict, shape: tuple[int, ...]) -> None:
    """Raises UserError where the nets can't take in, or give back, examples of `shape`."""
    encoder, decoder = config.model.encoder, config.model.decoder
    family(encoder.family).check(net_options(encoder), shape, field="model.encoder")
    if config.model.target:
        return
    family(decoder.family).check(mirrored(net_options(decoder)), shape, field="model.decoder")
    if config.model.likelihood == "bernoulli" and len(shape) != 3:
        raise UserError(
            "model.likelihood is 'bernoulli', which is of pixels in [0, 1], and the examples are vectors of any "
            "numbers; it must be gaussian or laplace."
        )


def family(name: str):
    """The module of vae_jax/nn that holds the family `name`: OPTIONS, check, Decoder and, mostly, Encoder."""
    modules = {
        m.name: importlib.import_module(f"vae_jax.nn.{m.name}") for m in pkgutil.iter_modules(vae_jax.nn.__path__)
    }
    families = {name: module for name, module in modules.items() if hasattr(module, "OPTIONS")}
    if name not in families:
        raise UserError(f"model.encoder or model.decoder has family={name!r}; it must be one of {', '.join(families)}.")
    return families[name]


def family_options(net: str, name: str) -> dict:
    """The options, with their defaults, of the family `name` as the "encoder" or the "decoder"."""
    module = family(name)
    return {**module.OPTIONS, **(getattr(module, "DECODER_OPTIONS", {}) if net == "decoder" else {})}


def net_options(net: ConfigDict) -> dict:
    """The options of an encoder or decoder, without the name of its family."""
    return {name: value for name, value in net.to_dict().items() if name != "family"}


def _check_choices(config: ConfigDict) -> None:
    for name, allowed in {
        "data.binarization": BINARIZATIONS,
        "data.corrupt.kind": KINDS,
        "data.delivery": DELIVERIES,
        "data.train_on": TRAIN_ON,
        "model.posterior": ("normal", "softplus", "point"),
        "model.likelihood": ("gaussian", "laplace", "bernoulli"),
        "model.variance_kind": ("fixed", "single", "per_pixel"),
        "model.output": ("sigmoid", "identity"),
        "optimizer.name": ("adam", "adamw", "muon", "sgd"),
        "optimizer.schedule": ("constant", "cosine"),
        "pretrained.architecture": ("config", "file"),
        "train.replica_axis": AXES,
        "dtype": ("float32", "bfloat16"),
        "convolution": ("auto", *LOWERINGS),
        "matmul_precision": ("default", "high", "highest"),
    }.items():
        check_choice(name, get_field(config, name), allowed)
    check_crop(config.data.crop)
    if config.model.posterior == "point":
        _refuse(config, OF_A_KL, "model.posterior='point', which has no KL")
    if config.model.target:
        _refuse(config, OF_A_VAE, f"model.target={tuple(config.model.target)}, which makes the model a classifier")
    objective = config.objective
    if not (objective.reconstruction or objective.perceptual or config.train.replicas.perceptual):
        raise UserError(
            f"objective.reconstruction is {objective.reconstruction} with objective.perceptual="
            f"{objective.perceptual}, so nothing teaches the decoder; one of them must be more than 0."
        )
    if config.objective.perceptual and not config.perceptual.weights:
        raise UserError(
            f"objective.perceptual is {config.objective.perceptual} with perceptual.weights=''; name the file of a "
            f"VGG-19 with --config.perceptual.weights=FILE ({WHERE_TO_GET_IT})."
        )
    if not config.perceptual.layers or any(layer not in LAYERS for layer in config.perceptual.layers):
        raise UserError(
            f"perceptual.layers is {config.perceptual.layers!r}; it must be a tuple of one or more of "
            f"{', '.join(LAYERS)}."
        )
    if config.data.dequantize and config.data.binarization != "none":
        raise UserError(
            f"data.dequantize is True with data.binarization={config.data.binarization!r}, whose pixels have no grey "
            "levels to spread; set one of them to its default."
        )
    if config.data.mix and config.data.source != "mix":
        raise UserError(
            f"data.mix is {tuple(config.data.mix)!r} with data.source={config.data.source!r}; only data.source='mix' "
            "has it."
        )
    if config.data.source == "mix" and config.data.dir:
        raise UserError(
            f"data.dir is {config.data.dir!r} with data.source='mix', which reads no folder of its own; name the "
            "folders in data.mix, as 'folder:~/faces=0.3'."
        )
    if config.optimizer.weight_decay and config.optimizer.name not in ("adamw", "muon"):
        raise UserError(
            f"optimizer.weight_decay is {config.optimizer.weight_decay} with optimizer.name="
            f"{config.optimizer.name!r}; only 'adamw' and 'muon' have it."
        )


def _refuse(config: ConfigDict, names: tuple[str, ...], reason: str) -> None:
    """Raises UserError for the first of the fields `names` that is set, which has no meaning for that reason."""
    for name in names:
        value = get_field(config, name)
        if value:
            raise UserError(f"{name} is {value!r} with {reason}; set it to {type(value)()!r}.")


def _check_numbers(config: ConfigDict) -> None:
    at_least = {
        "model.latent": 1,
        "train.batch_size": 1,
        "train.epochs": 1,
        "train.steps": 1,
        "train.steps_per_call": 1,
        "train.log_every": 1,
        "train.eval_every": 1,
        "train.checkpoint_every": 1,
        "eval.batch_size": 1,
        "eval.importance_samples": 0,
        "eval.importance_examples": 1,
        "optimizer.accumulate": 1,
        "optimizer.warmup_steps": 0,
        "optimizer.clip_norm": 0,
        "optimizer.weight_decay": 0,
        "objective.reconstruction": 0,
        "objective.perceptual": 0,
        "objective.kl": 0,
        "objective.kl_warmup": 0,
        "objective.free_bits": 0,
        "objective.capacity": 0,
        "objective.capacity_steps": 0,
        "data.workers": 0,
        "data.corrupt.amount": 0,
        "data.corrupt.patch": 1,
        "data.corrupt.weight": 0,
        "sample.count": 1,
        "study.count": 1,
        "study.cycles": 1,
        "study.examples": 2,
        "study.mixture": 1,
    }
    for name, least in at_least.items():
        value = get_field(config, name)
        if value is not None and not least <= value <= LARGEST_FLOAT32:
            bound = f"at most {LARGEST_FLOAT32:.1e}" if value >= least else f"{least} or more"
            raise UserError(f"{name} is {value}; it must be {bound}.")
    if config.sample.count > MAX_SAMPLES:
        raise UserError(
            f"sample.count is {config.sample.count}; it must be at most {MAX_SAMPLES:,}: "
            f"--mode=study --study=sample --config.study.count={config.sample.count} writes more, file by file."
        )
    for name in ("seed", "data.seed", "sample.seed", "study.seed"):
        if not 0 <= get_field(config, name) < SEEDS:
            raise UserError(f"{name} is {get_field(config, name)}; it must be from 0 to {SEEDS - 1}.")
    for name in ("optimizer.learning_rate", "model.variance"):
        if not SMALLEST_FLOAT32 <= get_field(config, name) <= LARGEST_FLOAT32:
            raise UserError(
                f"{name} is {get_field(config, name)}; it must be more than 0: "
                f"from {SMALLEST_FLOAT32:.1e} to {LARGEST_FLOAT32:.1e}."
            )
    floor = math.exp(2 * LOG_STDDEV_FLOOR)
    if config.model.variance_kind == "single" and config.model.variance <= floor:
        raise UserError(
            f"model.variance is {config.model.variance}; with variance_kind='single' it must be more than {floor:.1e}."
        )
    if not 0 <= config.optimizer.ema < 1:
        raise UserError(f"optimizer.ema is {config.optimizer.ema}; it must be at least 0 and below 1.")
    if config.data.channels not in (0, 1, 3):
        raise UserError(f"data.channels is {config.data.channels}; it must be 1, 3, or 0 for what the source has.")
    if not 0 <= config.data.max_broken < 1:
        raise UserError(f"data.max_broken is {config.data.max_broken}; it must be at least 0 and below 1.")
    size = config.data.image_size
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(f"data.image_size is {tuple(size)}; it must be two positive integers (height, width).")


def _one_a_layer(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _sizes(value) -> bool:
    return isinstance(value, tuple) and all(_size(entry, 1) for entry in value)


def _size(value, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def get_field(config: ConfigDict, name: str):
    """The value of the dotted field `name`."""
    node = config
    for part in name.split("."):
        node = node[part]
    return node

"""An experiment's config: its defaults, how a file and the command line change them, and what is refused."""

import ast
import difflib
import importlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict, config_dict

from vae_jax.errors import UserError
from vae_jax.nn.layers import check_choice, mirrored
from vae_jax.study_options import STUDY
from vae_jax.validation import check_net, check_values, family_options, get_field, net_options

# What makes a run the same run; everything else may change when it is resumed.
IDENTITY = (
    "seed",
    "data.source",
    "data.name",
    "data.mix",
    "data.crop",
    "data.image_size",
    "data.channels",
    "data.balance",
    "data.flip",
    "data.binarization",
    "data.dequantize",
    "data.corrupt",
    "data.test_fraction",
    "data.validation_fraction",
    "data.train_on",
    "data.seed",
    "model",
    "objective",
    "perceptual.sha256",
    "perceptual.layers",
    "optimizer",
    "train.batch_size",
    "train.replicas",
    "dtype",
    "matmul_precision",
)


NETS = ("model.encoder", "model.decoder")  # their fields are the options of the family that they name


def default_config() -> ConfigDict:
    """Every field with its default; an experiment's file changes what makes it that experiment."""
    return ConfigDict(
        {
            "seed": 0,  # initial weights, order of the examples, training noise
            "dtype": "float32",  # what the nets compute in; parameters and losses are float32
            "matmul_precision": "default",  # default | high | highest (what default means depends on the device)
            "convolution": "auto",  # xla (jax's own) | cpu (forms that are fast there) | auto (by the devices)
            "remat": False,  # keep no activations inside convolutional layers: less memory, a third more arithmetic
            "data": {
                "source": "digits",  # a module of vae_jax/data/sources
                "dir": "",  # where the data lie, for the sources that read files
                "name": "mnist",  # the data set's name, for the source "tfds"
                "mix": (),  # for the source "mix": ("celeba=0.7", "folder:~/faces=0.3"), SOURCE[:DIR]=PROPORTION
                "crop": "whole",  # whole | center (of image_size's aspect) | HxW[+TOP+LEFT] | celeba_148 | celeba_178
                "image_size": (8, 8),  # (height, width) that the cropped pictures are resized to
                "channels": 0,  # 1 (grey) | 3 (colour) | 0: as the source has them
                "max_broken": 0.01,  # share of the pictures that may be broken before it is an error
                "cache_dir": "",  # of the decoded pictures; default: the user's cache folder
                "balance": "",  # an attribute or "label": its groups are trained on equally often
                "flip": False,  # left and right, by chance, in training
                "binarization": "none",  # none | threshold | dynamic (a Bernoulli draw an epoch)
                "dequantize": False,  # uniform noise of one grey level on uint8 pictures
                "corrupt": {  # what the net sees; it is scored on the whole picture
                    "kind": "none",  # none | noise | box | patches
                    "amount": 0.5,  # noise: its stddev; box: its side; patches: the share of them that is masked
                    "patch": 8,  # pixels on a side
                    "weight": 1.0,  # of a masked pixel in the reconstruction, where a seen one has 1
                },
                "test_fraction": 0.2,  # of the whole, where the source has no test split of its own
                "validation_fraction": 0.1,  # of the training split: it picks the best checkpoint
                "train_on": "train",  # train (split) | all (of the splits: nothing is held out then)
                "seed": 0,  # of the splits, and of the one Bernoulli draw of held-out images
                "delivery": "auto",  # device | host | auto
                "workers": 0,  # processes that read for host delivery; 0: threads
            },
            "model": {
                "encoder": {"family": "mlp"},  # a module of vae_jax/nn, with the options it names
                "decoder": {"family": "mlp", "mirror": True},
                "latent": 8,
                "cond": (),  # attributes that the nets are told, or ("label",), or ("attributes",) for all there are
                "target": (),  # named likewise: with it the model is a classifier of these, an encoder alone
                "posterior": "normal",  # normal (by log-variance) | softplus | point (an autoencoder)
                "likelihood": "gaussian",  # gaussian | laplace | bernoulli
                "variance": 1.0,  # of a pixel; where it is learned, what it starts from (per_pixel: not used)
                "variance_kind": "fixed",  # fixed | single (learned) | per_pixel (learned)
                "output": "sigmoid",  # of the gaussian's or laplace's mean: sigmoid | identity
            },
            "objective": {
                "reconstruction": 1.0,  # weight of −log p(x|z)
                "perceptual": 0.0,  # nats for each unit of the perceptual distance, in the objective beside the others
                "kl": 1.0,  # β
                "kl_warmup": 0,  # steps over which β rises from 0
                "free_bits": 0.0,  # nats a latent dimension may cost for nothing
                "capacity": 0.0,  # C in β·|KL − C|, nats
                "capacity_steps": 0,  # steps over which C rises from 0
            },
            "perceptual": {  # ½ the mean squared difference of a frozen VGG-19's features, summed over layers
                "weights": "",  # the net's file, .pth, .safetensors or .npz; the distance is measured where it is named
                "sha256": "",  # of that file; filled in when it is read
                "layers": ("relu1_1", "relu2_1", "relu3_1"),
            },
            "optimizer": {
                "name": "adam",  # adam | adamw | sgd
                "learning_rate": 1e-4,
                "schedule": "constant",  # constant | cosine (to 0 over decay_steps)
                "warmup_steps": 0,  # parameter updates
                "decay_steps": 0,
                "weight_decay": 0.0,  # adamw only
                "clip_norm": 0.0,  # of the gradient; 0: none
                "ema": 0.0,  # decay of the averaged parameters; 0: none
                "accumulate": 1,  # batches a parameter update
            },
            "pretrained": {  # what --mode=import does
                # (source module, our module, layout): see vae_jax/pretrained/mapping.py; (): the names are ours
                "mapping": (),
                "architecture": "config",  # widths, depth, kernels, norms, latent: config (as it says) | file (its own)
                "files": (),  # what was imported, filled in: each file's name and hash
            },
            "train": {
                "batch_size": 64,
                "epochs": 20,
                "steps": config_dict.placeholder(int),  # instead of epochs
                "steps_per_call": 8,  # K, steps in one compiled call
                "log_every": config_dict.placeholder(int),  # steps; default: an epoch, at most 100 or a tenth of all
                "eval_every": config_dict.placeholder(int),  # steps; default: about an epoch, at least 100
                "checkpoint_every": config_dict.placeholder(int),  # steps; default: as eval_every
                # Many runs in one program: the values that replica 0, 1, ... has in the place of the config's one.
                "replicas": {
                    "seed": (),
                    "kl": (),  # objective.kl
                    "capacity": (),  # objective.capacity
                    "perceptual": (),  # objective.perceptual
                },
                "replica_axis": "auto",  # map | vmap | auto (map on the CPU)
            },
            "eval": {
                "batch_size": 256,
                "importance_samples": 0,  # K of the importance-weighted −log p(x); 0: not estimated
                "importance_examples": config_dict.placeholder(int),  # of the test split; default: all
                "ema": True,  # evaluate the averaged parameters where there are any
            },
            "sample": {
                "count": 64,
                "seed": 0,
                "cond": (),  # one number for each of model.cond; () draws conditions as often as training had them
            },
            "study": STUDY,  # what --mode=study does: vae_jax/study_options.py
            "profile": "",  # START:STOP, training steps of which a trace is written into the run folder
            "mesh": {
                "devices": 0,  # 0: all
                "fsdp": 1,  # devices that share one copy of the state, for nets that don't fit on each
            },
        }
    )


def load_file(spec: str) -> ConfigDict:
    """The config of `path.py` or `path.py:argument` (the argument goes to its `get_config`).

    A file that has `ARGUMENTS` takes no others.
    """
    path, _, argument = spec.partition(":")
    if not path.endswith(".py") or not Path(path).is_file():
        raise UserError(f"--config is {path!r}, which is no Python file; name a config such as configs/digits.py.")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        if argument:
            check_choice(f"the argument of {path}", argument, getattr(module, "ARGUMENTS", (argument,)))
        config = module.get_config(argument) if argument else module.get_config()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--config={spec} could not be read: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise UserError(f"--config={spec}: get_config() must return a ConfigDict, not a {type(config).__name__}.")
    return config


def name_of(spec: str) -> str:
    """The name of the experiment of `path.py` ("path") or `path.py:argument` ("path_argument")."""
    path, _, argument = spec.partition(":")
    return "_".join([Path(path).stem, *re.findall(r"[\w.-]+", argument)])


def override(config: ConfigDict, arguments: Sequence[str]) -> None:
    """Applies `--config.field=value` arguments in place; the field must exist and the value be of its type."""
    # A family first: which options there are depends on it.
    for argument in sorted(arguments, key=lambda text: ".family=" not in text):
        name, equals, value = argument.removeprefix("--config.").partition("=")
        if not equals:
            raise UserError(f"{argument}: write it as --config.{name}=VALUE.")
        group, _, field = name.rpartition(".")
        if group in NETS:
            with get_field(config, group).ignore_type():
                get_field(config, group)[field] = _net_option(config, group, field, value)
            continue
        _check_field(config, name)
        node = get_field(config, group) if group else config
        try:
            node[field] = value if isinstance(node[field], str) else _parse(value)
        except (ValueError, SyntaxError, TypeError) as error:
            raise UserError(f"{name} is {value!r}; it must be {_type_name(node[field])}.") from error


def resolve(config: ConfigDict) -> None:
    """Fills in, in place, the options of the encoder's and decoder's families; then checks every value.

    UserError names the first field that is wrong, its value and what is allowed.
    """
    _check_fields(config, default_config())
    encoder = _with_options(config, "encoder", {})
    if not config.model.target:  # a classifier has no decoder
        _resolve_decoder(config, encoder)
    check_values(config)


def _resolve_decoder(config: ConfigDict, encoder: ConfigDict) -> None:
    decoder, options = config.model.decoder, {}
    if decoder.get("mirror", False):
        if decoder.get("family") != encoder.family:
            raise UserError(
                f"model.decoder.family is {decoder.get('family')!r} with mirror=True; it must be the encoder's, "
                f"{encoder.family!r}, or mirror must go."
            )
        options = mirrored(net_options(encoder))
    _with_options(config, "decoder", options)


def differences(config: ConfigDict, saved: ConfigDict) -> list[str]:
    """The identity fields in which two resolved configs differ, as "field: saved → now"."""
    now, then = _flat(config), _flat(saved)
    return [
        f"{name}: {then.get(name)!r} → {now.get(name)!r}"
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name) and any(name == field or name.startswith(field + ".") for field in IDENTITY)
    ]


def _parse(value: str):
    return {"true": True, "false": False}.get(value) if value in ("true", "false") else ast.literal_eval(value)


def _with_options(config: ConfigDict, net: str, undoing: Mapping) -> ConfigDict:
    """Fills in the options of a net's family: as given, else as `undoing` has them, else the family's defaults."""
    given = config.model[net].to_dict()
    given.pop("mirror", None)
    defaults = family_options(net, given.get("family", ""))
    for name in given:
        if name != "family" and name not in defaults:
            raise UserError(_unknown(f"model.{net}.{name}", name, defaults))
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    options = {**defaults, **undoing, **given}
    check_net(f"model.{net}", options)
    config.model[net] = ConfigDict(options)
    return config.model[net]


def _net_option(config: ConfigDict, net: str, name: str, value: str):
    """The value of one option of a net from the command line, of any type: `resolve` checks it."""
    known = ("family", "mirror", *family_options(net.split(".")[-1], get_field(config, net).get("family", "")))
    if name not in known:
        raise UserError(_unknown(f"{net}.{name}", name, known))
    try:
        return _parse(value)
    except (ValueError, SyntaxError):
        return value


def _check_fields(config: Mapping, defaults: Mapping, prefix: str = "") -> None:
    for name, value in config.items():
        if name not in defaults:
            raise UserError(_unknown(prefix + name, name, defaults))
        if value is None and defaults[name] is not None:
            raise UserError(f"{prefix}{name} is None; it must be {_type_name(defaults[name])}.")
        if isinstance(defaults[name], ConfigDict) and prefix + name not in NETS:
            _check_fields(value, defaults[name], f"{prefix}{name}.")


def _check_field(config: ConfigDict, name: str) -> None:
    node, parts = config, name.split(".")
    for depth, part in enumerate(parts, 1):
        if not isinstance(node, ConfigDict) or part not in node:
            known = list(node) if isinstance(node, ConfigDict) else []
            raise UserError(_unknown(".".join(parts[:depth]), part, known))
        node = node[part]
    if isinstance(node, ConfigDict):
        raise UserError(f"{name} is a group of fields; set one of {', '.join(f'{name}.{field}' for field in node)}.")


def _unknown(full: str, name: str, known) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = (
        f"did you mean {full[: len(full) - len(name)]}{near[0]}?"
        if near
        else f"known: {', '.join(known) or 'none below it'}."
    )
    return f"There is no config field {full}; {hint}"


def _flat(config: Mapping, prefix: str = "") -> dict:
    flat = {}
    for name, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def _type_name(value) -> str:
    names = {int: "an integer", float: "a number", bool: "true or false", str: "text", tuple: "a tuple, as (1, 2)"}
    return names.get(type(value), "an integer")

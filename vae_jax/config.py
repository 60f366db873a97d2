"""An experiment's config: how a file and the command line change the defaults, and what is refused."""

import ast
import difflib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from vae_jax.defaults import IDENTITY, default_config
from vae_jax.errors import UserError
from vae_jax.nn.layers import check_choice, mirrored
from vae_jax.validation import check_net, check_values, family_options, get_field, net_options

NETS = ("model.encoder", "model.decoder")  # their fields are the options of the family that they name


def load_file(spec: str) -> ConfigDict:
    """The config of `path.py` or `path.py:argument` (the argument goes to its `get_config`).

    A file that has `ARGUMENTS` takes no others.
    """
    path, colon, argument = spec.partition(":")
    if colon and not argument:
        raise UserError(f"--config={spec} has no argument after its colon; leave the colon out.")
    if not path.endswith(".py") or not Path(path).is_file():
        raise UserError(f"--config is {path!r}, which is no Python file; name a config such as configs/digits.py.")
    module_spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
        if argument and not inspect.signature(module.get_config).parameters:
            raise UserError(f"--config={spec} has the argument {argument!r}; {path} takes none.")
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
            former = get_field(config, group).get("family", "")
            with get_field(config, group).ignore_type():
                get_field(config, group)[field] = _net_option(config, group, field, value)
            if field == "family" and former:
                _drop_options(config, group, of=former)
            continue
        _check_field(config, name)
        node = get_field(config, group) if group else config
        try:
            parsed = value if isinstance(node[field], str) else _parse(value)
            if isinstance(parsed, bool) and not isinstance(node[field], bool):  # Python takes True for 1
                raise TypeError
            node[field] = parsed
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


def _drop_options(config: ConfigDict, net: str, *, of: str) -> None:
    """Takes out the options of the family `of` that the net's present family does not have."""
    kind, node = net.split(".")[-1], get_field(config, net)
    for name in family_options(kind, of).keys() - family_options(kind, node.family).keys():
        if name in node:
            del node[name]


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

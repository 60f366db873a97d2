"""From the tensors of a file to our parameters and back, by a mapping: rules (their module, our module, layout).

In a rule's first name `{n}` stands for digits and `*` for anything: the modules whose tensors are of the layout are
numbered 0, 1, ... in the order of their digits, and that number stands for `{n}` in ours. So ("encoder.{n}",
"encoder.convs.{n}", "conv") takes the convolutions out of a Sequential that has other layers between them. A rule that
finds nothing is no error: what counts is that no tensor and no parameter is left over (see `table`).

Our parameters are named as a checkpoint names them ("encoder.convs.0.kernel"), but for the two heads of a posterior,
which are one dense layer in the model and `heads.mean` and `heads.log_variance` here.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from vae_jax.errors import UserError
from vae_jax.pretrained.layouts import AS_IT_IS, LAYOUTS, Part

Rule = tuple[str, str, str]
Tensors = Mapping[str, np.ndarray]
HEADS = ("heads.mean", "heads.log_variance")


@dataclasses.dataclass(frozen=True)
class Pair:
    """A tensor of a file and the parameter that it becomes, or has a share in."""

    theirs: str
    ours: str
    part: Part
    channels: int  # of the feature map that the layer is beside; 0 for others

    def to_ours(self, tensor: np.ndarray) -> np.ndarray:
        return self.part.sign * self.part.to_ours(tensor, self.channels)

    def to_theirs(self, parameter: np.ndarray) -> np.ndarray:
        return self.part.to_theirs(parameter, self.channels)


def check_rules(rules: Sequence[Rule]) -> None:
    """Raises UserError for the first rule that is not made as one."""
    for number, rule in enumerate(rules):
        field = f"pretrained.mapping[{number}]"
        if not isinstance(rule, tuple | list) or len(rule) != 3 or not all(isinstance(name, str) for name in rule):
            raise UserError(f"{field} is {rule!r}; it must be (their module, our module, layout), three texts.")
        theirs, ours, layout = rule
        if layout not in LAYOUTS:
            raise UserError(f"{field} has the layout {layout!r}; it must be one of {', '.join(LAYOUTS)}.")
        if theirs.count("{n}") > 1 or (layout != "unused" and theirs.count("{n}") != ours.count("{n}")):
            raise UserError(f"{field} is {rule!r}; {{n}} must be in both names once, or in neither.")


def found_modules(rules: Sequence[Rule], tensors: Tensors) -> list[Rule]:
    """The rules with each pattern replaced by the modules of `tensors` that it finds: what a file really has."""
    modules = _modules(tensors)
    found = []
    for theirs, ours, layout in rules:
        pattern = re.compile(re.escape(theirs).replace(r"\{n\}", r"(\d+)").replace(r"\*", ".*"))
        matches = [(match, name) for name in modules if (match := pattern.fullmatch(name))]
        matches.sort(key=lambda entry: [int(digits) for digits in entry[0].groups()])
        names = [name for _, name in matches if LAYOUTS[layout].recognises(modules[name])]
        found += [(name, ours.replace("{n}", str(n)), layout) for n, name in enumerate(names)]
    return found


def pairs(rules: Sequence[Rule], parameters: Mapping, *, channels: Mapping[str, int]) -> list[Pair]:
    """What each of the found `rules` pairs, for a model with these `parameters`.

    `channels` are those of the maps at the ends of the "encoder" and the "decoder". Without rules the names are ours.
    """
    if not rules:
        return [Pair(name, name, AS_IT_IS, 0) for name in parameters]
    return [
        Pair(f"{theirs}.{part.theirs}", f"{ours}.{part.ours}", part, channels.get(LAYOUTS[layout].beside, 0))
        for theirs, ours, layout in rules
        for part in LAYOUTS[layout].parts
        if part.theirs != "bias" or f"{ours}.{part.ours}" in parameters  # or else another rule has a place for it
    ]


def counted(rules: Sequence[Rule]) -> list[str]:
    """The names of the tensors that the layers of the found `rules` have and ours do not need."""
    return [f"{theirs}.{name}" for theirs, _, layout in rules for name in LAYOUTS[layout].counted]


def unused(rules: Sequence[Rule], tensors: Tensors) -> set[str]:
    """The names of the tensors that the found `rules` know to have no place in ours."""
    modules = {theirs for theirs, _, layout in rules if layout == "unused"}
    return {*counted(rules), *(name for name in tensors if name.rpartition(".")[0] in modules)}


def split_heads(parameters: Tensors) -> dict[str, np.ndarray]:
    """Our parameters with the dense layer of a posterior's two heads as two."""
    named = {}
    for name, value in parameters.items():
        module, _, leaf = name.rpartition(".")
        if module != "heads":
            named[name] = value
            continue
        half = value.shape[-1] // 2
        named |= {f"{HEADS[0]}.{leaf}": value[..., :half], f"{HEADS[1]}.{leaf}": value[..., half:]}
    return named


def join_heads(named: Tensors) -> dict[str, np.ndarray]:
    """The opposite of `split_heads`."""
    parameters = {name: value for name, value in named.items() if not name.startswith("heads.")}
    for leaf in ("kernel", "bias"):
        parameters[f"heads.{leaf}"] = np.concatenate([named[f"{name}.{leaf}"] for name in HEADS], axis=-1)
    return parameters


def _modules(tensors: Tensors) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of each module, by their last names."""
    modules: dict[str, dict[str, np.ndarray]] = {}
    for name, tensor in tensors.items():
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = tensor
    return modules

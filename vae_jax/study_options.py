"""The fields `study.*`: what each may hold, and how a list of numbers is read from one."""

import math

from ml_collections import ConfigDict

from vae_jax.errors import UserError
from vae_jax.nn.layers import check_choice

CENTERS = ("mean", "sample")
SPLITS = ("train", "validation", "test")
STAGES = ("saturation", "contrast", "dehaze", "bilateral", "sharpen")  # of postprocess
LEAST = {  # of its parameters
    "saturation": 0,
    "contrast": 0,
    "haze": 0,
    "haze_patch": 1,
    "haze_radius": 1,
    "bilateral_radius": 1,
    "bilateral_color": 1e-3,
    "bilateral_space": 1e-3,
    "sharpen": 0,
    "sharpen_sigma": 0.1,
}


def check_study(study: ConfigDict) -> None:
    """Raises UserError for the first value that no run could make right."""
    check_choice("study.center", study.center, CENTERS)
    numbers("study.strength", study.strength, least=0)
    check_choice("study.split", study.split, SPLITS)
    stage_names(study.postprocess.stages)
    for name, least in LEAST.items():
        value = study.postprocess[name]
        if not least <= value < math.inf:
            raise UserError(f"study.postprocess.{name} is {value}; it must be {least} or more.")


def stage_names(text: str) -> tuple[str, ...]:
    """The stages of study.postprocess.stages, as "dehaze,sharpen"."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        check_choice("a stage of study.postprocess.stages", name, STAGES)
    return names


def numbers(field: str, text: str, *, least: float = -math.inf) -> tuple[float, ...]:
    """The numbers of a text such as "0.2,0.5,1"; UserError unless all are finite and `least` or more."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(math.isfinite(value) and value >= least for value in values):
        allowed = "numbers" if least == -math.inf else f"numbers of {least:g} or more"
        raise UserError(f"{field} is {text!r}; it must be {allowed}, as 0.2 or 0.2,0.5,1.")
    return values

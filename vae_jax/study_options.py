"""The fields `study.*`: what each may hold, and how a list of numbers is read from one."""

import math

import numpy as np
from ml_collections import ConfigDict

from vae_jax.errors import UserError
from vae_jax.nn.layers import check_choice

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

# The fields of a config below "study", with their defaults; lists are numbers or names with commas between.
STUDY = {
    "seed": 0,
    "count": 10,  # variation, input_noise, posterior: draws for each input; sample: samples; interpolate: steps
    "strength": "0.2,0.5,1",  # variation, input_noise: what the noise is multiplied by
    "z": "mean",  # variation, cycle: the latent of an input is its posterior's mean | a sample of it
    "cycles": 20,  # cycle, inpaint: encodings and decodings
    "cond": (),  # what conditional runs are told of inputs and samples, a number for each of model.cond; (): their own
    "emphasis": "1,2",  # condition: how far it is told otherwise; 1 is the other value, 2 twice as far
    "examples": 1000,  # of a split, at most, that a study of a split looks at
    "dimensions": "",  # latent_map: two latent dimensions to draw as they are, as 0,3
    "color": "",  # latent_map: label or an attribute; default: the label, else the most even attribute
    "temperature": "0.7",  # sample: beside 1, what the prior's standard deviation is multiplied by
    "mixture": 10,  # sample: Gaussians fitted to the aggregate posterior
    "attributes": "",  # attributes: names with commas between; default: the five that split most evenly
    "groups": "",  # bias: FILE.csv:COLUMN, whose first column names the pictures; default: the attributes, or classes
    "classifier": "",  # variation, condition, attributes: the run folder of a classifier
    "runs": "",  # compare: run folders with commas between
    "mask": "lower",  # inpaint: see vae_jax/studies/masks.py
    "split": "test",  # postprocess: what it is measured on; tune on validation
    "postprocess": {  # see vae_jax/images/postprocess.py
        "stages": "saturation,contrast,dehaze,bilateral,sharpen",  # any of these, in any order
        "saturation": 1.3,  # factor
        "contrast": 1.2,  # factor
        "haze": 0.5,  # share of the haze that is taken away
        "haze_patch": 7,  # pixels on a side of what has a dark one in a clear picture
        "haze_radius": 15,  # pixels, of the guided filter
        "bilateral_radius": 2,  # pixels
        "bilateral_color": 0.1,  # stddev of differences of pixels, summed over channels
        "bilateral_space": 2.0,  # stddev in pixels
        "sharpen": 0.5,  # amount
        "sharpen_sigma": 1.0,  # pixels
    },
}
LATENTS = ("mean", "sample")  # of an input
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
    check_choice("study.z", study.z, LATENTS)
    numbers("study.strength", study.strength, least=0)
    numbers("study.temperature", study.temperature, least=0)
    numbers("study.emphasis", study.emphasis, least=0)
    check_choice("study.split", study.split, SPLITS)
    stage_names(study.postprocess.stages)
    for name, least in LEAST.items():
        value = study.postprocess[name]
        if not least <= value <= LARGEST_FLOAT32:
            raise UserError(f"study.postprocess.{name} is {value}; it must be from {least} to {LARGEST_FLOAT32:.1e}.")


def stage_names(text: str) -> tuple[str, ...]:
    """The stages of study.postprocess.stages, as "dehaze,sharpen"."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        check_choice("a stage of study.postprocess.stages", name, STAGES)
    return names


def numbers(field: str, text: str, *, least: float = -math.inf) -> tuple[float, ...]:
    """The numbers of a text such as "0.2,0.5,1"; UserError unless all are finite as float32 and `least` or more."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(abs(value) <= LARGEST_FLOAT32 and value >= least for value in values):
        allowed = f"numbers up to {LARGEST_FLOAT32:.1e}" + ("" if least == -math.inf else f", {least:g} or more")
        raise UserError(f"{field} is {text!r}; it must be {allowed}, as 0.2 or 0.2,0.5,1.")
    return values

"""The fields `study.*`: what each may hold, and how a list of numbers is read from one."""

import math

from ml_collections import ConfigDict

from vae_jax.errors import UserError
from vae_jax.nn.layers import check_choice

CENTERS = ("mean", "sample")


def check_study(study: ConfigDict) -> None:
    """Raises UserError for the first value that no run could make right."""
    check_choice("study.center", study.center, CENTERS)
    numbers("study.strength", study.strength, least=0)


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

"""What a loss of other code, weights on a reconstruction error and a KL, comes to as β in nats under a likelihood."""

import math
import numbers

from vae_jax.errors import UserError
from vae_jax.nn.layers import check_choice

ERRORS = ("squared", "absolute", "cross_entropy")
REDUCTIONS = ("sum", "mean")


def equivalent_beta(
    shape: tuple[int, ...],
    *,
    kl: float,
    error_weight: float = 1.0,
    error: str = "squared",
    error_reduction: str = "sum",
    latent: int = 1,
    kl_reduction: str = "sum",
    variance: float = 1.0,
) -> float:
    """The β (nats against nats) whose objective has the same optima as error_weight·error + kl·KL on `shape` examples.

    That objective is −log p(x|z) + β·KL, as `objective.kl` weighs it, under the likelihood whose log density the error
    is up to constants: for "squared" errors a Gaussian of `variance`, for "absolute" ones a Laplace of `variance`, for
    "cross_entropy" a Bernoulli. An error that is a "mean" over the D pixels and channels of `shape` is a sum of weight
    1/D, a KL that is a mean over `latent` dimensions one of 1/Z. So for squared errors

        β = (kl / Z) / (error_weight / D) / (2·variance), without Z and D where they are sums,

    and what the optimum depends on is β·variance alone: β is 1, and the loss an ELBO, at the variance β·variance.
    """
    for name, value, allowed in (
        ("error", error, ERRORS),
        ("error_reduction", error_reduction, REDUCTIONS),
        ("kl_reduction", kl_reduction, REDUCTIONS),
    ):
        check_choice(name, value, allowed)
    for name, value in {"kl": kl, "error_weight": error_weight, "variance": variance, "latent": latent}.items():
        if not isinstance(value, numbers.Real) or not 0 <= value < math.inf or (value == 0 and name != "kl"):
            least = "0 or more" if name == "kl" else "more than 0"
            raise UserError(f"{name} is {value!r}; it must be a finite number, {least}.")
    sizes = shape if isinstance(shape, tuple | list) else ()
    if not sizes or not all(isinstance(size, numbers.Integral) and size > 0 for size in sizes):
        raise UserError(f"shape is {shape!r}; it must be a tuple of positive integers, as (64, 64, 3).")
    nats_of_one = {"squared": 1 / (2 * variance), "absolute": math.sqrt(2 / variance), "cross_entropy": 1.0}[error]
    error_weight /= math.prod(shape) if error_reduction == "mean" else 1
    kl /= latent if kl_reduction == "mean" else 1
    return kl / error_weight * nats_of_one

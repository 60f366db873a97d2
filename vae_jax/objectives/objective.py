"""The objective: reconstruction and weighted terms, per example, in nats; and what its sum may be called."""

import dataclasses

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from vae_jax import distributions
from vae_jax.models.vae import Output

ELBO = "elbo"
BOUND = "bernoulli_bound"
LOSS = "loss"
WEIGHTS = ("reconstruction", "kl", "capacity", "perceptual")  # fields of the config's objective


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Losses:
    """All [B], nats summed over pixels and latent dimensions."""

    loss: jax.Array  # what training minimises
    reconstruction: jax.Array  # −log p(x|z), each pixel times its weight where there is one
    kl: jax.Array  # KL(q ‖ p), unweighted
    perceptual: jax.Array | None  # the perceptual distance, unweighted and in squared features; None without a net
    bound: jax.Array  # −reconstruction − kl; an ELBO only where `bound_name` says so


def bound_name(config: ConfigDict, shape: tuple[int, ...]) -> str:
    """What −reconstruction − KL is for data of `shape`: "elbo", "bernoulli_bound" or only a "loss".

    It is an ELBO where the likelihood is a normalised density of the data as they are: Bernoulli on binarised images,
    Gaussian and Laplace on pixels. Bernoulli on grey images is a bound for dynamically binarised ones. That q was shown
    a corrupted picture changes none of this, as any q(z) gives a bound; weights of pixels or of the reconstruction
    other than 1, and a perceptual term, make it a loss, and so does a classifier.
    """
    if config.model.target or config.data.corrupt.weight != 1 or is_reweighted(config):
        return LOSS
    binary = config.data.binarization != "none"
    if config.model.posterior == "point":
        return LOSS
    if config.model.likelihood != "bernoulli":
        return LOSS if binary else ELBO
    if binary:
        return ELBO
    return BOUND if len(shape) == 3 and shape[-1] == 1 else LOSS


def is_reweighted(config: ConfigDict) -> bool:
    """Whether the reconstruction has a weight of its own, or there is a net for a perceptual term beside it."""
    return config.objective.reconstruction != 1 or bool(config.perceptual.weights)


def weights(objective: ConfigDict) -> dict[str, jax.Array]:
    """The final weights as scalars that a compiled step takes as arguments: β, the capacity C (nats), and the rest."""
    return {name: jnp.float32(objective[name]) for name in WEIGHTS}


def weights_at(final: dict[str, jax.Array], step: jax.Array, objective: ConfigDict) -> dict[str, jax.Array]:
    """The weights at training step `step`: β and C rise linearly over their warm-up steps."""
    return {
        **final,
        "kl": final["kl"] * _ramp(step, objective.kl_warmup),
        "capacity": final["capacity"] * _ramp(step, objective.capacity_steps),
    }


def losses(
    output: Output,
    x: jax.Array,
    weight: dict[str, jax.Array],
    *,
    free_bits: float,
    pixel_weight: jax.Array | None = None,
    perceptual: jax.Array | None = None,
) -> Losses:
    """−w·log p(x|z) + β·|Σ_j max(KL_j, λ) − C| + v·perceptual for one sample z per example of x [B, ...].

    β: Higgins et al. (2017); λ, the free bits of one dimension: Kingma et al. (2016), here per example; C, the
    capacity: Burgess et al. (2018). With λ = C = v = 0 and w = β = 1 this is the negative ELBO, unless a
    `pixel_weight`, which broadcasts against x, counts some of its pixels more than others. `perceptual` [B] is the
    distance of Hou et al. (2017), which v turns into nats; w = 0 leaves the picture to it alone.
    """
    reconstruction = -output.likelihood.log_prob(x, pixel_weight)
    kl_per_dimension = distributions.kl(output.posterior, output.prior)  # [B, Z]
    kl = kl_per_dimension.sum(axis=-1)
    counted = jnp.maximum(kl_per_dimension, free_bits).sum(axis=-1)
    loss = weight["reconstruction"] * reconstruction + weight["kl"] * jnp.abs(counted - weight["capacity"])
    if perceptual is not None:
        loss += weight["perceptual"] * perceptual
    return Losses(loss, reconstruction, kl, perceptual, -reconstruction - kl)


def _ramp(step: jax.Array, steps: int) -> jax.Array:
    return jnp.minimum(1.0, (step + 1) / steps) if steps else jnp.float32(1)

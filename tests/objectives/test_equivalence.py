"""β of other code's weights, held against the gradients of both losses and against published arithmetic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vae_jax.distributions import Bernoulli, Gaussian, Laplace, Normal
from vae_jax.errors import UserError
from vae_jax.models.vae import Output
from vae_jax.objectives.equivalence import equivalent_beta
from vae_jax.objectives.objective import losses

SHAPE, LATENT = (4, 5, 3), 6
VARIANCE = 0.3


def likelihood(error, raw):
    log_variance = jnp.log(VARIANCE)
    kinds = {"squared": Gaussian(raw, log_variance), "absolute": Laplace(raw, log_variance)}
    return Bernoulli(raw) if error == "cross_entropy" else kinds[error]


def errors(error, x, raw):
    if error == "cross_entropy":
        return optax.sigmoid_binary_cross_entropy(raw, x)
    return jnp.square(x - raw) if error == "squared" else jnp.abs(x - raw)


@pytest.mark.parametrize("kl_reduction", ["sum", "mean"])
@pytest.mark.parametrize("error_reduction", ["sum", "mean"])
@pytest.mark.parametrize("error", ["squared", "absolute", "cross_entropy"])
def test_the_gradient_is_that_of_the_other_loss_times_one_number(error, error_reduction, kl_reduction):
    """So both have the same optima, for any nets in front of it."""
    x, *start = (np.random.default_rng(seed).random((2, *SHAPE), np.float32) for seed in (0, 1))
    posterior = np.random.default_rng(2).normal(size=(2, 2, LATENT)).astype(np.float32)
    start = (*start, posterior)

    def theirs(raw, posterior):
        mean, log_variance = posterior
        kl = -0.5 * (1 + log_variance - mean**2 - jnp.exp(log_variance))  # Kingma & Welling (2014), appendix B
        reduced = [
            getattr(jnp, reduction)(values.reshape(2, -1), axis=1)
            for reduction, values in ((error_reduction, errors(error, x, raw)), (kl_reduction, kl))
        ]
        return (1.8 * reduced[0] + 10 * reduced[1]).mean()

    beta = equivalent_beta(
        SHAPE,
        kl=10,
        error_weight=1.8,
        error=error,
        error_reduction=error_reduction,
        latent=LATENT,
        kl_reduction=kl_reduction,
        variance=VARIANCE,
    )

    def ours(raw, posterior):
        prior = Normal(jnp.zeros(LATENT), jnp.zeros(LATENT))
        output = Output(Normal(*posterior), posterior[0], likelihood(error, raw), prior)
        weight = {"reconstruction": jnp.float32(1), "kl": jnp.float32(beta), "capacity": jnp.float32(0)}
        return losses(output, x, weight, free_bits=0.0).loss.mean()

    ratio = [a / b for a, b in zip(jax.grad(ours, (0, 1))(*start), jax.grad(theirs, (0, 1))(*start), strict=True)]
    ratio = np.concatenate([np.ravel(part) for part in ratio])
    np.testing.assert_allclose(ratio, ratio[0], rtol=2e-4)


def test_a_mean_squared_error_with_a_small_kl_weight_is_a_beta_above_one():
    # k·D/2 at unit variance: 0.00025 · 64·64·3 / 2
    assert equivalent_beta((64, 64, 3), kl=0.00025, error_reduction="mean") == pytest.approx(1.536)


def test_the_published_weights_of_the_pixel_vae_are_beta_10_at_the_variance_that_1_8_stands_for():
    weights = {"kl": 10, "error_weight": 1.8}
    assert equivalent_beta((64, 64, 3), **weights, variance=1 / 3.6) == pytest.approx(10)
    assert equivalent_beta((64, 64, 3), **weights) == pytest.approx(2.78, abs=0.01)
    assert equivalent_beta((64, 64, 3), **weights, error_reduction="mean") == pytest.approx(34133, abs=1)


@pytest.mark.parametrize("variance", [0.01, 1.0, 7.0])
def test_beta_times_variance_does_not_depend_on_the_variance_it_is_stated_under(variance):
    assert variance * equivalent_beta((8, 8, 1), kl=3, variance=variance) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"error": "mse"}, "error is 'mse'"),
        ({"variance": 0}, "variance is 0; it must be a finite number, more than 0"),
        ({"kl": math.nan}, "kl is nan; it must be a finite number, 0 or more"),
        ({"kl": -1}, "kl is -1"),
        ({"latent": "8"}, "latent is '8'"),
        ({"shape": (8, 0, 1)}, "shape is"),
        ({"shape": 784}, "shape is 784; it must be a tuple"),
    ],
)
def test_a_mistake_is_one_sentence(wrong, said):
    with pytest.raises(UserError, match=said):
        equivalent_beta(**{"shape": (8, 8, 1), "kl": 1, **wrong})

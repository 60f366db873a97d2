import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.config import default_config, resolve
from vae_jax.distributions import Gaussian, Normal
from vae_jax.mesh import make_mesh
from vae_jax.models.vae import Output
from vae_jax.objectives import objective
from vae_jax.steps import Steps

B, H, W, C, Z = 4, 2, 3, 2, 3
KL = 0.5 * np.array([[0.0, 1.0, 4.0]] * B) ** 2  # [B, Z] of means 0, 1 and 4 at unit variance
LOG_2PI = math.log(2 * math.pi)


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((B, H, W, C), np.float32)


def output(x, means=(0.0, 1.0, 4.0)):
    """A posterior of unit variance and the given means, a decoder that says 0.5 everywhere, variance 1."""
    mean = jnp.broadcast_to(jnp.array(means), (len(x), len(means)))
    prior = Normal(jnp.zeros(len(means)), jnp.zeros(len(means)))
    return Output(Normal(mean, jnp.zeros_like(mean)), mean, Gaussian(jnp.full(x.shape, 0.5), jnp.float32(0)), prior)


def losses(x, *, kl=1.0, capacity=0.0, free_bits=0.0, **changes):
    return objective.losses(output(x, **changes), x, weights(kl=kl, capacity=capacity), free_bits=free_bits)


def weights(**changes):
    return {
        name: jnp.float32(w) for name, w in {"reconstruction": 1, "capacity": 0, "perceptual": 0, **changes}.items()
    }


def reconstruction(x):
    return 0.5 * (LOG_2PI + np.square(x - 0.5)).sum(axis=(1, 2, 3))


def test_every_loss_is_one_number_an_example_in_nats_summed_over_pixels_and_dimensions(x):
    found = losses(x)
    np.testing.assert_allclose(found.reconstruction, reconstruction(x), rtol=1e-6)
    np.testing.assert_allclose(found.kl, KL.sum(axis=1), rtol=1e-6)
    assert [getattr(found, name).shape for name in ("loss", "reconstruction", "kl", "bound")] == [(B,)] * 4


def test_an_example_costs_the_same_in_any_batch(x):
    whole, part = losses(x), losses(x[2:3])
    for name in ("loss", "reconstruction", "kl", "bound"):
        np.testing.assert_allclose(getattr(part, name), getattr(whole, name)[2:3], rtol=1e-6)


def test_an_image_of_twice_the_size_costs_twice_as_much_and_twice_the_dimensions_too(x):
    once, twice = losses(x), losses(np.concatenate([x, x], axis=1), means=(0.0, 1.0, 4.0) * 2)
    np.testing.assert_allclose(twice.reconstruction, 2 * once.reconstruction, rtol=1e-6)
    np.testing.assert_allclose(twice.kl, 2 * once.kl, rtol=1e-6)


def test_the_loss_at_a_kl_weight_of_one_is_minus_the_elbo(x):
    found = losses(x, kl=1.0)
    elbo = -reconstruction(x) - KL.sum(axis=1)
    np.testing.assert_allclose(found.bound, elbo, rtol=1e-6)
    np.testing.assert_allclose(found.loss, -elbo, rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weighs_the_kl_in_the_loss_and_nowhere_else(x, beta):
    found = losses(x, kl=beta)
    np.testing.assert_allclose(found.loss, reconstruction(x) + beta * KL.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.bound, losses(x).bound)


def test_a_mean_squared_error_with_a_kl_weight_k_is_beta_k_d_over_two(x):
    k, d = 0.3, H * W * C
    mse = np.square(x - 0.5).mean(axis=(1, 2, 3)) + k * KL.sum(axis=1)
    constant = d / 2 * LOG_2PI
    np.testing.assert_allclose((losses(x, kl=k * d / 2).loss - constant) / (d / 2), mse, rtol=1e-5)


def test_the_reconstruction_and_the_perceptual_distance_have_weights_of_their_own(x):
    distance = np.arange(B, dtype=np.float32)
    weight = weights(reconstruction=0.25, kl=0, perceptual=3)
    found = objective.losses(output(x), x, weight, free_bits=0.0, perceptual=distance)
    np.testing.assert_allclose(found.loss, 0.25 * reconstruction(x) + 3 * distance, rtol=1e-6)
    np.testing.assert_allclose(found.perceptual, distance)


def test_free_bits_charge_every_dimension_of_every_example_at_least_that_much(x):
    found = losses(x, kl=2.0, free_bits=0.75)
    np.testing.assert_allclose(found.loss - found.reconstruction, [2 * (0.75 + 0.75 + 8)] * B, rtol=1e-5)
    np.testing.assert_allclose(found.kl, KL.sum(axis=1), rtol=1e-6)


def test_free_bits_leave_a_cheap_dimension_without_gradient():
    x = np.zeros((1, 1, 1, 1), np.float32)

    def loss(mean):
        at = output(x)
        posterior = Normal(mean, jnp.zeros_like(mean))
        return objective.losses(
            dataclasses.replace(at, posterior=posterior), x, weights(kl=1), free_bits=0.75
        ).loss.sum()

    np.testing.assert_allclose(jax.grad(loss)(jnp.array([[0.1, 1.0, 4.0]])), [[0, 0, 4]])


@pytest.mark.parametrize(("capacity", "distance"), [(0.0, 8.5), (5.0, 3.5), (8.5, 0.0), (25.0, 16.5)])
def test_capacity_charges_the_distance_of_the_kl_from_it(x, capacity, distance):
    found = losses(x, kl=10.0, capacity=capacity)
    np.testing.assert_allclose(found.loss - found.reconstruction, [10 * distance] * B, rtol=1e-5, atol=1e-4)


def test_the_weights_rise_in_a_straight_line_over_their_steps():
    config = default_config().objective
    config.update(kl=4.0, kl_warmup=8, capacity=20.0, capacity_steps=10)
    final = objective.weights(config)
    steps = np.array([0, 1, 3, 7, 8, 100])
    found = [objective.weights_at(final, jnp.int32(step), config) for step in steps]
    np.testing.assert_allclose([w["kl"] for w in found], [0.5, 1, 2, 4, 4, 4], rtol=1e-6)
    np.testing.assert_allclose([w["capacity"] for w in found], [2, 4, 8, 16, 18, 20], rtol=1e-6)
    assert (float(final["kl"]), float(final["capacity"])) == (4, 20)


def test_without_warm_up_the_weights_are_final_from_the_first_step():
    config = default_config().objective
    config.update(kl=4.0, capacity=20.0)
    assert objective.weights_at(objective.weights(config), jnp.int32(0), config) == weights(kl=4, capacity=20)


def expected_name(posterior, likelihood, binarization, channels):
    """What design.md allows to be called so: only a normalised density of the data as they are is an ELBO."""
    if posterior == "point":
        return "loss"
    if likelihood == "bernoulli":
        if binarization != "none":
            return "elbo"
        return {1: "bernoulli_bound", 3: "loss"}[channels]
    return "elbo" if binarization == "none" else "loss"


@pytest.mark.parametrize(
    ("posterior", "likelihood", "binarization", "channels"),
    list(
        itertools.product(
            ("normal", "softplus", "point"),
            ("bernoulli", "gaussian", "laplace"),
            ("none", "threshold", "dynamic"),
            (1, 3),
        )
    ),
)
def test_only_a_density_of_the_data_as_they_are_is_called_an_elbo(posterior, likelihood, binarization, channels):
    config = default_config()
    config.model.update(posterior=posterior, likelihood=likelihood)
    config.data.binarization = binarization
    name = objective.bound_name(config, (8, 8, channels))
    assert name == expected_name(posterior, likelihood, binarization, channels)


def test_a_corrupted_input_leaves_the_bound_one_and_weighted_pixels_make_it_a_loss():
    config = default_config()
    config.data.corrupt.kind = "patches"
    assert objective.bound_name(config, (8, 8, 1)) == "elbo"
    config.data.corrupt.weight = 2.0
    assert objective.bound_name(config, (8, 8, 1)) == "loss"


@pytest.mark.parametrize("change", [{"objective.reconstruction": 0.0}, {"perceptual.weights": "vgg19.pth"}])
def test_what_has_a_perceptual_term_or_a_weighted_reconstruction_is_a_loss(change):
    config = default_config()
    config.update_from_flattened_dict(change)
    assert objective.bound_name(config, (8, 8, 1)) == "loss"


def test_the_weight_of_a_pixel_multiplies_its_part_of_the_reconstruction_and_nothing_else(x):
    pixel_weight = np.array([1.0, 3.0, 0.0], np.float32).reshape(1, 1, W, 1)
    found = objective.losses(output(x), x, weights(kl=2), free_bits=0.0, pixel_weight=pixel_weight)
    expected = (pixel_weight * 0.5 * (LOG_2PI + np.square(x - 0.5))).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found.reconstruction, expected, rtol=1e-6)
    np.testing.assert_allclose(found.kl, losses(x).kl)
    np.testing.assert_allclose(found.loss, expected + 2 * found.kl, rtol=1e-6)


def test_grey_vectors_under_bernoulli_have_no_bound_but_a_gaussian_elbo():
    config = default_config()
    assert objective.bound_name(config, (6,)) == "elbo"
    config.model.likelihood = "bernoulli"
    assert objective.bound_name(config, (6,)) == "loss"


@pytest.fixture(scope="module")
def steps():
    config = default_config()
    config.model.encoder.widths, config.model.latent = (5,), Z
    config.objective.update(kl=4.0, kl_warmup=8)
    config.optimizer.update(name="sgd", learning_rate=1e-6)
    config.train.update(batch_size=B, log_every=1)
    resolve(config)
    return Steps(config, (H, W, C), make_mesh(1))


@pytest.fixture(scope="module")
def batch(x):
    return {"image": x, "example_id": np.arange(B, dtype=np.uint32), "mask": np.ones(B, np.float32)}


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_compiled_evaluation_weighs_as_it_is_told(steps, batch, beta):
    values = steps.evaluate(steps.init().variables, batch, weights(kl=beta))
    np.testing.assert_allclose(values["loss"], values["reconstruction"] + beta * values["kl"], rtol=1e-6)
    np.testing.assert_allclose(values["elbo"], -values["reconstruction"] - values["kl"], rtol=1e-6)
    np.testing.assert_allclose(values["kl"], values["kl_per_dimension"].sum(axis=-1), rtol=1e-6)


def test_a_change_of_weights_compiles_nothing_anew(steps, batch):
    state, batches = steps.init(), {name: array[None] for name, array in batch.items()}
    for beta in (1.0, 2.0, 8.0):
        weight = weights(kl=beta, capacity=beta)
        steps.evaluate(state.variables, batch, weight)
        state, _ = steps.train(state, batches, weight)
    # The state that `init` made and the one that `train` gave back must be the same to the cache too.
    assert (steps.evaluate.func._cache_size(), steps.train._cache_size()) == (1, 1)


def test_a_training_step_charges_the_beta_of_its_place_in_the_warm_up(steps, batch):
    state = steps.init()
    for step in range(3):
        state, report = steps.train(state, {name: array[None] for name, array in batch.items()}, steps.weights)
        last = report["failed"]
        beta = 4.0 * (step + 1) / 8
        np.testing.assert_allclose(last["loss"], last["reconstruction"] + beta * last["kl"], rtol=1e-6)


def test_a_masked_example_has_no_part_in_a_training_step(steps, batch):
    spoilt = {**batch, "image": batch["image"].copy(), "mask": np.float32([1, 1, 1, 0])}
    spoilt["image"][3] = 100
    found = [
        steps.train(steps.init(), {name: array[None] for name, array in b.items()}, steps.weights)[1]["failed"]
        for b in (spoilt, {**batch, "mask": spoilt["mask"]})
    ]
    assert found[0] == found[1]

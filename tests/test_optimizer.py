import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.config import default_config, resolve
from vae_jax.errors import UserError
from vae_jax.mesh import make_mesh
from vae_jax.optimizer import learning_rate, make_optimizer
from vae_jax.steps import Steps

D = 5
RATE = 0.02


def options(**changes):
    config = default_config().optimizer
    config.update({"learning_rate": RATE, **changes})
    return config


def gradients(count):
    return np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)


def walk(optimizer, grads, start=(1.0, -2.0, 0.5)):
    """The parameters [n + 1, 3] before and after each of n updates."""
    params, trail = jnp.array(start), [np.array(start)]
    state = optimizer.init(params)
    for gradient in grads:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = params + updates
        trail.append(np.asarray(params))
    return np.stack(trail)


def adam(grads, decay=0.0, nesterov=False, start=(1.0, -2.0, 0.5)):
    """Kingma & Ba (2015), algorithm 1; `decay` as in Loshchilov & Hutter (2019), algorithm 2; or Dozat (2016)."""
    params, m, v = np.array(start), 0.0, 0.0
    for t, g in enumerate(grads.astype(np.float64), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mean = 0.9 * m / (1 - 0.9 ** (t + 1)) + 0.1 * g / (1 - 0.9**t) if nesterov else m / (1 - 0.9**t)
        step = mean / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        params = params - RATE * (step + decay * params)
    return params


def first_update(params, gradient, **kwargs):
    optimizer = make_optimizer(options(name="muon"), **kwargs)
    return optimizer.update(gradient, optimizer.init(params), params)[0]


def rates(steps, **changes):
    schedule = learning_rate(options(**changes))
    return [float(schedule(step)) for step in steps]


def test_the_constant_rate_is_the_rate_of_the_config():
    assert rates([0, 1, 10**6]) == pytest.approx([RATE] * 3)


def test_a_warm_up_rises_in_a_straight_line_and_stays():
    assert rates([0, 1, 2, 4, 5, 100], warmup_steps=4) == pytest.approx([0, RATE / 4, RATE / 2, RATE, RATE, RATE])


def test_a_cosine_falls_from_the_rate_to_nothing_by_its_formula():
    steps = range(0, 41, 5)
    expected = [RATE * (1 + math.cos(math.pi * step / 40)) / 2 for step in steps]
    assert rates(steps, schedule="cosine", decay_steps=40) == pytest.approx(expected, abs=1e-8)


def test_a_cosine_without_an_end_is_a_mistake():
    with pytest.raises(UserError, match="optimizer.decay_steps is not set"):
        rates(np.arange(3), schedule="cosine")


def test_a_cosine_after_a_warm_up_falls_from_the_end_of_it_and_ends_at_nothing():
    steps = (0, 5, 10, 25, 40, 50)
    expected = [0, RATE / 2, RATE, RATE * (1 + math.cos(math.pi / 2)) / 2, 0, 0]
    assert rates(steps, schedule="cosine", warmup_steps=10, decay_steps=40) == pytest.approx(expected, abs=1e-8)


def test_adam_is_its_paper():
    grads = gradients(6)
    np.testing.assert_allclose(walk(make_optimizer(options()), grads)[-1], adam(grads), rtol=1e-5)


def test_adamw_decays_the_weights_beside_the_gradient():
    optimizer, grads = make_optimizer(options(name="adamw", weight_decay=0.3)), gradients(6)
    np.testing.assert_allclose(walk(optimizer, grads)[-1], adam(grads, decay=0.3), rtol=1e-5)


@pytest.mark.parametrize("inputs, outputs", [(6, 4), (3, 12)])
def test_muon_moves_a_kernel_against_the_orthogonal_matrix_nearest_to_its_gradient(inputs, outputs):
    gradient = np.random.default_rng(0).normal(size=(inputs, outputs)).astype(np.float32)
    update = np.asarray(first_update(jnp.zeros_like(gradient), jnp.asarray(gradient)))
    left, _, right = np.linalg.svd(gradient, full_matrices=False)
    stretched = -left.T @ update @ right.T / (RATE * math.sqrt(max(1, outputs / inputs)))
    # Newton-Schulz iterations with Jordan's coefficients end between 0.68 and 1.14, not at 1.
    assert np.all((np.diag(stretched) > 0.6) & (np.diag(stretched) < 1.2))
    np.testing.assert_allclose(stretched, np.diag(np.diag(stretched)), atol=1e-3)


def test_muon_takes_the_taps_and_inputs_of_a_convolution_for_the_inputs_of_one_matrix():
    gradient = np.random.default_rng(0).normal(size=(4, 4, 2, 5)).astype(np.float32)
    kernel = first_update(jnp.zeros_like(gradient), jnp.asarray(gradient))
    matrix = first_update(jnp.zeros((32, 5)), jnp.asarray(gradient.reshape(32, 5)))
    np.testing.assert_allclose(kernel.reshape(32, 5), matrix, rtol=1e-5, atol=1e-7)


def test_muon_follows_the_momentum_of_nesterov():
    """Two gradients g, h of one shape: 0.95·m + 0.05·h, where the momentum m is 0.95·0.05·g + 0.05·h, up to a scale."""
    g, h = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    optimizer = make_optimizer(options(name="muon"))
    _, state = optimizer.update(g, optimizer.init(jnp.zeros_like(g)), jnp.zeros_like(g))
    second, _ = optimizer.update(h, state, jnp.zeros_like(g))
    m = 0.95 * 0.05 * g + 0.05 * h
    # Optax corrects the bias of m and of h each by its own count, as it does in Nadam.
    along = 0.95 * m / (1 - 0.95**3) + 0.05 * h / (1 - 0.95**2)
    np.testing.assert_allclose(second, first_update(jnp.zeros_like(g), jnp.asarray(along)), rtol=1e-3, atol=1e-5)


def test_muon_decays_the_kernels_alone():
    optimizer = make_optimizer(options(name="muon", weight_decay=0.3))
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(nothing, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], np.full((3, 2), -RATE * 0.3), rtol=1e-5)
    assert not updates["bias"].any()


def test_muon_in_bfloat16_moves_float32_parameters_nearly_as_in_float32():
    gradient = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
    exact = first_update(gradient, gradient)
    rounded = first_update(gradient, gradient, dtype=jnp.bfloat16)
    assert rounded.dtype == jnp.float32
    assert 0 < jnp.abs(rounded - exact).max() < 0.15 * jnp.abs(exact).max()


def test_muon_leaves_what_is_no_kernel_to_adam():
    grads = gradients(6)
    trail = walk(make_optimizer(options(name="muon")), grads)
    np.testing.assert_allclose(trail[-1], adam(grads, nesterov=True), rtol=1e-5)


def test_sgd_follows_the_schedule_update_by_update():
    optimizer, grads = make_optimizer(options(name="sgd", warmup_steps=4)), gradients(6)
    rate = RATE * np.minimum(np.arange(6) / 4, 1)[:, None]
    np.testing.assert_allclose(np.diff(walk(optimizer, grads), axis=0), -rate * grads, rtol=1e-3, atol=1e-7)


def test_clipping_keeps_the_direction_and_bounds_the_norm_of_the_whole_gradient():
    optimizer = make_optimizer(options(name="sgd", learning_rate=1.0, clip_norm=0.5))
    grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}  # of norm 5
    updates, _ = optimizer.update(grads, optimizer.init(grads), grads)
    np.testing.assert_allclose(updates["a"], [-0.3, 0], rtol=1e-6)
    np.testing.assert_allclose(updates["b"], [[-0.4]], rtol=1e-6)


def test_clipping_leaves_a_small_gradient_alone():
    grads = 0.01 * gradients(3)
    clipped, free = (walk(make_optimizer(options(name="sgd", clip_norm=c)), grads) for c in (0.5, 0.0))
    assert np.array_equal(clipped, free)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_accumulated_gradients_act_as_their_mean_once_in_every_few_batches(name):
    grads, changes = gradients(6), {"name": name, "clip_norm": 0.5, "schedule": "cosine", "decay_steps": 5}
    trail = walk(make_optimizer(options(accumulate=3, **changes)), grads)
    assert np.array_equal(trail[0], trail[2]) and np.array_equal(trail[3], trail[5])
    np.testing.assert_allclose(
        trail[[0, 3, 6]], walk(make_optimizer(options(**changes)), grads.reshape(2, 3, 3).mean(axis=1)), rtol=1e-5
    )


def steps_of(batch_size, **changes):
    """An autoencoder, which has no noise, so that two runs may differ in their batches alone."""
    config = default_config()
    config.optimizer.update({"learning_rate": RATE, **changes})
    config.model.encoder.widths, config.model.latent, config.model.posterior = (4,), 2, "point"
    config.objective.kl = 0.0
    config.train.update(batch_size=batch_size, log_every=4)
    resolve(config)
    return Steps(config, (D,), make_mesh(1))


def train(steps, image):
    """The parameters, and their averages if there are any, after each call of `steps` on image [calls, K, B, D]."""
    state, trail = steps.init(), []
    for number, x in enumerate([None, *image]):
        if number:
            ids = np.arange(x.shape[0] * x.shape[1], dtype=np.uint32).reshape(x.shape[:2])
            batches = {"image": x, "example_id": ids, "mask": np.ones(x.shape[:2], np.float32)}
            state, _ = steps.train(state, batches, steps.weights)
        kept = {"params": state.variables.params, "ema": state.ema and state.ema.params}
        trail.append(jax.tree.map(np.array, kept))
    return trail


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).random((8, 6, D), np.float32)


def assert_close(left, right, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), left, right)


def test_two_accumulated_batches_train_as_one_of_twice_the_size(image):
    halves = train(steps_of(6, name="sgd", accumulate=2, ema=0.9), image[None])
    whole = train(steps_of(12, name="sgd", ema=0.9), image.reshape(1, 4, 12, D))
    assert (
        np.abs(halves[1]["params"]["heads"]["kernel"][...] - halves[0]["params"]["heads"]["kernel"][...]).max() > 1e-3
    )
    assert_close(halves[1], whole[1], rtol=1e-4, atol=1e-6)


def test_the_average_is_its_formula_and_starts_at_the_initial_weights(image):
    decay = 0.3
    first, *trail = train(steps_of(6, ema=decay), image[:, None])
    average = first["params"]
    assert_close(first["ema"], average, rtol=0)
    for step, now in enumerate(trail):
        rising = min(decay, (1 + step) / (10 + step))  # 0.1, 2/11, 3/12, then 0.3
        average = jax.tree.map(lambda old, new, d=rising: d * old + (1 - d) * new, average, now["params"])
        assert_close(now["ema"], average, rtol=1e-5, atol=1e-7)


def test_there_is_no_average_where_the_config_asks_for_none(image):
    assert steps_of(6).init().ema is None

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from vae_jax import rng
from vae_jax.distributions import Bernoulli, Gaussian, Laplace, Normal, Point, kl, normal_from_softplus

DRAWS = 20_000
P_VALUE = 1e-3  # of a Kolmogorov–Smirnov test; the noise is fixed, so that it passes always or never


@pytest.fixture(scope="module")
def pixels():
    """x, mean and log_variance [B, H, W, C], B = 3."""
    source = np.random.default_rng(0)
    return source.random((3, 4, 5, 2), np.float32), *source.normal(size=(2, 3, 4, 5, 2)).astype(np.float32)


def keys(*shape, name="draw"):
    return rng.per_example(rng.stream(0, name), jnp.arange(math.prod(shape))).reshape(shape)


def standard(*shape):
    return Normal(jnp.zeros(shape), jnp.zeros(shape))


def scaled(mean, log_variance):
    return mean.astype(np.float64), np.exp(0.5 * log_variance.astype(np.float64))


@pytest.mark.parametrize(("mean", "log_variance", "nats"), [(0, 0, 0), (1, 0, 5), (1, 1, 5 * (math.e - 1))])
def test_kl_over_ten_dimensions_is_the_closed_form(mean, log_variance, nats):
    q = Normal(jnp.full((2, 10), float(mean)), jnp.full((2, 10), float(log_variance)))
    per_dimension = kl(q, standard(10))
    assert per_dimension.shape == (2, 10)
    np.testing.assert_allclose(per_dimension.sum(axis=-1), [nats] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("q", "p"), [((0.3, -1.0), (0.0, 0.0)), ((-1.2, 0.7), (0.5, -0.4)), ((2.0, -2.5), (1.0, 1.5)), ((0, 0), (0, 0))]
)
def test_kl_of_two_normals_is_the_integral_of_its_definition(q, p):
    left, right = (scipy.stats.norm(m, math.exp(lv / 2)) for m, lv in (q, p))
    lo, hi = left.ppf(1e-15), left.isf(1e-15)
    integral, _ = scipy.integrate.quad(lambda z: left.pdf(z) * (left.logpdf(z) - right.logpdf(z)), lo, hi)
    closed = kl(*(Normal(jnp.array([m]), jnp.array([lv], jnp.float32)) for m, lv in (q, p)))
    np.testing.assert_allclose(closed[0], integral, rtol=1e-5, atol=1e-6)


def test_kl_of_a_point_is_nothing():
    assert np.array_equal(kl(Point(jnp.ones((2, 3))), standard(3)), np.zeros((2, 3)))


@pytest.mark.parametrize(("mean", "nats"), [(0.0, -1.41894), (1.0, -0.91894)])
def test_the_normal_log_density_at_one_is_the_published_value(mean, nats):
    one = jnp.ones((1, 1))
    assert float(Normal(one * mean, jnp.zeros((1, 1))).log_prob(one)[0]) == pytest.approx(nats, abs=1e-5)
    assert float(Gaussian(one * mean, jnp.float32(0)).log_prob(one)[0]) == pytest.approx(nats, abs=1e-5)


def test_the_latent_log_density_is_scipys_summed_over_the_last_axis(pixels):
    z, mean, log_variance = (array.reshape(3, -1, 8) for array in pixels)
    expected = scipy.stats.norm(*scaled(mean, log_variance)).logpdf(z).sum(axis=-1)
    np.testing.assert_allclose(Normal(mean, log_variance).log_prob(z), expected, rtol=1e-5)


def test_the_gaussian_log_density_is_scipys_summed_over_an_example(pixels):
    x, mean, log_variance = pixels
    expected = scipy.stats.norm(*scaled(mean, log_variance)).logpdf(x).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(Gaussian(mean, log_variance).log_prob(x), expected, rtol=1e-5)


def test_the_laplace_log_density_is_scipys_with_a_variance_of_two_b_squared(pixels):
    x, mean, log_variance = pixels
    location, stddev = scaled(mean, log_variance)
    density = scipy.stats.laplace(location, stddev / math.sqrt(2))
    np.testing.assert_allclose(density.var(), stddev**2)
    np.testing.assert_allclose(
        Laplace(mean, log_variance).log_prob(x), density.logpdf(x).sum(axis=(1, 2, 3)), rtol=1e-5
    )


def test_the_bernoulli_log_density_is_scipys(pixels):
    x, logits, _ = pixels
    binary = (x > 0.5).astype(np.float32)
    expected = scipy.stats.bernoulli(scipy.special.expit(logits.astype(np.float64))).logpmf(binary).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(Bernoulli(logits).log_prob(binary), expected, rtol=1e-5)


def test_the_bernoulli_log_density_and_its_gradient_are_right_at_logits_of_a_hundred():
    logits, x = np.repeat(np.float32([-100, -88, 88, 100]), 3)[:, None], np.tile(np.float32([0, 0.5, 1]), 4)[:, None]
    wide = logits.astype(np.float64)
    expected = x * scipy.special.log_expit(wide) + (1 - x) * scipy.special.log_expit(-wide)
    np.testing.assert_allclose(Bernoulli(logits).log_prob(x), expected[:, 0], rtol=1e-6, atol=1e-30)
    gradient = jax.grad(lambda value: Bernoulli(value).log_prob(x).sum())(jnp.asarray(logits))
    np.testing.assert_allclose(gradient, x - scipy.special.expit(wide), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("kind", [Gaussian, Laplace])
def test_one_variance_for_all_pixels_is_the_same_as_an_array_of_it(pixels, kind):
    x, mean, _ = pixels
    whole = kind(mean, jnp.full(mean.shape, -0.7)).log_prob(x)
    np.testing.assert_allclose(kind(mean, jnp.float32(-0.7)).log_prob(x), whole, rtol=1e-6)


@pytest.mark.parametrize("kind", [Gaussian, Laplace, lambda mean, _: Bernoulli(mean)])
def test_k_samples_give_a_density_for_each_sample_and_example(pixels, kind):
    x, mean, log_variance = pixels
    stacked = kind(np.stack([mean, mean + 1]), np.stack([log_variance, log_variance - 1])).log_prob(x)
    assert stacked.shape == (2, 3)
    np.testing.assert_allclose(stacked[1], kind(mean + 1, log_variance - 1).log_prob(x), rtol=1e-6)


@pytest.mark.parametrize("kind", [Gaussian, Laplace, lambda mean, _: Bernoulli(mean)])
def test_a_weight_of_a_whole_number_counts_a_pixel_as_often(pixels, kind):
    x, mean, log_variance = pixels
    weight = np.random.default_rng(0).integers(0, 4, x.shape)
    counted = [
        kind(m.repeat(w)[None], v.repeat(w)[None]).log_prob(value.repeat(w)[None])[0]
        for value, m, v, w in zip(*(a.reshape(len(x), -1) for a in (x, mean, log_variance, weight)), strict=True)
    ]
    np.testing.assert_allclose(kind(mean, log_variance).log_prob(x, weight), counted, rtol=1e-5)


@pytest.mark.parametrize("weight", [0.5, 1.8, 10.0])
def test_a_weighted_squared_error_is_a_gaussian_of_variance_one_over_twice_the_weight(pixels, weight):
    x, mean, _ = pixels
    nats = -Gaussian(mean, jnp.float32(-math.log(2 * weight))).log_prob(x)
    constant = x[0].size / 2 * math.log(math.pi / weight)
    np.testing.assert_allclose(nats - constant, weight * np.square(x - mean).sum(axis=(1, 2, 3)), rtol=1e-4)


def test_the_softplus_posterior_has_the_stddev_softplus():
    raw = np.float32([-80, -20, -15.001, -15, -14.999, -5, -1, 0, 1, 5, 20, 50])
    expected = np.logaddexp(0, raw.astype(np.float64))
    q = normal_from_softplus(jnp.zeros(12), jnp.asarray(raw))
    np.testing.assert_allclose(q.stddev, expected, rtol=5e-5)  # exp(-80) doubles the rounding of its log 80 times over
    np.testing.assert_allclose(q.log_variance, 2 * np.log(expected), rtol=1e-6)


def test_the_softplus_posterior_keeps_its_log_variance_where_the_stddev_underflows():
    assert float(normal_from_softplus(jnp.zeros(1), jnp.array([-100.0])).log_variance[0]) == -200


def test_the_gradient_of_the_softplus_posterior_is_right_everywhere():
    raw = np.float32([-100, -20, -15.001, -15, -14.999, -5, 0, 5, 50])
    wide = raw.astype(np.float64)
    gradient = jax.grad(lambda r: normal_from_softplus(jnp.zeros(9), r).log_variance.sum())(jnp.asarray(raw))
    np.testing.assert_allclose(gradient, 2 * scipy.special.expit(wide) / np.logaddexp(0, wide), rtol=1e-5)


@pytest.mark.parametrize("raw", [-100.0, -20.0, -15.0, 0.0, 50.0])
def test_the_kl_of_the_softplus_posterior_has_finite_values_and_gradients(raw):
    value, gradient = jax.value_and_grad(lambda r: kl(normal_from_softplus(jnp.zeros(1), r), standard(1)).sum())(
        jnp.array([raw])
    )
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_latent_samples_follow_their_normal():
    q = Normal(jnp.array([0.5, -3.0]), jnp.array([-2.0, 1.0]))
    z = np.asarray(q.sample(keys(DRAWS)))
    for draws, mean, log_variance in zip(z.T, (0.5, -3.0), (-2.0, 1.0), strict=True):
        assert scipy.stats.kstest(draws, scipy.stats.norm(mean, math.exp(log_variance / 2)).cdf).pvalue > P_VALUE
    assert abs(np.corrcoef(z.T)[0, 1]) < 4 / math.sqrt(DRAWS)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [
        (Gaussian, scipy.stats.norm(0.3, math.sqrt(0.2))),
        (Laplace, scipy.stats.laplace(0.3, math.sqrt(0.1))),
    ],
)
def test_pixel_samples_follow_their_density(kind, reference):
    x = np.asarray(kind(jnp.full((DRAWS, 1), 0.3), jnp.float32(math.log(0.2))).sample(keys(DRAWS)))[:, 0]
    assert scipy.stats.kstest(x, reference.cdf).pvalue > P_VALUE


def test_bernoulli_samples_are_zero_or_one_with_the_probability_of_the_logit():
    x = np.asarray(Bernoulli(jnp.full((DRAWS, 1), -1.0)).sample(keys(DRAWS)))
    assert set(np.unique(x)) == {0, 1}
    assert scipy.stats.binomtest(int(x.sum()), DRAWS, scipy.special.expit(-1)).pvalue > P_VALUE


def test_the_mean_log_density_of_samples_is_minus_the_entropy():
    q = Normal(jnp.array([0.0, 2.0]), jnp.array([0.5, -1.0]))
    z, log_prob = q.sample_and_log_prob(keys(DRAWS))
    assert z.shape == (DRAWS, 2)
    entropy = sum(scipy.stats.norm(scale=math.exp(v / 2)).entropy() for v in (0.5, -1.0))
    assert float(log_prob.mean()) == pytest.approx(-entropy, abs=4 * float(log_prob.std()) / math.sqrt(DRAWS))


@pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
def test_latent_samples_take_one_key_or_one_an_example_or_one_a_sample_and_example(shape):
    z = Normal(jnp.zeros((3, 2)), jnp.zeros((3, 2))).sample(keys(*shape))
    assert z.shape == ((4, 3, 2) if shape == (4, 3) else (3, 2))
    assert len(np.unique(z)) == z.size


def test_a_prior_gives_as_many_latents_as_there_are_keys():
    assert standard(2).sample(keys(7)).shape == (7, 2)


@pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
def test_a_point_gives_its_mean_for_every_key(shape):
    mean = jnp.arange(6.0).reshape(3, 2)
    z = Point(mean).sample(keys(*shape))
    assert np.array_equal(z, np.broadcast_to(mean, (*shape[:-1], 3, 2)))


def test_a_sample_of_an_example_is_the_same_alone():
    q = Normal(jnp.arange(6.0).reshape(3, 2), jnp.zeros((3, 2)))
    together = q.sample(keys(4, 3))
    for k in range(4):
        assert np.array_equal(q.sample(keys(4, 3)[k]), together[k])


@pytest.mark.parametrize("kind", [Gaussian, Laplace, lambda mean, _: Bernoulli(mean)])
@pytest.mark.parametrize("shape", [(), (3,), (4, 3)])
def test_pixel_samples_have_the_shape_of_the_mean_for_keys_of_any_prefix(kind, shape):
    mean = jnp.zeros((4, 3, 5, 2)) if len(shape) == 2 else jnp.zeros((3, 5, 2))
    assert kind(mean, jnp.float32(0)).sample(keys(*shape)).shape == mean.shape


def test_keys_for_another_number_of_examples_are_refused():
    with pytest.raises(ValueError):
        Normal(jnp.zeros((3, 2)), jnp.zeros((3, 2))).sample(keys(5))
    with pytest.raises(ValueError):
        Gaussian(jnp.zeros((3, 2)), jnp.float32(0)).sample(keys(5))

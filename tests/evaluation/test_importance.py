import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from vae_jax import rng
from vae_jax.config import default_config, resolve
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps

D, Z = 6, 3
VARIANCE = 0.3  # s², of a pixel given z
WIDENING = 1.3  # of the exact posterior's stddev: the exact one would give log p(x) from one sample, and prove nothing
EXAMPLES = 64
KS = (1, 10, 100, 1000, 5000)


def linear_steps(latent, **changes):
    """A VAE whose nets have no hidden layers: q(z|x) and p(x|z) are affine in x and z."""
    config = default_config()
    config.model.encoder.widths = ()
    config.model.update(latent=latent, likelihood="gaussian", output="identity", variance=VARIANCE)
    config.train.update(log_every=1)
    for group, fields in changes.items():
        config[group].update(fields)
    resolve(config)
    return Steps(config, (D,), make_mesh(1))


def batch_of(x, ids=None):
    ids = np.arange(len(x)) if ids is None else ids
    return {"image": x.astype(np.float32), "example_id": ids.astype(np.uint32), "mask": np.ones(len(x), np.float32)}


def with_params(variables, values):
    """`variables` with the parameters `values`, by their path; every parameter must be given."""

    def replace(path, leaf):
        value = values.pop(".".join(str(entry.key) for entry in path if hasattr(entry, "key")))
        assert np.shape(value) == leaf.shape
        return jnp.asarray(value, jnp.float32)

    params = jax.tree_util.tree_map_with_path(replace, variables.params)
    assert not values
    return type(variables)(params, variables.model_state)


class LinearGaussian:
    """p(x|z) = N(Wz + b, s²I) with orthogonal columns of W, so that the exact posterior is diagonal."""

    def __init__(self):
        source = np.random.default_rng(0)
        basis, _ = np.linalg.qr(source.normal(size=(D, Z)))
        self.w, self.b = basis * [2.0, 1.0, 0.4], source.normal(size=D)  # [D, Z], [D]
        self.marginal = scipy.stats.multivariate_normal(self.b, self.w @ self.w.T + VARIANCE * np.eye(D))
        self.x = self.marginal.rvs(EXAMPLES, random_state=1).astype(np.float32)
        self.log_prob = self.marginal.logpdf(self.x.astype(np.float64))  # [B]

    def params(self):
        """The VAE's parameters under which q(z|x) is the exact posterior, its stddev times WIDENING."""
        precision = np.eye(Z) + self.w.T @ self.w / VARIANCE
        assert np.allclose(precision, np.diag(np.diag(precision)))
        variance = 1 / np.diag(precision)
        to_mean = self.w * variance / VARIANCE  # [D, Z]: E[z|x] = (x − b) @ to_mean
        return {
            "heads.kernel": np.concatenate([to_mean, np.zeros((D, Z))], axis=1),
            "heads.bias": np.concatenate([-self.b @ to_mean, np.log(WIDENING**2 * variance)]),
            "decoder.out.kernel": self.w.T,
            "decoder.out.bias": self.b,
        }


@pytest.fixture(scope="module")
def exact():
    return LinearGaussian()


@pytest.fixture(scope="module")
def steps():
    return linear_steps(Z)


@pytest.fixture(scope="module")
def variables(steps, exact):
    return with_params(steps.init().variables, exact.params())


@pytest.fixture(scope="module")
def estimates(steps, variables, exact):
    """The estimates of log p(x) [B] for each K."""
    return {k: -np.asarray(steps.importance(variables, batch_of(exact.x), samples=k), np.float64) for k in KS}


def test_the_estimate_with_5000_samples_is_within_a_twentieth_of_a_nat_of_the_exact_density(estimates, exact):
    np.testing.assert_allclose(estimates[5000], exact.log_prob, atol=0.05)
    assert abs((estimates[5000] - exact.log_prob).mean()) < 0.005


def test_the_estimate_rises_with_the_number_of_samples_within_its_error(estimates, exact):
    means = [estimates[k].mean() for k in KS]
    for few, many, error in zip(means[:-1], means[1:], [estimates[k] - exact.log_prob for k in KS[:-1]], strict=True):
        assert many > few - 2 * error.std() / math.sqrt(EXAMPLES)
    assert means[0] < means[-1] - 0.1


def test_the_error_of_the_estimate_is_what_the_variance_of_its_weights_says(estimates, exact):
    # Of weights p(z|x)/q(z|x) between normals of equal mean, E[w²] = c²/√(2c² − 1) in each dimension.
    second_moment = (WIDENING**2 / math.sqrt(2 * WIDENING**2 - 1)) ** Z
    expected = math.sqrt((second_moment - 1) / 1000)
    assert (estimates[1000] - exact.log_prob).std() == pytest.approx(expected, rel=0.35)


def test_the_elbo_is_below_by_the_kl_of_the_widened_posterior(steps, variables, exact, estimates):
    draws = 64
    ids = np.arange(EXAMPLES * draws)
    batch = batch_of(np.tile(exact.x, (draws, 1)), ids)
    elbo = np.asarray(steps.evaluate(variables, batch, steps.weights)["elbo"]).reshape(draws, EXAMPLES)
    gap = Z * (-math.log(WIDENING) + (WIDENING**2 - 1) / 2)
    error = 4 * float(np.std(elbo - elbo.mean(axis=0))) / math.sqrt(elbo.size)
    assert elbo.mean() == pytest.approx(exact.log_prob.mean() - gap, abs=error)
    assert elbo.mean() < estimates[5000].mean() - 0.1


@pytest.mark.parametrize("samples", [1, 33])
def test_the_estimate_is_the_log_of_the_mean_of_as_many_weights_as_asked_for(steps, variables, exact, samples):
    keys = rng.per_example(rng.stream(steps.config.seed, "evaluation"), jnp.arange(EXAMPLES))
    q = steps.encode(variables, exact.x)
    z = np.asarray(q.sample(rng.per_sample(keys, jnp.arange(samples))), np.float64)  # [K, B, Z]
    likelihood = scipy.stats.norm(z @ exact.w.T + exact.b, math.sqrt(VARIANCE)).logpdf(exact.x).sum(axis=-1)
    prior, proposal = scipy.stats.norm.logpdf(z), scipy.stats.norm(*map(np.asarray, (q.mean, q.stddev))).logpdf(z)
    log_weight = likelihood + (prior - proposal).sum(axis=-1)  # [K, B]
    expected = scipy.special.logsumexp(log_weight, axis=0) - math.log(samples)
    nll = steps.importance(variables, batch_of(exact.x), samples=samples)
    np.testing.assert_allclose(nll, -expected, rtol=1e-4)


def test_the_estimate_of_an_example_depends_on_its_id_and_not_on_its_batch(steps, variables, exact):
    order = np.random.default_rng(2).permutation(EXAMPLES)
    whole = np.asarray(steps.importance(variables, batch_of(exact.x), samples=10))
    shuffled = np.asarray(steps.importance(variables, batch_of(exact.x[order], order), samples=10))
    np.testing.assert_allclose(shuffled, whole[order], rtol=1e-5)


class ProbabilisticPCA:
    """The maximum likelihood of x = Wz + b + s·ε with two latents on a sample (Tipping & Bishop, 1999, section 3.2)."""

    latent = 2

    def __init__(self, x):
        values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
        kept, rest = values[: self.latent], values[self.latent :]
        self.variance = rest.mean()
        log_determinant = np.log(kept).sum() + len(rest) * math.log(self.variance)
        self.log_likelihood = -0.5 * (D * math.log(2 * math.pi) + log_determinant + D)  # an example's mean


@pytest.fixture(scope="module")
def trained():
    """A linear VAE trained on one sample of 256 from a normal of known covariance: its steps, variables and data."""
    source = np.random.default_rng(3)
    basis, _ = np.linalg.qr(source.normal(size=(D, D)))
    covariance = basis * [4.0, 1.5, 0.3, 0.25, 0.2, 0.15] @ basis.T
    x = source.multivariate_normal(source.normal(size=D), covariance, size=256)
    calls, k = 12, 250
    steps = linear_steps(
        ProbabilisticPCA.latent,
        model={"variance": 1.0, "variance_kind": "single"},
        optimizer={"learning_rate": 0.02, "schedule": "cosine", "decay_steps": calls * k},
        train={"batch_size": len(x), "log_every": k},
    )
    batches = {name: np.broadcast_to(array, (k, *array.shape)) for name, array in batch_of(x).items()}
    state = steps.init()
    for _ in range(calls):
        state, _ = steps.train(state, batches, steps.weights)
    assert state.ok
    return steps, state.variables, x


@pytest.fixture(scope="module")
def trained_elbo(trained):
    """The ELBO of an example, its mean over the training sample and 64 draws of z, and four standard errors."""
    steps, variables, x = trained
    draws = 64
    batch = batch_of(np.tile(x, (draws, 1)), np.arange(len(x) * draws))
    elbo = np.asarray(steps.evaluate(variables, batch, steps.weights)["elbo"]).reshape(draws, -1)
    return elbo.mean(dtype=np.float64), 4 * np.std(elbo - elbo.mean(axis=0)) / math.sqrt(elbo.size)


def log_variance(variables):
    """2·(f + softplus(log s − f)) with the floor f = −6, the soft clipping of Rybkin et al. (2021)."""
    raw = np.asarray(variables.params["learned_log_variance"][...], np.float64)
    return 2 * (np.logaddexp(0, raw / 2 + 6) - 6)


def test_a_trained_linear_vae_comes_within_a_twentieth_of_a_nat_of_probabilistic_pca(trained, trained_elbo):
    best = ProbabilisticPCA(trained[-1]).log_likelihood
    elbo, error = trained_elbo
    assert error < 0.05
    assert best - 0.05 < elbo < best + error


def test_a_trained_linear_vae_learns_the_noise_of_probabilistic_pca(trained):
    _, variables, x = trained
    assert math.exp(log_variance(variables)) == pytest.approx(ProbabilisticPCA(x).variance, rel=0.03)


def test_the_importance_weighted_estimate_of_a_trained_linear_vae_is_its_own_exact_density(trained, trained_elbo):
    steps, variables, x = trained
    w = np.asarray(variables.params["decoder"]["out"]["kernel"][...], np.float64).T  # [D, Z]
    b = np.asarray(variables.params["decoder"]["out"]["bias"][...], np.float64)
    exact = scipy.stats.multivariate_normal(b, w @ w.T + np.exp(log_variance(variables)) * np.eye(D)).logpdf(x)
    estimate = -np.asarray(steps.importance(variables, batch_of(x), samples=1000), np.float64)
    np.testing.assert_allclose(estimate, exact, atol=0.05)
    assert trained_elbo[0] - trained_elbo[1] < exact.mean() < ProbabilisticPCA(x).log_likelihood + 1e-4

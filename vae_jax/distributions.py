"""Posteriors, priors and likelihoods as small frozen dataclasses.

Two kinds, by what counts as one event. Latent distributions (`Normal`, `Point`) have the last axis as event and may
carry any axes before it: [B, Z], or [K, B, Z] for K samples. Pixel distributions (`Bernoulli`, `Gaussian`, `Laplace`)
take x [B, ...], every axis after the first being the event, and give log p [B], or [K, B] where their own parameters
are [K, B, ...]. With a `weight`, which broadcasts against x, some pixels count more than others in that sum, and it is
no log density any more. Everything is in float32 and in nats.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from vae_jax import rng

LOG_2PI = math.log(2 * math.pi)
# A softplus above this floor keeps a learned log σ from running away (Rybkin et al., 2021, σ-VAE, "soft clipping").
LOG_STDDEV_FLOOR = -6.0


def _pytree(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


def _normal_log_density(x, mean, log_variance):
    return -0.5 * (LOG_2PI + log_variance + jnp.square(x - mean) * jnp.exp(-log_variance))


def _sum_event(values, x, weight):
    """Sums over the axes of one event of x [B, ...], each entry times its weight."""
    weighted = values if weight is None else weight * values
    return weighted.sum(axis=tuple(range(1 - x.ndim, 0)))


@_pytree
class Normal:
    """A normal distribution with diagonal covariance over the last axis; `mean`, `log_variance` [..., Z]."""

    mean: jax.Array
    log_variance: jax.Array

    @property
    def mode(self) -> jax.Array:
        return self.mean

    @property
    def stddev(self) -> jax.Array:
        return jnp.exp(0.5 * self.log_variance)

    def sample(self, key: jax.Array) -> jax.Array:
        """z = mean + stddev·ε [..., Z]; with keys [B] or [K, B], one key an example, ε is [B, Z] or [K, B, Z]."""
        shape = jnp.broadcast_shapes(self.mean.shape, (*key.shape, 1))
        return self.mean + self.stddev * rng.normal(key, shape)

    def log_prob(self, z: jax.Array) -> jax.Array:
        """log N(z; mean, stddev²) of z [..., Z], as [...]."""
        return _normal_log_density(z, self.mean, self.log_variance).sum(axis=-1)

    def sample_and_log_prob(self, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A sample [..., Z] and its log density [...]."""
        z = self.sample(key)
        return z, self.log_prob(z)


@_pytree
class Point:
    """All mass at `mean` [..., Z]: the posterior of a deterministic autoencoder. It has no density and no KL."""

    mean: jax.Array

    @property
    def mode(self) -> jax.Array:
        return self.mean

    @property
    def stddev(self) -> jax.Array:
        return jnp.zeros_like(self.mean)

    def sample(self, key: jax.Array) -> jax.Array:
        """The mean, [B, Z] or [K, B, Z] as the keys say."""
        return jnp.broadcast_to(self.mean, jnp.broadcast_shapes(self.mean.shape, (*key.shape, 1)))


@_pytree
class Bernoulli:
    """Independent Bernoulli pixels given by their `logits` [B, ...]. A density of x only where x is 0 or 1."""

    logits: jax.Array

    @property
    def mean(self) -> jax.Array:
        return jax.nn.sigmoid(self.logits)

    @property
    def mode(self) -> jax.Array:
        return (self.logits > 0).astype(jnp.float32)

    def sample(self, key: jax.Array) -> jax.Array:
        """Pixels 0 or 1, float32, of the logits' shape."""
        return (rng.uniform(key, self.logits.shape) < self.mean).astype(jnp.float32)

    def log_prob(self, x: jax.Array, weight: jax.Array | None = None) -> jax.Array:
        """x·log σ(l) + (1 − x)·log σ(−l) = x·l − softplus(l), summed over the event; finite at any finite logit."""
        return _sum_event(x * self.logits - jax.nn.softplus(self.logits), x, weight)


@_pytree
class Gaussian:
    """Independent normal pixels; `log_variance` is a constant, one learned scalar, or an array like `mean`."""

    mean: jax.Array
    log_variance: jax.Array

    @property
    def mode(self) -> jax.Array:
        return self.mean

    def sample(self, key: jax.Array) -> jax.Array:
        """Pixels [B, ...] with the noise of the likelihood, not clipped."""
        return self.mean + jnp.exp(0.5 * self.log_variance) * rng.normal(key, self.mean.shape)

    def log_prob(self, x: jax.Array, weight: jax.Array | None = None) -> jax.Array:
        """log N(x; mean, variance) summed over the event."""
        if self.log_variance.ndim > 0:
            return _sum_event(_normal_log_density(x, self.mean, self.log_variance), x, weight)
        # Constants taken out of the sum: on the CPU, XLA sums plain squares ten times as fast.
        squares = _sum_event(jnp.square(x - self.mean), x, weight)  # [B] or [K, B]
        count = _sum_event(jnp.ones_like(x), x, weight)  # [B]: pixels, each by its weight
        return -0.5 * (squares * jnp.exp(-self.log_variance) + count * (LOG_2PI + self.log_variance))


@_pytree
class Laplace:
    """Independent Laplace pixels of the given variance 2b²; `log_variance` as in `Gaussian`."""

    mean: jax.Array
    log_variance: jax.Array

    @property
    def mode(self) -> jax.Array:
        return self.mean

    @property
    def _log_scale(self) -> jax.Array:
        return 0.5 * (self.log_variance - math.log(2))

    def sample(self, key: jax.Array) -> jax.Array:
        """Pixels [B, ...] with the noise of the likelihood, not clipped."""
        return self.mean + jnp.exp(self._log_scale) * rng.laplace(key, self.mean.shape)

    def log_prob(self, x: jax.Array, weight: jax.Array | None = None) -> jax.Array:
        """−|x − mean|/b − log 2b summed over the event."""
        log_scale = self._log_scale
        return _sum_event(-jnp.abs(x - self.mean) * jnp.exp(-log_scale) - log_scale - math.log(2), x, weight)


Posterior = Normal | Point
Prior = Normal
Likelihood = Bernoulli | Gaussian | Laplace


def normal_from_softplus(mean: jax.Array, raw: jax.Array) -> Normal:
    """The normal with stddev softplus(raw); below −15, where softplus(raw) = exp(raw) in float32, its log is raw."""
    low = raw < -15
    log_stddev = jnp.where(low, raw, jnp.log(jax.nn.softplus(jnp.where(low, -15, raw))))
    return Normal(mean, 2 * log_stddev)


def kl(q: Posterior, p: Prior) -> jax.Array:
    """KL(q ‖ p) per latent dimension [..., Z], nats: ½(Σ_q/Σ_p + (μ_q − μ_p)²/Σ_p − 1 + log Σ_p/Σ_q).

    Kingma & Welling (2014), appendix B. A point posterior, whose KL is infinite, is given zeros: its objective has
    no such term.
    """
    if isinstance(q, Point):
        return jnp.zeros_like(q.mean)
    log_ratio = q.log_variance - p.log_variance
    return 0.5 * (jnp.exp(log_ratio) + jnp.square(q.mean - p.mean) * jnp.exp(-p.log_variance) - 1 - log_ratio)

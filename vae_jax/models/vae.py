"""The variational autoencoder: encoder, posterior, prior, decoder and likelihood, each as the config says."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vae_jax import distributions, rng
from vae_jax.distributions import LOG_STDDEV_FLOOR
from vae_jax.models.nets import make_net


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Output:
    """What one pass gives: z is [B, Z], or [K, B, Z] for K samples, and the likelihood's arrays likewise."""

    posterior: distributions.Posterior
    z: jax.Array
    likelihood: distributions.Likelihood
    prior: distributions.Prior
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)


class VAE(nnx.Module):
    """q(z|x) and p(x|z)p(z) with nets from one family each (Kingma & Welling, 2014; Rezende et al., 2014).

    `posterior`: "normal" (heads for mean and log-variance), "softplus" (mean and softplus stddev) or "point" (a
    deterministic autoencoder). `likelihood`: "bernoulli", "gaussian" or "laplace", the latter two with a variance
    that is "fixed", a "single" learned one, or learned "per_pixel" by the decoder.

    With `cond`, the names of n conditions, all are given cond [B, n] too (Sohn et al., 2015): the encoder as channels
    that are the same at every pixel, the decoder beside z. The prior is the same for all conditions.
    """

    def __init__(self, model: Mapping, shape: tuple[int, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.shape, self.latent, self.dtype = tuple(shape), model["latent"], dtype
        self.posterior_kind, self.likelihood_kind = model["posterior"], model["likelihood"]
        conditions = len(model["cond"])
        self.variance_kind, self.output_kind = model["variance_kind"], model["output"]
        self.log_variance = math.log(model["variance"])
        self.encoder = make_net(
            model["encoder"], "Encoder", (*self.shape[:-1], self.shape[-1] + conditions), dtype=dtype, rngs=rngs
        )
        heads = 1 if self.posterior_kind == "point" else 2
        # Log-variances are exponentiated: the layers that they come from are float32 whatever the nets compute in.
        self.heads = nnx.Linear(self.encoder.features, heads * self.latent, rngs=rngs)
        per_pixel = self.likelihood_kind != "bernoulli" and self.variance_kind == "per_pixel"
        outputs = (*self.shape[:-1], self.shape[-1] * (2 if per_pixel else 1))
        options = {"dtype": dtype, "out_dtype": jnp.float32 if per_pixel else dtype, "rngs": rngs}
        self.decoder = make_net(model["decoder"], "Decoder", self.latent + conditions, outputs, **options)
        if self.likelihood_kind != "bernoulli" and self.variance_kind == "single":
            self.learned_log_variance = nnx.Param(jnp.float32(_unfloored(self.log_variance)))

    def encode(self, x: jax.Array, cond: jax.Array | None = None) -> distributions.Posterior:
        """q(z|x) for x [B, ...]: arrays [B, Z]."""
        if cond is not None:
            everywhere = cond.reshape(len(x), *[1] * (x.ndim - 2), -1)  # [B, n], or [B, 1, 1, n] for pictures
            x = jnp.concatenate([x, jnp.broadcast_to(everywhere, (*x.shape[:-1], cond.shape[-1]))], axis=-1)
        h = self.heads(self.encoder(x).astype(jnp.float32))
        if self.posterior_kind == "point":
            return distributions.Point(h)
        mean, raw = jnp.split(h, 2, axis=-1)  # [B, Z] each
        if self.posterior_kind == "softplus":
            return distributions.normal_from_softplus(mean, raw)
        return distributions.Normal(mean, raw)

    def prior(self, cond: jax.Array | None = None) -> distributions.Prior:
        """p(z) = N(0, 1): arrays [Z], which broadcast against any z."""
        return distributions.Normal(jnp.zeros(self.latent), jnp.zeros(self.latent))

    def decode(self, z: jax.Array, cond: jax.Array | None = None) -> distributions.Likelihood:
        """p(x|z) for z [B, Z] or [K, B, Z]: arrays [B, ...] or [K, B, ...]."""
        if cond is not None:
            z = jnp.concatenate([z, jnp.broadcast_to(cond, (*z.shape[:-1], cond.shape[-1]))], axis=-1)
        raw = self.decoder(z.reshape(-1, z.shape[-1])).astype(jnp.float32)
        raw = raw.reshape(*z.shape[:-1], *raw.shape[1:])
        if self.likelihood_kind == "bernoulli":
            return distributions.Bernoulli(raw)
        log_variance = jnp.float32(self.log_variance)
        if self.variance_kind == "per_pixel":
            raw, log_variance = jnp.split(raw, 2, axis=-1)
            log_variance = _floored(log_variance)
        elif self.variance_kind == "single":
            log_variance = _floored(self.learned_log_variance[...])
        mean = jax.nn.sigmoid(raw) if self.output_kind == "sigmoid" else raw
        kind = distributions.Gaussian if self.likelihood_kind == "gaussian" else distributions.Laplace
        return kind(mean, log_variance)

    def __call__(self, x: jax.Array, key: jax.Array, cond: jax.Array | None = None, samples: int = 1) -> Output:
        """One pass over x [B, ...]; `key` is scalar or one an example [B]; K = `samples` > 1 puts K in front."""
        posterior = self.encode(x, cond)
        keys = key if key.ndim else rng.per_example(key, jnp.arange(x.shape[0]))  # [B]
        z = posterior.sample(keys if samples == 1 else rng.per_sample(keys, jnp.arange(samples)))
        return Output(posterior, z, self.decode(z, cond), self.prior(cond))


def _unfloored(log_variance: float) -> float:
    """The value that `_floored` takes to `log_variance`, which lies above the floor."""
    return 2 * (LOG_STDDEV_FLOOR + math.log(math.expm1(0.5 * log_variance - LOG_STDDEV_FLOOR)))


def _floored(log_variance: jax.Array) -> jax.Array:
    log_stddev = 0.5 * log_variance
    return 2 * (LOG_STDDEV_FLOOR + jax.nn.softplus(log_stddev - LOG_STDDEV_FLOOR))

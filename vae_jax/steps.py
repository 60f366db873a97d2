"""The compiled functions of a VAE: train, evaluate, encode, decode, reconstruct and sample, for one config and mesh."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vae_jax import distributions, rng
from vae_jax.data.transforms import Prepared, held_out
from vae_jax.models.vae import VAE, Output
from vae_jax.nn.vgg import Vgg
from vae_jax.objectives import objective
from vae_jax.objectives.perceptual import perceptual_distance
from vae_jax.state import Variables
from vae_jax.train_steps import Batch, TrainSteps, Values

IMPORTANCE_CHUNK = 32
PIXELS_AT_ONCE = 2**18  # that a CPU encodes or decodes, or more: 64 images of 64×64


class Steps(TrainSteps):
    """The compiled functions of a VAE for examples of `shape`; `cond` is for a conditional one."""

    def __init__(self, config: ConfigDict, shape: tuple[int, ...], mesh: Mesh, *, features: Vgg | None = None):
        super().__init__(config, shape, mesh, features=features)
        self.encode = self._jit(self._encode, onednn=True)
        self.decode = self._jit(self._decode)
        self.reconstruct = self._jit(self._reconstruct)
        self.sample = self._jit(self._sample)
        self._seeded_importance = self._jit(self._importance, static_argnames="samples")

    @property
    def metrics(self) -> tuple[str, ...]:
        bound = () if self.bound == objective.LOSS else (self.bound,)
        kl = () if self.config.model.posterior == "point" else ("kl",)
        perceptual = ("perceptual",) if self.config.perceptual.weights else ()
        return ("loss", "reconstruction", *kl, *perceptual, *bound, "gradient_norm")

    def importance(self, variables: Variables, batch: Batch, *, samples: int) -> jax.Array:
        """−log p(x) [B] by K = `samples` draws from the posterior: see `_importance`."""
        return self._seeded_importance(self.seed, variables, batch, samples=samples)

    def _model(self, dtype: jnp.dtype, seed: jax.Array | int = 0) -> VAE:
        rngs = nnx.Rngs(params=rng.stream(seed, "init"))
        return VAE(self.config.model.to_dict(), self.shape, dtype=dtype, rngs=rngs)

    def _measure(self, model: VAE, x: Prepared, keys: jax.Array, weight: dict, features: Vgg | None) -> Values:
        return self._losses(model(x.seen, keys, x.cond), x, weight, features, dtype=model.dtype)

    def _losses(self, output: Output, x: Prepared, weight: dict, features: Vgg | None, *, dtype: jnp.dtype) -> Values:
        options, perceptual = self.config, None
        if options.perceptual.weights:
            layers = options.perceptual.layers
            perceptual = perceptual_distance(features, x.clean, output.likelihood.mean, layers=layers, dtype=dtype)
        losses = objective.losses(
            output,
            x.clean,
            weight,
            free_bits=options.objective.free_bits,
            pixel_weight=x.weight,
            perceptual=perceptual,
        )
        named = {"loss": losses.loss, "reconstruction": losses.reconstruction}
        if perceptual is not None:
            named["perceptual"] = perceptual
        if self.config.model.posterior != "point":  # whose KL is infinite
            named["kl"] = losses.kl
        return named if self.bound == objective.LOSS else {**named, self.bound: losses.bound}

    def _evaluate(
        self, seed: jax.Array, variables: Variables, batch: Batch, weights: dict, features: Vgg | None
    ) -> Values:
        """The losses of each example [B], its posterior mean and, if it has a KL, that per dimension [B, Z]."""
        x = held_out(batch, self.config.data)
        output = self._merge(variables)(x.seen, evaluation_keys(seed, batch), x.cond)
        losses = self._losses(output, x, weights, features, dtype=jnp.float32)
        values = {**losses, "latent_mean": output.posterior.mean}
        if "kl" in values:
            values["kl_per_dimension"] = distributions.kl(output.posterior, output.prior)
        return values

    def _importance(self, seed: jax.Array, variables: Variables, batch: Batch, *, samples: int) -> jax.Array:
        """−log p(x) [B] by K = `samples` draws from the posterior: −log 1/K Σ p(x, z_k)/q(z_k|x), nats.

        Burda et al. (2016), equation 8; an upper bound of −log p(x) in expectation, and with Bernoulli pixels and a
        grey x of the mean of that over binarised draws of x. In chunks, for memory. Where the net sees a corrupted x,
        its posterior is the proposal still, and p is of the clean one.
        """
        x, model = held_out(batch, self.config.data), self._merge(variables)
        keys = evaluation_keys(seed, batch)
        posterior, prior = model.encode(x.seen, x.cond), model.prior(x.cond)

        def chunk(total, start):
            number = start + jnp.arange(IMPORTANCE_CHUNK)
            z = posterior.sample(rng.per_sample(keys, number))  # [K', B, Z]
            log_weight = (
                model.decode(z, x.cond).log_prob(x.clean) + prior.log_prob(z) - posterior.log_prob(z)
            )  # [K', B]
            log_weight = jnp.where((number < samples)[:, None], log_weight, -jnp.inf)
            return jnp.logaddexp(total, jax.nn.logsumexp(log_weight, axis=0)), None

        starts = jnp.arange(0, samples, IMPORTANCE_CHUNK)
        total, _ = jax.lax.scan(chunk, jnp.full(len(x.clean), -jnp.inf), starts)
        return jnp.log(samples) - total

    def _encode(self, variables: Variables, x: jax.Array, cond: jax.Array | None = None) -> distributions.Posterior:
        return self._piecewise(self._merge(variables).encode, x, cond)

    def _decode(self, variables: Variables, z: jax.Array, cond: jax.Array | None = None) -> jax.Array:
        model = self._merge(variables)
        return self._piecewise(lambda z, cond: model.decode(z, cond).mean, z, cond)

    def _reconstruct(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """Of each of the "originals" [B, ...] the mean of p(x|z) at the posterior's mean: "reconstructions".

        Between them "seen", the original as the net is given it, where that is a corrupted one.
        """
        x, model = held_out(batch, self.config.data), self._merge(variables)
        seen = {} if self.config.data.corrupt.kind == "none" else {"seen": x.seen}
        z = model.encode(x.seen, x.cond).mean
        return {"originals": x.clean, **seen, "reconstructions": model.decode(z, x.cond).mean}

    def _sample(
        self, variables: Variables, keys: jax.Array, cond: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """For keys [N]: latents from the prior [N, Z], and the mean of p(x|z) at each [N, ...]."""
        model = self._merge(variables)
        z = model.prior(cond).sample(keys)
        return z, self._piecewise(lambda z, cond: model.decode(z, cond).mean, z, cond)

    def _piecewise(self, function: Callable, batch: jax.Array, cond: jax.Array | None):
        """function(batch [B, ...], cond [B, ...]), on one CPU in equal pieces of PIXELS_AT_ONCE or more.

        The activations of a piece stay in the caches (seen: a sixth faster at 128×128). A batch that does not divide
        goes whole.
        """
        if self.lowering != "cpu" or self.mesh.size > 1:
            return function(batch, cond)
        most = max(1, len(batch) * math.prod(self.shape[:-1]) // PIXELS_AT_ONCE)
        pieces = next(count for count in range(most, 0, -1) if len(batch) % count == 0)
        if pieces == 1:
            return function(batch, cond)
        cut = jax.tree.map(lambda array: array.reshape(pieces, -1, *array.shape[1:]), (batch, cond))
        results = jax.lax.map(lambda piece: function(*piece), cut)
        return jax.tree.map(lambda result: result.reshape(len(batch), *result.shape[2:]), results)


def evaluation_keys(seed: jax.Array | int, batch: Batch) -> jax.Array:
    """The keys [B] of the noise under which a run of `seed` evaluates the examples of a batch."""
    return rng.per_example(rng.stream(seed, "evaluation"), batch["example_id"])

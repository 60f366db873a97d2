"""The jitted functions of a run: train, evaluate, encode, decode, reconstruct and sample, for one config and mesh."""

import copy
import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vae_jax import distributions, rng
from vae_jax.axis import choose_axis, over_replicas
from vae_jax.data.transforms import Prepared, for_training, held_out
from vae_jax.mesh import replicated
from vae_jax.models.vae import VAE
from vae_jax.nn.convolution_layers import choose_lowering, compiler_options, set_lowering
from vae_jax.objectives import objective
from vae_jax.optimizer import learning_rate, make_optimizer
from vae_jax.state import TrainState, Variables, initial_state

IMPORTANCE_CHUNK = 32

Batch = dict[str, jax.Array]


class Steps:
    """The compiled functions for examples of `shape`; nothing is compiled before it is first called.

    Training runs the nets in `config.dtype`; everything held out is computed in float32 with the final weights of
    the objective, BatchNorm's running statistics and one key an example, so that a figure depends neither on the
    batch size nor on the number of devices.

    The seed and the weights of the objective are data to the compiled functions: see `for_replica`.
    """

    def __init__(self, config: ConfigDict, shape: tuple[int, ...], mesh: Mesh):
        self.config, self.shape, self.mesh = config, tuple(shape), mesh
        self.bound = objective.bound_name(config, self.shape)
        self.optimizer = make_optimizer(config.optimizer)
        self._learning_rate = learning_rate(config.optimizer)
        self.lowering = choose_lowering(config.convolution, mesh)
        model = nnx.eval_shape(lambda: self._model(jnp.dtype("float32")))
        self._compiler_options = compiler_options(model, self.lowering)
        self._train_graph = self._graph(jnp.dtype(config.dtype), training=True)
        self._eval_graph = self._graph(jnp.dtype("float32"), training=False)
        whole = replicated(mesh)
        self._axis = choose_axis(config.train.replica_axis, mesh.devices.flat[0].platform)
        in_training = {"precision": config.matmul_precision, "donate_argnums": 0, "out_shardings": whole}
        self.train = self._jit(self._train, **in_training)
        self.train_together = self._jit(self._train_together, **in_training)
        self.encode = self._jit(self._encode, out_shardings=whole)
        self.decode = self._jit(self._decode, out_shardings=whole)
        self.reconstruct = self._jit(self._reconstruct, out_shardings=whole)
        self.sample = self._jit(self._sample, out_shardings=whole)
        self._seeded = {
            "init": self._jit(self._init, out_shardings=whole),
            "evaluate": self._jit(self._evaluate, out_shardings=whole),
            "importance": self._jit(self._importance, static_argnames="samples", out_shardings=whole),
        }
        self._bind(config)

    def for_replica(self, config: ConfigDict) -> "Steps":
        """These functions, compiled once for both, for a config that differs in its seed and weights alone."""
        other = copy.copy(self)
        other._bind(config)
        return other

    def _bind(self, config: ConfigDict) -> None:
        self.config, self.weights = config, objective.weights(config.objective)
        self._seed = jnp.uint32(config.seed)
        self.init, self.evaluate, self.importance = (
            functools.partial(function, self._seed) for function in self._seeded.values()
        )

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what a training step measures, means over the batch."""
        bound = () if self.bound == objective.LOSS else (self.bound,)
        kl = () if self.config.model.posterior == "point" else ("kl",)
        return ("loss", "reconstruction", *kl, *bound, "gradient_norm")

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the training state, without its values."""
        sharding = replicated(self.mesh)
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(self._init, self._seed),
        )

    def _init(self, seed: jax.Array) -> TrainState:
        """The state before the first step, a function of the seed alone."""
        _, params, model_state = nnx.split(self._model(jnp.dtype(self.config.dtype), seed), nnx.Param, ...)
        return initial_state(
            Variables(params, model_state),
            self.optimizer,
            seed=seed,
            ema=self.config.optimizer.ema > 0,
            metrics=self.metrics,
        )

    def _train(self, state: TrainState, batches: Batch, weights: dict[str, jax.Array]) -> tuple[TrainState, dict]:
        """K steps over batches [K, B, ...]: the new state, and a report to be read later.

        The report has the number of steps done, the sums of the window, `ok`, and the metrics of the first step that
        was not finite (of the call's first step if all were). A scan even for K = 1: one call of 8 and eight calls of
        1 are then bitwise equal.
        """
        state, metrics = jax.lax.scan(lambda s, batch: self._train_step(s, batch, weights), state, batches)
        rate = self._learning_rate((state.step - 1) // self.config.optimizer.accumulate)
        failed = jnp.argmin(metrics["ok"])  # the first False
        return state, {
            "step": state.step,
            "ok": state.ok,
            "window": state.window,
            "failed": {name: metrics[name][failed] for name in self.metrics},
            "learning_rate": jnp.float32(rate),
        }

    def _train_together(
        self, states: tuple[TrainState, ...], batches: Batch, weights: tuple[dict, ...]
    ) -> tuple[tuple[TrainState, dict], ...]:
        """`_train` of R replicas over batches [K, R, B, ...]: the new state and the report of each."""
        own = [{name: array[:, replica] for name, array in batches.items()} for replica in range(len(states))]
        return over_replicas(self._train, list(zip(states, own, weights, strict=True)), axis=self._axis)

    def _train_step(self, state: TrainState, batch: Batch, weights: dict) -> tuple[TrainState, dict]:
        config = self.config
        x = for_training(batch, state.seed, config.data)
        keys = rng.per_example(rng.stream(state.seed, "train", state.step), batch["example_id"])
        weight = objective.weights_at(weights, state.step, config.objective)

        def mean_loss(params):
            model = nnx.merge(self._train_graph, params, state.variables.model_state, copy=True)
            losses = self._losses(model(x.seen, keys), x, weight)
            means = {name: _masked_mean(value, batch["mask"]) for name, value in losses.items()}
            return means["loss"], (means, nnx.state(model, nnx.Not(nnx.Param)))

        gradient, (metrics, model_state) = jax.grad(mean_loss, has_aux=True)(state.variables.params)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.variables.params)
        variables = Variables(optax.apply_updates(state.variables.params, updates), model_state)
        new = TrainState(
            step=state.step + 1,
            seed=state.seed,
            variables=variables,
            opt_state=opt_state,
            ema=self._averaged(state, variables),
            window=self._window(state, metrics),
            ok=state.ok & _finite((metrics["loss"], metrics["gradient_norm"], variables)),
        )
        kept = jax.tree.map(functools.partial(jnp.where, new.ok), new, state)
        return dataclasses.replace(kept, ok=new.ok), {**metrics, "ok": new.ok}

    def _averaged(self, state: TrainState, variables: Variables) -> Variables | None:
        """decay·old + (1 − decay)·new, the decay rising as (1 + step)/(10 + step) so that early weights fade."""
        if state.ema is None:
            return None
        decay = jnp.minimum(self.config.optimizer.ema, (1 + state.step) / (10 + state.step))
        return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.ema, variables)

    def _window(self, state: TrainState, metrics: dict) -> dict[str, jax.Array]:
        """The sums since the last logged step, started anew by the first step after it."""
        fresh = state.step % self.config.train.log_every == 0
        new = {**metrics, "count": jnp.float32(1)}
        return {name: jnp.where(fresh, 0, total) + new[name] for name, total in state.window.items()}

    def _losses(self, output, x: Prepared, weight: dict) -> dict[str, jax.Array]:
        losses = objective.losses(
            output, x.clean, weight, free_bits=self.config.objective.free_bits, pixel_weight=x.weight
        )
        named = {"loss": losses.loss, "reconstruction": losses.reconstruction}
        if self.config.model.posterior != "point":  # whose KL is infinite
            named["kl"] = losses.kl
        return named if self.bound == objective.LOSS else {**named, self.bound: losses.bound}

    def _evaluate(self, seed: jax.Array, variables: Variables, batch: Batch, weights: dict) -> dict[str, jax.Array]:
        """The losses of each example [B], its posterior mean and, if it has a KL, that per dimension [B, Z]."""
        x = held_out(batch, self.config.data)
        output = self._merge(variables)(x.seen, evaluation_keys(seed, batch))
        values = {**self._losses(output, x, weights), "latent_mean": output.posterior.mean}
        if "kl" in values:
            values["kl_per_dimension"] = distributions.kl(output.posterior, output.prior)
        return values

    def _importance(self, seed: jax.Array, variables: Variables, batch: Batch, *, samples: int) -> jax.Array:
        """−log p(x) [B] by K = `samples` draws from the posterior: −log 1/K Σ p(x, z_k)/q(z_k|x), nats.

        Burda et al. (2016), equation 8; an upper bound of −log p(x) in expectation. In chunks, for memory. Where the
        net sees a corrupted x, its posterior is the proposal still, and p is of the clean one.
        """
        x, model = held_out(batch, self.config.data), self._merge(variables)
        keys = evaluation_keys(seed, batch)
        posterior, prior = model.encode(x.seen), model.prior()

        def chunk(total, start):
            number = start + jnp.arange(IMPORTANCE_CHUNK)
            z = posterior.sample(rng.per_sample(keys, number))  # [K', B, Z]
            log_weight = model.decode(z).log_prob(x.clean) + prior.log_prob(z) - posterior.log_prob(z)  # [K', B]
            log_weight = jnp.where((number < samples)[:, None], log_weight, -jnp.inf)
            return jnp.logaddexp(total, jax.nn.logsumexp(log_weight, axis=0)), None

        starts = jnp.arange(0, samples, IMPORTANCE_CHUNK)
        total, _ = jax.lax.scan(chunk, jnp.full(len(x.clean), -jnp.inf), starts)
        return jnp.log(samples) - total

    def _encode(self, variables: Variables, x: jax.Array) -> distributions.Posterior:
        return self._merge(variables).encode(x)

    def _decode(self, variables: Variables, z: jax.Array) -> jax.Array:
        return self._merge(variables).decode(z).mean

    def _reconstruct(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """Of each of the "originals" [B, ...] the mean of p(x|z) at the posterior's mean: "reconstructions".

        Between them "seen", the original as the net is given it, where that is a corrupted one.
        """
        x, model = held_out(batch, self.config.data), self._merge(variables)
        seen = {} if self.config.data.corrupt.kind == "none" else {"seen": x.seen}
        return {"originals": x.clean, **seen, "reconstructions": model.decode(model.encode(x.seen).mean).mean}

    def _sample(self, variables: Variables, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """For keys [N]: latents from the prior [N, Z], and the mean of p(x|z) at each [N, ...]."""
        model = self._merge(variables)
        z = model.prior().sample(keys)
        return z, model.decode(z).mean

    def _merge(self, variables: Variables) -> VAE:
        return nnx.merge(self._eval_graph, variables.params, variables.model_state, copy=True)

    def _model(self, dtype: jnp.dtype, seed: jax.Array | int = 0) -> VAE:
        rngs = nnx.Rngs(params=rng.stream(seed, "init"))
        return VAE(self.config.model.to_dict(), self.shape, dtype=dtype, rngs=rngs)

    def _graph(self, dtype: jnp.dtype, *, training: bool) -> nnx.GraphDef:
        model = nnx.eval_shape(lambda: self._model(dtype))
        model.train() if training else model.eval()
        model.set_attributes(remat=training and self.config.remat, raise_if_not_found=False)
        set_lowering(model, self.lowering)
        return nnx.split(model, nnx.Param, ...)[0]

    def _jit(self, function: Callable, *, precision: str = "highest", **options) -> Callable:
        @functools.wraps(function)
        def traced(*args, **kwargs):
            with jax.default_matmul_precision(precision):
                return function(*args, **kwargs)

        return jax.jit(traced, compiler_options=self._compiler_options, **options)


def _finite(tree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def evaluation_keys(seed: jax.Array | int, batch: Batch) -> jax.Array:
    """The keys [B] of the noise under which a run of `seed` evaluates the examples of a batch."""
    return rng.per_example(rng.stream(seed, "evaluation"), batch["example_id"])


def _masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    return (values * mask).sum() / mask.sum()

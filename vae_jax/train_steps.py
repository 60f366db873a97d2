"""What any model needs compiled to be trained: its first state, the training steps, and the shapes of both."""

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

from vae_jax import rng
from vae_jax.axis import choose_axis, over_replicas
from vae_jax.compilation import Unkept
from vae_jax.data.transforms import Prepared, for_training
from vae_jax.mesh import check_state_fits, replicated, state_shardings
from vae_jax.nn.convolution_layers import calls_onednn, choose_lowering, compiler_options, set_lowering
from vae_jax.nn.vgg import Vgg
from vae_jax.objectives import objective
from vae_jax.optimizer import learning_rate, make_optimizer
from vae_jax.state import TrainState, Variables, initial_state

Batch = dict[str, jax.Array]
Values = dict[str, jax.Array]


class TrainSteps:
    """The compiled functions of a model for examples of `shape`; nothing is compiled before it is first called.

    Training runs the nets in `config.dtype`; everything held out is computed in float32 with the final weights of
    the objective, BatchNorm's running statistics and one key an example, so that a figure depends neither on the
    batch size nor on the number of devices.

    The seed and the weights of the objective are data to the compiled functions: see `for_replica`. So are the frozen
    `features` of the perceptual term, which only training and evaluation need: they are no part of the state.

    A kind of model is a subclass: it makes the model and says what a batch costs it.
    """

    def __init__(self, config: ConfigDict, shape: tuple[int, ...], mesh: Mesh, *, features: Vgg | None = None):
        self.config, self.shape, self.mesh = config, tuple(shape), mesh
        self.features = jax.device_put(features, replicated(mesh))
        self.bound = objective.bound_name(config, self.shape)
        self.optimizer = make_optimizer(config.optimizer, dtype=jnp.dtype(config.dtype))
        self._learning_rate = learning_rate(config.optimizer)
        self.lowering = choose_lowering(config.convolution, mesh)
        model = nnx.eval_shape(lambda: self._model(jnp.dtype("float32")))
        self._compiler_options = functools.partial(compiler_options, model, self.lowering)
        self._train_graph = self._graph(jnp.dtype(config.dtype), training=True)
        self._eval_graph = self._graph(jnp.dtype("float32"), training=False)
        self._axis = choose_axis(config.train.replica_axis, mesh.devices.flat[0].platform)
        in_training = {
            "precision": config.matmul_precision,
            # float32 trains as fast without it, and its program is then kept. What it computes wrongly is told by the
            # shapes of one device's convolutions (`nn/convolution.py`), so not where devices share a batch, or replicas
            # are channels of one.
            "onednn": config.dtype == "bfloat16" and mesh.size == 1 and self._axis == "map",
            "donate_argnums": 0,
        }
        state = jax.eval_shape(self._init, 0)
        self._shardings = state_shardings(mesh, state)
        check_state_fits(state, self._shardings, mesh, copies=_replicas(config))
        after = (self._shardings, replicated(mesh))  # a state and its report
        self.train = self._jit(self._train, **in_training, out_shardings=after)
        self.train_together = self._jit(self._train_together, **in_training, out_shardings=(after,) * _replicas(config))
        self._seeded = {
            "init": self._jit(self._init, out_shardings=self._shardings),
            "evaluate": self._jit(self._evaluate),
        }
        self._bind(config)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what a training step measures, means over the batch."""
        raise NotImplementedError

    def _model(self, dtype: jnp.dtype, seed: jax.Array | int = 0) -> nnx.Module:
        """The model with its weights before the first step, its nets in `dtype`."""
        raise NotImplementedError

    def _measure(self, model: nnx.Module, x: Prepared, keys: jax.Array, weight: dict, features: Vgg | None) -> Values:
        """What each example costs [B], by the names of `metrics` less the norm of the gradient; `keys` [B]."""
        raise NotImplementedError

    def _evaluate(
        self, seed: jax.Array, variables: Variables, batch: Batch, weights: dict, features: Vgg | None
    ) -> Values:
        """Of a held-out batch what `_measure` says [B], and what else its evaluation is made of [B, ...]."""
        raise NotImplementedError

    def for_replica(self, config: ConfigDict) -> "TrainSteps":
        """These functions, compiled once for both, for a config that differs in its seed and weights alone."""
        other = copy.copy(self)
        other._bind(config)
        return other

    def _bind(self, config: ConfigDict) -> None:
        self.config, self.weights = config, objective.weights(config.objective)
        self.seed = jnp.uint32(config.seed)
        self.init = functools.partial(self._seeded["init"], self.seed)
        self.evaluate = functools.partial(self._seeded["evaluate"], self.seed, features=self.features)

    def abstract_state(self) -> TrainState:
        """Shapes, dtypes and shardings of the training state, without its values."""
        return jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(self._init, self.seed),
            self._shardings,
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

    def _train(
        self, state: TrainState, batches: Batch, weights: dict[str, jax.Array], features: Vgg | None = None
    ) -> tuple[TrainState, dict]:
        """K steps over batches [K, B, ...]: the new state, and a report to be read later.

        The report has the number of steps done, the sums of the window, `ok`, and the metrics of the first step that
        was not finite (of the call's first step if all were). A scan even for K = 1: one call of 8 and eight calls of
        1 are then bitwise equal.
        """
        state, metrics = jax.lax.scan(lambda s, batch: self._train_step(s, batch, weights, features), state, batches)
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
        self, states: tuple[TrainState, ...], batches: Batch, weights: tuple[dict, ...], features: Vgg | None = None
    ) -> tuple[tuple[TrainState, dict], ...]:
        """`_train` of R replicas over batches [K, R, B, ...]: the new state and the report of each."""
        own = [{name: array[:, replica] for name, array in batches.items()} for replica in range(len(states))]
        train = functools.partial(self._train, features=features)
        return over_replicas(train, list(zip(states, own, weights, strict=True)), axis=self._axis)

    def _train_step(
        self, state: TrainState, batch: Batch, weights: dict, features: Vgg | None
    ) -> tuple[TrainState, dict]:
        config = self.config
        x = for_training(batch, state.seed, config.data)
        keys = rng.per_example(rng.stream(state.seed, "train", state.step), batch["example_id"])
        weight = objective.weights_at(weights, state.step, config.objective)

        def mean_loss(params):
            model = nnx.merge(self._train_graph, params, state.variables.model_state, copy=True)
            losses = self._measure(model, x, keys, weight, features)
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
        """decay·old + (1 − decay)·new at each update, the decay rising as (1 + n)/(10 + n) so that early ones fade."""
        if state.ema is None:
            return None
        accumulate = self.config.optimizer.accumulate  # batches, of which the last one brings an update
        updates, batch = jnp.divmod(state.step, accumulate)
        decay = jnp.minimum(self.config.optimizer.ema, (1 + updates) / (10 + updates))
        decay = jnp.where(batch == accumulate - 1, decay, 1)
        return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, state.ema, variables)

    def _window(self, state: TrainState, metrics: dict) -> dict[str, jax.Array]:
        """The sums since the last logged step, started anew by the first step after it."""
        fresh = state.step % self.config.train.log_every == 0
        new = {**metrics, "count": jnp.float32(1)}
        return {name: jnp.where(fresh, 0, total) + new[name] for name, total in state.window.items()}

    def _merge(self, variables: Variables) -> nnx.Module:
        return nnx.merge(self._eval_graph, variables.params, variables.model_state, copy=True)

    def _graph(self, dtype: jnp.dtype, *, training: bool) -> nnx.GraphDef:
        model = nnx.eval_shape(lambda: self._model(dtype))
        model.train() if training else model.eval()
        model.set_attributes(remat=training and self.config.remat, raise_if_not_found=False)
        set_lowering(model, self.lowering)
        return nnx.split(model, nnx.Param, ...)[0]

    def _jit(self, function: Callable, *, precision: str = "highest", onednn: bool = False, **options) -> Callable:
        @functools.wraps(function)
        def traced(*args, **kwargs):
            with jax.default_matmul_precision(precision):
                return function(*args, **kwargs)

        compiler = self._compiler_options(onednn=onednn)
        options = {"compiler_options": compiler, "out_shardings": replicated(self.mesh), **options}
        jitted = jax.jit(traced, **options)
        return Unkept(jitted) if calls_onednn(compiler) else jitted


def _replicas(config: ConfigDict) -> int:
    """How many runs a call of `train_together` trains."""
    return max(1, *map(len, config.train.replicas.values()))


def _finite(tree) -> jax.Array:
    return jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def _masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    return (values * mask).sum() / mask.sum()

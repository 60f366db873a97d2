"""The state of a training run: everything a step reads and writes, and everything a checkpoint keeps."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from flax import nnx


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Variables:
    """What a model computes with: its parameters and its state (BatchNorm's statistics)."""

    params: nnx.State
    model_state: nnx.State


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """`window` holds the sums of the steps since the last logged one, so that a resumed run logs the same means."""

    step: jax.Array  # int32, steps done
    seed: jax.Array  # uint32, the run's: data to the compiled step, so that runs of other seeds share it
    variables: Variables
    opt_state: optax.OptState
    ema: Variables | None  # averaged variables, or None
    window: dict[str, jax.Array]  # float32 scalars; "count" is how many steps they sum
    ok: jax.Array  # bool; False from the first step that was not finite, after which nothing changes any more


def initial_state(
    variables: Variables,
    optimizer: optax.GradientTransformation,
    *,
    seed: jax.Array,
    ema: bool,
    metrics: tuple[str, ...],
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.int32(0),
        seed=seed,
        variables=variables,
        opt_state=optimizer.init(variables.params),
        # A copy: a buffer that stands twice in a donated state is refused.
        ema=jax.tree.map(jnp.copy, variables) if ema else None,
        window={name: jnp.float32(0) for name in (*metrics, "count")},
        ok=jnp.bool_(True),
    )

"""The optimiser of the config, as one optax transformation."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from vae_jax.errors import UserError


def make_optimizer(options: ConfigDict, *, dtype: jnp.dtype = jnp.float32) -> optax.GradientTransformation:
    """Clipping by global norm, then the optimiser under the schedule, once every `accumulate` batches.

    Muon (Jordan et al., 2024) moves every kernel by the orthogonal matrix nearest to its momentum, which it finds by
    Newton-Schulz in `dtype`, that of the nets; Adam with Nesterov's momentum, at the same rate, moves what is no
    kernel. Weight decay is of kernels alone.
    """
    parts = [optax.clip_by_global_norm(options.clip_norm)] if options.clip_norm else []
    rate = learning_rate(options)
    if options.name == "adam":
        parts.append(optax.adam(rate))
    elif options.name == "adamw":
        parts.append(optax.adamw(rate, weight_decay=options.weight_decay))
    elif options.name == "muon":
        parts += _muon(rate, weight_decay=options.weight_decay, dtype=dtype)
    else:
        parts.append(optax.sgd(rate))
    optimizer = optax.chain(*parts)
    if options.accumulate > 1:
        return optax.MultiSteps(optimizer, every_k_schedule=options.accumulate).gradient_transformation()
    return optimizer


def learning_rate(options: ConfigDict) -> optax.Schedule:
    """The learning rate at each parameter update: a linear warm-up, then constant or a cosine down to 0.

    UserError where a cosine has no end, which only a run with its data can find out.
    """
    if options.schedule == "cosine":
        if options.decay_steps is None:
            raise UserError(
                "optimizer.decay_steps is not set; where a run's data are not at hand, schedule='cosine' needs it."
            )
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if options.warmup_steps else options.learning_rate,
            peak_value=options.learning_rate,
            warmup_steps=options.warmup_steps,
            decay_steps=options.decay_steps,
        )
    if options.warmup_steps:
        return optax.linear_schedule(0.0, options.learning_rate, options.warmup_steps)
    return optax.constant_schedule(options.learning_rate)


def _muon(rate: optax.Schedule, *, weight_decay: float, dtype: jnp.dtype) -> list[optax.GradientTransformation]:
    muon = optax.contrib.muon(
        rate, weight_decay=weight_decay, mu_dtype=dtype, muon_weight_dimension_numbers=_as_matrices
    )
    # Optax iterates in the dtype of a kernel's gradient and momentum.
    kernels_cast = optax.stateless(
        lambda gradient, _: jax.tree.map(lambda g: g.astype(dtype) if g.ndim > 1 else g, gradient)
    )
    return [kernels_cast, muon, optax.stateless(optax.tree.cast_like)]


def _as_matrices(params):
    """How each kernel is a matrix [inputs, outputs]: a convolution's taps [kh, kw, in, out] are inputs too."""

    def as_matrix(leaf):
        if leaf.ndim < 2:
            return None  # Adam's
        *inputs, output = range(leaf.ndim)
        return optax.contrib.MuonDimensionNumbers(tuple(inputs), output)

    return jax.tree.map(as_matrix, params)

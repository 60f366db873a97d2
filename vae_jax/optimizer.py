"""The optimiser of the config, as one optax transformation."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from vae_jax.errors import UserError


def make_optimizer(options: ConfigDict, *, dtype: jnp.dtype = jnp.float32) -> optax.GradientTransformation:
    """Clipping by global norm, then the optimiser under the schedule, once every `accumulate` batches.

    Of adamw all parameters decay, of muon the kernels: see `_muon`, which computes in `dtype`, that of the nets.
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
    """Muon (Jordan et al., 2024): the momentum (0.95, Nesterov's) of every kernel, made about orthogonal.

    Newton-Schulz iterations bring its singular values to 0.7 to 1.1; it is then scaled by √max(1, outputs/inputs). What
    is no kernel goes by Adam with Nesterov's momentum, at the same rate. Kernels' gradients and all momenta are in
    `dtype`, and optax iterates in what it is given.
    """
    muon = optax.contrib.muon(
        rate, weight_decay=weight_decay, mu_dtype=dtype, muon_weight_dimension_numbers=_as_matrices
    )
    kernels_cast = optax.stateless(
        lambda gradient, _: jax.tree.map(lambda g: g.astype(dtype) if _is_kernel(g) else g, gradient)
    )
    return [kernels_cast, muon, optax.stateless(optax.tree.cast_like)]


def _as_matrices(params):
    """How each kernel is a matrix [inputs, outputs]: a convolution's taps [kh, kw, in, out] are inputs too."""

    def as_matrix(kernel):
        return optax.contrib.MuonDimensionNumbers(tuple(range(kernel.ndim - 1)), kernel.ndim - 1)

    return jax.tree.map(lambda leaf: as_matrix(leaf) if _is_kernel(leaf) else None, params)


def _is_kernel(leaf: jax.Array) -> bool:
    return leaf.ndim > 1

"""The optimiser of the config, as one optax transformation."""

import optax
from ml_collections import ConfigDict

from vae_jax.errors import UserError


def make_optimizer(options: ConfigDict) -> optax.GradientTransformation:
    """Clipping by global norm, then adam, adamw or sgd under the schedule, once every `accumulate` batches."""
    parts = [optax.clip_by_global_norm(options.clip_norm)] if options.clip_norm else []
    rate = learning_rate(options)
    if options.name == "adam":
        parts.append(optax.adam(rate))
    elif options.name == "adamw":
        parts.append(optax.adamw(rate, weight_decay=options.weight_decay))
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

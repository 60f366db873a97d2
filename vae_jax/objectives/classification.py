"""The objective of a classifier: −log p(target | x) per example, in nats."""

import jax
import jax.numpy as jnp


def losses(logits: jax.Array, target: jax.Array, *, exclusive: bool) -> dict[str, jax.Array]:
    """For logits and targets of 0 and 1 [B, A]: "loss" −log p(target | x) and "accuracy", [B] each.

    `exclusive` targets are classes, one of which holds: a softmax, and an accuracy of 0 or 1. Others are independent
    attributes: a sigmoid each, the loss their sum, the accuracy the share of the A that is told right.
    """
    if exclusive:
        right = (logits.argmax(axis=-1) == target.argmax(axis=-1)).astype(jnp.float32)
        return {"loss": -(target * jax.nn.log_softmax(logits)).sum(axis=-1), "accuracy": right}
    nats = jax.nn.softplus(logits) - target * logits  # [B, A]
    return {"loss": nats.sum(axis=-1), "accuracy": ((logits > 0) == (target > 0)).mean(axis=-1)}


def probabilities(logits: jax.Array, *, exclusive: bool) -> jax.Array:
    """p(target | x) [B, A]."""
    return jax.nn.softmax(logits) if exclusive else jax.nn.sigmoid(logits)

"""Per-example values over a whole split: every example once, padding masked away, fetched once at the end."""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from vae_jax.data.pipeline import evaluation_batches
from vae_jax.data.source import Source
from vae_jax.state import TrainState, Variables
from vae_jax.steps import Batch


def evaluation_variables(state: TrainState, *, ema: bool) -> Variables:
    """What an evaluation computes with: the averaged variables where there are any and `ema` asks for them."""
    return state.ema if ema and state.ema is not None else state.variables


def over_split(
    function: Callable[[Batch], dict[str, jax.Array]],
    source: Source,
    *,
    batch_size: int,
    mesh: Mesh,
    limit: int | None = None,
) -> dict[str, np.ndarray]:
    """`function` of every batch, its arrays [B, ...] laid end to end without the padding: [N, ...] in float32."""
    pieces = []
    for batch in evaluation_batches(source, batch_size, mesh=mesh, limit=limit):
        pieces.append(function(batch))
    fetched = jax.device_get(pieces)
    # The padding comes last; the mask says so too, but of several processes each has its part of it only.
    count = len(source) if limit is None else min(limit, len(source))
    return {name: np.concatenate([values[name] for values in fetched])[:count] for name in fetched[0]}

"""Competitors timed in turn, round after round, and the machine's matrix-product rate beside them."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

PRODUCT = {"cpu": 2048, "gpu": 8192}  # side of the matrices of the machine's product rate


@dataclasses.dataclass(frozen=True)
class Competitor:
    """`run(batches)` works through that many batches, a multiple of `multiple`, and waits for the last."""

    library: str
    mode: str
    precision: str  # float32 | bfloat16
    run: Callable[[int], None]
    multiple: int = 1


def alternate(competitors: Sequence[Competitor], *, batch_size: int, rounds: int, seconds: float) -> list[list[float]]:
    """Images/s [competitors][rounds]: in each round every competitor runs once, for about `seconds`.

    In turn, because what else the machine does changes over minutes and would favour whoever ran in a quiet one.
    """
    batches = [_batches_in(competitor, seconds) for competitor in competitors]
    rates = [[] for _ in competitors]
    for _ in range(rounds):
        for competitor, count, rate in zip(competitors, batches, rates, strict=True):
            start = time.perf_counter()
            competitor.run(count)
            rate.append(count * batch_size / (time.perf_counter() - start))
    return rates


def product_rate(dtype: jnp.dtype, *, rounds: int) -> float:
    """FLOP/s of the best of `rounds` square matrix products in `dtype`: what a net of products alone would reach."""
    side = PRODUCT[jax.default_backend()]
    a = jnp.ones((side, side), dtype)
    product = jax.jit(lambda a, b: a @ b)
    jax.block_until_ready(product(a, a))
    best = 0.0
    for _ in range(3 * rounds):
        start = time.perf_counter()
        jax.block_until_ready(product(a, a))
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def rows(competitors: Sequence[Competitor], rates: Sequence[Sequence[float]]) -> list[dict]:
    """One row a competitor; `ratio` is its median over that of PyTorch's best mode of the same precision."""
    medians = [statistics.median(rate) for rate in rates]
    best = {}
    for competitor, median in zip(competitors, medians, strict=True):
        if competitor.library == "torch":
            best[competitor.precision] = max(best.get(competitor.precision, 0.0), median)
    return [
        {
            "library": competitor.library,
            "mode": competitor.mode,
            "precision": competitor.precision,
            "images_per_second": median,
            "lowest": min(rate),
            "highest": max(rate),
            "ratio": median / best[competitor.precision] if competitor.precision in best else None,
        }
        for competitor, median, rate in zip(competitors, medians, rates, strict=True)
    ]


def _batches_in(competitor: Competitor, seconds: float) -> int:
    """How many batches, warm, take about `seconds`."""
    least = competitor.multiple
    competitor.run(least)  # compiles
    start = time.perf_counter()
    competitor.run(least)
    return least * max(1, round(seconds / (time.perf_counter() - start)))

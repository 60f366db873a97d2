"""Points of a mixture of ten Gaussians in three dimensions: vectors, for nets of dense layers."""

from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from vae_jax.data.source import ArraySource

POINTS, COMPONENTS, DIMENSIONS = 20_000, 10, 3
SPREAD = 4.0  # of the components' means, where the stddev of a component is about 1 along each of its axes


@dataclass(frozen=True)
class Mixture:
    """`weights` [M], `means` [M, D] and `covariances` [M, D, D] of M Gaussians."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


def open_splits(config: ConfigDict) -> dict[str, ArraySource]:
    """All points as "train", float32 [20000, 3], labelled by component; `config.seed` draws mixture and points."""
    rng = np.random.default_rng(config.seed)
    mixture = draw_mixture(rng)
    labels = rng.choice(COMPONENTS, POINTS, p=mixture.weights).astype(np.int32)
    roots = np.linalg.cholesky(mixture.covariances)
    noise = rng.standard_normal((POINTS, DIMENSIONS))
    points = mixture.means[labels] + np.einsum("nij,nj->ni", roots[labels], noise)  # [N, D]
    return {"train": ArraySource(points.astype(np.float32), labels, tuple(map(str, range(COMPONENTS))))}


def draw_mixture(rng: np.random.Generator) -> Mixture:
    """A random mixture whose mean is 0 and whose variance is 1 in every coordinate.

    It is the mixture that is standardised, by its own moments, and not the points by theirs: all splits are draws from
    one known density, which estimates of −log p(x) can be held against.
    """
    weights = rng.dirichlet(np.full(COMPONENTS, 5.0))
    means = SPREAD * rng.standard_normal((COMPONENTS, DIMENSIONS))
    axes = rng.standard_normal((COMPONENTS, DIMENSIONS, DIMENSIONS))
    covariances = axes @ axes.swapaxes(1, 2) / DIMENSIONS + 0.1 * np.eye(DIMENSIONS)
    means -= weights @ means
    scale = np.sqrt(weights @ (means**2 + np.diagonal(covariances, axis1=1, axis2=2)))  # [D]
    return Mixture(weights, means / scale, covariances / np.outer(scale, scale))

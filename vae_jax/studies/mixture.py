"""A Gaussian mixture fitted to the aggregate posterior, to draw latents from where the data's are."""

import warnings

import jax
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from vae_jax import rng

REGULARISED = 1e-4  # added to the variances


def fit_mixture(latents: np.ndarray, components: int, *, seed: int) -> GaussianMixture:
    """A mixture of at most `components` Gaussians with full covariances, fitted to latents [N, Z]."""
    components = min(components, len(latents))
    mixture = GaussianMixture(components, reg_covar=REGULARISED, random_state=seed, max_iter=50, tol=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # one that would still move a little serves as well
        return mixture.fit(latents.astype(np.float64))


def draw_mixture(mixture: GaussianMixture, count: int, *, seed: int) -> np.ndarray:
    """`count` latents [count, Z] of a fitted mixture; sample i depends on (seed, i) alone."""
    keys = rng.per_example(rng.stream(seed, "study sample mixture"), np.arange(count, dtype=np.uint32))
    drawn = jax.device_get(rng.uniform(keys, (count, 1)))[:, 0]
    component = np.searchsorted(np.cumsum(mixture.weights_)[:-1], drawn)
    noise = jax.device_get(rng.normal(rng.per_sample(keys, np.arange(1)), (1, count, mixture.means_.shape[1])))[0]
    roots = np.linalg.cholesky(mixture.covariances_)  # [C, Z, Z]
    return (mixture.means_[component] + np.einsum("nij,nj->ni", roots[component], noise)).astype(np.float32)

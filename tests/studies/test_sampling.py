"""Where samples come from, and what in the training set is nearest to them."""

import types

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from vae_jax.data.source import ArraySource
from vae_jax.studies import nearest as nearest_module
from vae_jax.studies.mixture import draw_mixture, fit_mixture
from vae_jax.studies.nearest import nearest


@pytest.fixture(scope="module")
def latents():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal([3, 0], [1, 0.2], (600, 2)), rng.normal([-3, 0], [0.3, 1], (300, 2))])


def test_draws_of_the_mixture_are_where_the_latents_are(latents):
    drawn = draw_mixture(fit_mixture(latents, 2, seed=0), 4000, seed=1)
    right, left = drawn[drawn[:, 0] > 0], drawn[drawn[:, 0] < 0]
    np.testing.assert_allclose(len(right) / len(drawn), 2 / 3, atol=0.04)
    np.testing.assert_allclose(right.mean(axis=0), [3, 0], atol=0.15)
    np.testing.assert_allclose(right.std(axis=0), [1, 0.2], atol=0.1)
    np.testing.assert_allclose(left.std(axis=0), [0.3, 1], atol=0.1)


def test_the_first_ten_draws_of_the_mixture_are_those_of_ten(latents):
    mixture = fit_mixture(latents, 2, seed=0)
    np.testing.assert_array_equal(draw_mixture(mixture, 20, seed=1)[:10], draw_mixture(mixture, 10, seed=1))


def test_the_nearest_training_example_is_that_of_another_library(monkeypatch):
    monkeypatch.setattr(nearest_module, "CHUNK", 7)
    rng = np.random.default_rng(0)
    train, images = rng.random((40, 3, 3, 1), np.float32), rng.random((9, 3, 3, 1), np.float32)
    data = {"seed": 0, "dequantize": False, "binarization": "none", "corrupt": {"kind": "none"}}
    setting = types.SimpleNamespace(splits={"train": ArraySource(train)}, config=types.SimpleNamespace(data=data))
    found = nearest(setting, images)
    distance, index = NearestNeighbors(n_neighbors=1).fit(train.reshape(40, -1)).kneighbors(images.reshape(9, -1))
    np.testing.assert_array_equal(found.index, index[:, 0])
    np.testing.assert_allclose(found.distance, np.square(distance[:, 0]) / 9, rtol=1e-4)
    np.testing.assert_array_equal(found.images, train[index[:, 0]])

import numpy as np
import pytest

from vae_jax.data import statistics
from vae_jax.data.source import ArraySource


@pytest.mark.parametrize("chunk", [1, 8 * 24 * 7, 2**24])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_moments_are_those_of_numpy_whatever_the_chunk(monkeypatch, chunk, dtype):
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    images = np.random.default_rng(0).integers(3, 250, (40, 4, 2, 3), dtype=np.uint8)
    images = images if dtype == np.uint8 else (images / np.float32(255)).astype(dtype)
    x = images.astype(np.float64) / (255 if dtype == np.uint8 else 1)
    found = statistics.measure(ArraySource(images))
    assert (found.low, found.high) == (images.min(), images.max())
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.stddev, x.std(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.channel_mean, x.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(found.channel_stddev, x.std(axis=(0, 1, 2)), rtol=1e-10)


def test_examples_that_are_alike_in_every_pixel_are_counted():
    images = np.random.default_rng(0).random((10, 3, 3, 1), np.float32)
    images[[4, 7]] = images[2]
    images[9] = images[1]
    found = statistics.measure(ArraySource(images))
    assert found.repeated == 3
    assert statistics.measure(ArraySource(images[:2])).repeated == 0
    assert len(np.intersect1d(found.digests, statistics.measure(ArraySource(images[7:8])).digests)) == 1


def test_every_entry_of_a_vector_is_a_channel_of_its_own():
    vectors = np.random.default_rng(0).normal([0, 5], [1, 3], (2000, 2)).astype(np.float32)
    found = statistics.measure(ArraySource(vectors))
    np.testing.assert_allclose(found.channel_mean, vectors.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(found.channel_stddev, vectors.std(axis=0, dtype=np.float64))

"""A classifier judges what it can tell, and nothing else."""

import types

import numpy as np

from vae_jax.studies.classifier import Judge, predict


def brightness(images):
    """Says that dark pictures have attribute 0, and always that none has attribute 1."""
    assert len(images) <= 64
    return np.stack([images.mean(axis=(1, 2, 3)) < 0.5, np.zeros(len(images))], axis=1)


def test_an_attribute_that_it_tells_no_better_than_a_guess_is_not_judged():
    classifier = types.SimpleNamespace(predict=brightness, names=("dark", "rare"))
    judge = Judge(classifier, accuracy=np.array([0.95, 0.98]), majority=np.array([0.6, 0.97]))
    assert judge.reliable.tolist() == [True, False]
    assert judge.names == ("dark", "rare")


def test_pictures_of_any_leading_shape_are_told_in_chunks():
    images = np.random.default_rng(0).random((3, 50, 2, 2, 1))
    told = predict(types.SimpleNamespace(predict=brightness), images)
    assert told.shape == (3, 50, 2)
    np.testing.assert_array_equal(told[..., 0], images.mean(axis=(2, 3, 4)) < 0.5)

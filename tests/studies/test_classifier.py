"""A classifier judges what it can tell, and nothing else."""

import dataclasses
import types

import numpy as np

from vae_jax.config import default_config
from vae_jax.data.source import ArraySource
from vae_jax.studies import classifier as classifier_module
from vae_jax.studies.classifier import predict, read_judge
from vae_jax.studies.study import Setting


def brightness(images):
    """Says that dark pictures have attribute 0, and always that none has attribute 1."""
    assert len(images) <= 64
    return np.stack([images.mean(axis=(1, 2, 3)) < 0.5, np.zeros(len(images))], axis=1)


def test_an_attribute_that_it_tells_no_better_than_a_guess_is_not_judged(monkeypatch):
    classifier = types.SimpleNamespace(predict=brightness, names=("dark", "rare"))
    monkeypatch.setattr(classifier_module, "read_classifier", lambda workdir: classifier)
    images = np.linspace(0, 1, 100, dtype=np.float32)[:, None, None, None] * np.ones((100, 2, 2, 1), np.float32)
    source = ArraySource(images)
    source.features = dataclasses.replace(source.features, attributes=("rare", "dark"))
    rare = np.arange(100) % 20 == 0
    source.columns["attributes"] = np.stack([rare, images[:, 0, 0, 0] < 0.5], axis=1).astype(np.uint8)
    setting = Setting(None, None, default_config(), None, lambda: {"train": source, "test": source})
    setting.options.classifier = "runs/classifier"
    judge = read_judge(setting)
    assert judge.names == ("dark", "rare")
    assert judge.reliable.tolist() == [True, False]
    np.testing.assert_allclose([judge.accuracy, judge.majority], [[1, 0.95], [0.5, 0.95]])


def test_pictures_of_any_leading_shape_are_told_in_chunks():
    images = np.random.default_rng(0).random((3, 50, 2, 2, 1))
    told = predict(types.SimpleNamespace(predict=brightness), images)
    assert told.shape == (3, 50, 2)
    np.testing.assert_array_equal(told[..., 0], images.mean(axis=(2, 3, 4)) < 0.5)

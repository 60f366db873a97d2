"""Attributes are added and taken away, and what comes of that is judged at every strength."""

import dataclasses

import numpy as np

from vae_jax import studies
from vae_jax.config import default_config
from vae_jax.data.source import ArraySource
from vae_jax.studies import classifier as classifier_module
from vae_jax.studies.inputs import read_split
from vae_jax.studies.study import Setting


class Brightness:
    """Says how bright a picture is, and of all that they are not rare."""

    names = ("rare", "bright")

    def predict(self, images):
        return np.stack([np.zeros(len(images)), images.mean(axis=(1, 2, 3))], axis=1)


def test_each_strength_is_judged_and_what_the_classifier_cannot_tell_is_not(by_hand, monkeypatch):
    images = np.random.default_rng(0).random((60, 2, 2, 1), np.float32)
    source = ArraySource(images)
    source.features = dataclasses.replace(source.features, attributes=("bright", "rare"))
    has = np.stack([images.mean(axis=(1, 2, 3)) > 0.5, np.arange(60) % 4 == 0], axis=1)
    source.columns["attributes"] = has.astype(np.uint8)
    monkeypatch.setattr(classifier_module, "read_classifier", lambda workdir: Brightness())
    inputs = read_split(source, "test", np.arange(4))
    setting = Setting(None, by_hand(), default_config(), inputs, lambda: {"train": source, "test": source})
    setting.options.update(attributes="rare,bright", classifier="runs/classifier")
    result = studies.STUDIES["attributes"].run(setting)
    outputs, told = (result.arrays[f"logistic_{what}"] for what in ("outputs", "probability"))
    assert told.shape == (2, 5, 4) and np.isnan(told[0]).all()
    np.testing.assert_allclose(told[1], outputs[1].mean(axis=(2, 3, 4)), rtol=1e-5)
    np.testing.assert_allclose(result.arrays["input_probability"][1], images[:4].mean(axis=(1, 2, 3)), rtol=1e-5)
    assert list(result.figures) == ["bright_mean_difference", "bright_logistic"]
    assert list(result.pictures) == ["success", "mean_difference", "logistic"]

"""Pictures that are unlike the run's own are told of, and those that are like them are not."""

import types

import numpy as np
import pytest

from vae_jax.config import default_config
from vae_jax.data.source import ArraySource
from vae_jax.errors import UserError
from vae_jax.studies.framing import unlike_held_out
from vae_jax.studies.inputs import Inputs, read_split
from vae_jax.studies.study import Setting


@pytest.fixture
def setting(by_hand):
    """A model that brings back the upper half of a picture; the run's pictures have something there alone."""
    model, known = by_hand(), np.random.default_rng(0).random((300, 2, 2, 1), np.float32)
    known[:, 1] *= 0.1
    model.decode = lambda z: z.reshape(-1, 2, 2, 1) * np.array([1, 0], np.float32)[:, None, None]

    def make(inputs, splits=None):
        own = {"test": ArraySource(known)}
        return Setting(None, model, default_config(), inputs, splits or (lambda: own))

    return make


def test_what_comes_back_as_held_out_examples_do_is_not_told_of(setting):
    own = setting(None).splits["test"]
    common = np.argsort(np.square(own.images[:, 1]).mean(axis=(1, 2)) / own.images.var(axis=(1, 2, 3)))[:20]
    assert unlike_held_out(setting(read_split(own, "test", common))) == ()


@pytest.mark.parametrize(("source", "hint"), [("digits", False), ("celeba", True)])
def test_a_faint_picture_with_everything_below_is_told_of(setting, source, hint):
    faint = np.array([[0, 0], [0, 0.2]], np.float32)[None, ..., None]
    found = setting(Inputs(faint, np.zeros(1, np.uint32), ("wide.jpg",), foreign=True))
    found.config.data.source = source
    (said,) = unlike_held_out(found)
    assert "wide.jpg" in said and "133%" in said and ("--align=face" in said) == hint


def test_without_the_runs_data_that_is_said(setting):
    def absent():
        raise UserError("data.dir is 'nowhere'.")

    (said,) = unlike_held_out(setting(types.SimpleNamespace(aligned=False), absent))
    assert "is not told" in said and "data.dir" in said

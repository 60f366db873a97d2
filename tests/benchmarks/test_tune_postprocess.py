"""Tuning the chain of post-processing undoes what was done to the pictures."""

import numpy as np
import pytest
from tune_postprocess import tuned

from vae_jax.config import default_config
from vae_jax.images.postprocess import contrast

OPTIONS = default_config().study.postprocess.to_dict()


@pytest.fixture
def pictures():
    return np.random.default_rng(0).uniform(0.3, 0.7, (4, 16, 16, 3)).astype(np.float32)


def test_contrast_that_was_halved_is_doubled(pictures):
    *_, (best, error) = tuned(np.asarray(contrast(pictures, 0.5)), pictures, ("contrast",), OPTIONS)
    assert best["contrast"] == 2.0
    assert error < 1e-9


def test_the_error_never_rises_and_stages_that_are_left_out_stay_as_they_are(pictures):
    washed_out = 0.5 + pictures / 2
    found = list(tuned(washed_out, pictures, ("contrast", "dehaze"), {**OPTIONS, "contrast": 1.0}))
    errors = [error for _, error in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]
    assert found[-1][0]["sharpen"] == OPTIONS["sharpen"]

"""Pictures that are framed otherwise than the run's own are told of, and those that are framed like them are not."""

import types

import numpy as np
import pytest
from PIL import Image

from vae_jax.config import default_config
from vae_jax.data.source import ArraySource
from vae_jax.errors import UserError
from vae_jax.studies.framing import framed_otherwise, framing_warnings
from vae_jax.studies.inputs import Inputs
from vae_jax.studies.study import Setting


def faces(count, *, seed):
    """Two eyes and a mouth, of any darkness, on any ground, within a pixel of their places: [N, 32, 32, 1]."""
    rng = np.random.default_rng(seed)
    pictures = rng.uniform(0.5, 1, (count, 1, 1)) * np.ones((count, 32, 32))
    for picture in pictures:
        y, x = rng.integers(-1, 2, 2)
        for rows, columns in (((8, 13), (6, 12)), ((8, 13), (20, 26)), ((22, 25), (10, 22))):
            picture[slice(*np.add(rows, y)), slice(*np.add(columns, x))] *= rng.uniform(0, 0.4)
    noisy = pictures + rng.normal(0, 0.02, pictures.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)[..., None]


@pytest.fixture(scope="module")
def splits():
    return {"train": ArraySource(faces(400, seed=1)), "test": ArraySource(faces(200, seed=2))}


def told_of(splits, pictures, *, source="digits", aligned=False):
    names = tuple(f"{i}.jpg" for i in range(len(pictures)))
    config = default_config()
    config.data.source = source
    inputs = Inputs(pictures, None, names, foreign=True, aligned=aligned)
    return framing_warnings(Setting(None, None, config, inputs, lambda: splits))


def test_pictures_framed_alike_are_not_told_of_however_they_are_lit(splits):
    own = faces(100, seed=3)
    assert len(told_of(splits, own)) <= 8  # 2.5 expected
    assert len(told_of(splits, 0.5 * own)) <= 8


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[:, ::-1],
        lambda x: x.swapaxes(1, 2),
        lambda x: np.roll(x, 10, axis=2),
        lambda x: x[:, 8:24, 8:24].repeat(2, axis=1).repeat(2, axis=2),
        lambda x: np.pad(x[:, ::2, ::2], ((0, 0), (8, 8), (8, 8), (0, 0)), mode="edge"),
        lambda x: np.pad(x[:, :, ::2], ((0, 0), (0, 0), (8, 8), (0, 0)), mode="edge"),
    ],
    ids=["upside down", "on its side", "moved", "enlarged", "made smaller", "squeezed"],
)
def test_pictures_framed_otherwise_are_told_of(splits, change):
    said = told_of(splits, np.ascontiguousarray(change(faces(50, seed=4))))
    assert len(said) >= 45
    assert "framed otherwise" in said[0]


@pytest.mark.parametrize(
    ("source", "aligned", "hint"),
    [("digits", False, False), ("celeba", False, True), ("celeba", True, False)],
)
def test_what_helps_is_said_of_faces(splits, source, aligned, hint):
    (said, *_) = told_of(splits, faces(20, seed=5)[:, ::-1].copy(), source=source, aligned=aligned)
    assert ("--align=face" in said) == hint


def test_another_framing_is_another_picture_of_the_same_size():
    rng = np.random.default_rng(0)
    picture = Image.fromarray((255 * faces(1, seed=6)[0, ..., 0]).astype(np.uint8)).resize((20, 32))
    others = [framed_otherwise(picture, rng) for _ in range(20)]
    assert {other.size for other in others} == {(20, 32)}
    assert min(np.abs(np.float32(other) - np.float32(picture)).mean() for other in others) > 5


def test_without_the_runs_data_that_is_said():
    def absent():
        raise UserError("data.dir is 'nowhere'.")

    (said,) = framing_warnings(Setting(None, None, default_config(), types.SimpleNamespace(aligned=False), absent))
    assert "is not told" in said and "data.dir" in said

"""Very many samples: the same whether drawn at once, in shards, or after an interruption."""

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.studies import shards


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 20)


def read(folder):
    found = [np.load(path) for path in sorted(folder.glob("*.npz"))]
    return {name: np.concatenate([each[name] for each in found]) for name in ("latents", "samples")}


def test_shards_hold_the_samples_of_the_model(model, small, tmp_path):
    shards.write_shards(model, tmp_path, 50, seed=3)
    found = read(tmp_path)
    assert [len(np.load(path)["latents"]) for path in sorted(tmp_path.glob("*.npz"))] == [20, 20, 10]
    np.testing.assert_allclose(found["samples"], 255 * model.sample(50, seed=3), atol=0.51)


def test_an_interrupted_command_goes_on_where_it_stopped(model, small, tmp_path, monkeypatch):
    shards.write_shards(model, tmp_path / "whole", 50, seed=0)
    decode, calls = shards.nets.decode, []

    def killed(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return decode(*args)

    monkeypatch.setattr(shards.nets, "decode", killed)
    with pytest.raises(KeyboardInterrupt):
        shards.write_shards(model, tmp_path / "parts", 50, seed=0)
    shards.write_shards(model, tmp_path / "parts", 50, seed=0)
    assert len(calls) == 4, "the first shard, the killed one, and the two that were missing"
    whole, parts = read(tmp_path / "whole"), read(tmp_path / "parts")
    for name in whole:
        np.testing.assert_array_equal(parts[name], whole[name])


def test_a_folder_of_other_samples_is_refused(model, small, tmp_path):
    shards.write_shards(model, tmp_path, 20, seed=0)
    with pytest.raises(UserError, match="'seed': 0.*'seed': 1"):
        shards.write_shards(model, tmp_path, 20, seed=1)

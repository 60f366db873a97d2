"""Data that can't be used, and a run folder of something else, end in one sentence before compilation."""

import gzip

import numpy as np
import pytest

from vae_jax.config import load_file
from vae_jax.disk import locked
from vae_jax.run import open_run, write_config


def idx(path, array):
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes())


@pytest.fixture
def idx_folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    for split in ("train", "t10k"):
        idx(folder / f"{split}-images-idx3-ubyte.gz", noise)
        idx(folder / f"{split}-labels-idx1-ubyte.gz", np.zeros(200, np.uint8))
    return folder


def test_data_that_are_missing(mistake, file):
    said = mistake(file("config.data.update(source='idx', dir='no/data')"))
    assert "data.dir is 'no/data'" in said


def test_data_that_are_cut_short(mistake, file, idx_folder):
    broken = idx_folder / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:5000])
    said = mistake(file(f"config.data.update(source='idx', dir={str(idx_folder)!r})"))
    assert str(broken) in said


def test_a_batch_larger_than_the_data(mistake, file, idx_folder):
    data = f"config.data.update(source='idx', dir={str(idx_folder)!r})"
    said = mistake(file(data, "config.train.batch_size = 256"))
    assert "train.batch_size is 256" in said
    assert "180" in said, "200 less the tenth that is held out for validation"


@pytest.fixture
def run_folder(tmp_path, digits):
    run = open_run(tmp_path / "run", "digits", load_file(str(digits)))
    write_config(run, "python -m vae_jax.main")
    return run.workdir


@pytest.mark.parametrize("mode", ["train", "eval", "sample"])
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("model.latent=16", ["model.latent: 8 → 16"]),
        ("model.encoder.channels=(32,32)", ["model.encoder.channels: [32, 64] → [32, 32]"]),
        ("seed=3", ["seed: 0 → 3"]),
        ("objective.kl=4", ["objective.kl: 1.0 → 4.0"]),
        ("train.batch_size=128", ["train.batch_size: 64 → 128"]),
        ("optimizer.learning_rate=0.01", ["optimizer.learning_rate: 0.001 → 0.01"]),
    ],
)
def test_a_run_folder_of_another_config(mistake, run_folder, mode, argument, words, digits):
    said = mistake(f"--mode={mode}", f"--config={digits}", f"--workdir={run_folder}", f"--config.{argument}")
    assert [word for word in words if word not in said] == [], said
    assert "--workdir" in said


def test_a_run_folder_of_more_data(mistake, file, idx_folder, tmp_path):
    data = f"config.data.update(source='idx', dir={str(idx_folder)!r})"
    folder = tmp_path / "run"
    write_config(open_run(folder, "mine", load_file(file(data).removeprefix("--config="))), "command")
    for split in ("train", "t10k"):
        idx(idx_folder / f"{split}-images-idx3-ubyte.gz", np.zeros((210, 8, 8), np.uint8))
        idx(idx_folder / f"{split}-labels-idx1-ubyte.gz", np.zeros(210, np.uint8))
    said = mistake(f"--workdir={folder}", "--mode=eval")
    assert "train 180, test 200, validation 20 of 8×8×1 → train 189, test 210, validation 21 of 8×8×1" in said


@pytest.mark.parametrize("checkpoint", ["77", "newest", "best"])
def test_a_checkpoint_of_a_run_that_has_none(mistake, run_folder, checkpoint):
    assert "no checkpoint" in mistake("--mode=eval", f"--workdir={run_folder}", f"--checkpoint={checkpoint}")


def test_a_run_folder_in_which_another_process_trains(mistake, run_folder, digits):
    with locked(run_folder):
        assert "where another process is training" in mistake(f"--config={digits}", f"--workdir={run_folder}")

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import vae_jax
from vae_jax import commands
from vae_jax.config import default_config, load_file
from vae_jax.data.sources.gmm import COMPONENTS, draw_mixture
from vae_jax.data.splits import open_splits
from vae_jax.errors import UserError
from vae_jax.run import open_run

CONFIG = str(Path(__file__).parents[2] / "configs" / "gmm.py")


def config(**changes):
    data = default_config().data
    data.update(source="gmm", **changes)
    return data


def everything(source):
    return source.read(np.arange(len(source)))


@pytest.fixture(scope="module")
def mixture():
    return draw_mixture(np.random.default_rng(0))


@pytest.fixture(scope="module")
def points():
    """All points and their labels, of the three splits together."""
    read = [everything(split) for split in open_splits(config()).values()]
    return {name: np.concatenate([each[name] for each in read]) for name in ("image", "label")}


def test_the_mixture_is_standardised_and_its_covariances_are_positive_definite(mixture):
    assert mixture.weights.shape == (COMPONENTS,) and mixture.weights.min() > 0
    assert np.isclose(mixture.weights.sum(), 1)
    assert np.allclose(mixture.weights @ mixture.means, 0)
    second = np.einsum("mi,mj->mij", mixture.means, mixture.means) + mixture.covariances
    assert np.allclose(np.diag(np.einsum("m,mij->ij", mixture.weights, second)), 1)
    assert np.array_equal(mixture.covariances, mixture.covariances.swapaxes(1, 2))
    assert np.linalg.eigvalsh(mixture.covariances).min() > 0


def test_each_component_has_its_share_mean_and_covariance(mixture, points):
    for number in range(COMPONENTS):
        x = points["image"][points["label"] == number].astype(np.float64)
        n, total, share = len(x), len(points["image"]), mixture.weights[number]
        assert abs(n - total * share) < 5 * np.sqrt(total * share * (1 - share))
        variance = np.diag(mixture.covariances[number])
        assert np.all(np.abs(x.mean(axis=0) - mixture.means[number]) < 5 * np.sqrt(variance / n))
        error = np.cov(x.T) - mixture.covariances[number]
        assert np.all(np.abs(error) < 5 * np.sqrt(2 / n) * np.sqrt(np.outer(variance, variance)))


def test_the_points_are_float_vectors_split_without_loss_and_decided_by_the_data_seed():
    splits = open_splits(config())
    assert {name: len(split) for name, split in splits.items()} == {"train": 14400, "validation": 1600, "test": 4000}
    assert splits["train"].features.shape == (3,)
    assert everything(splits["test"])["image"].dtype == np.float32
    again, other = (everything(open_splits(config(seed=seed))["test"])["image"] for seed in (0, 1))
    assert np.array_equal(everything(splits["test"])["image"], again)
    assert not np.array_equal(again, other)


def test_points_are_no_pixels(tmp_path):
    experiment = load_file(CONFIG)
    experiment.model.likelihood = "bernoulli"
    with pytest.raises(UserError, match="model.likelihood is 'bernoulli', .* vectors"):
        open_run(tmp_path, "gmm", experiment)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The experiment, much shortened, as the command line runs it: train, evaluate, sample, report."""
    experiment = load_file(CONFIG)
    experiment.model.encoder.widths = (64,)
    experiment.mesh.devices = 1
    experiment.train.update(steps=1500, steps_per_call=100, eval_every=1500)
    experiment.optimizer.update(schedule="constant", learning_rate=3e-3)
    experiment.eval.update(importance_samples=50, importance_examples=1000)
    workdir = tmp_path_factory.mktemp("gmm") / "run"
    commands.train(workdir, "gmm", experiment, command="python -m vae_jax.main")
    return workdir


def test_vectors_train_evaluate_and_are_reported(run, mixture):
    figures = json.loads((run / "studies/evaluation/meta.json").read_text())["figures"]
    x = everything(open_splits(config())["test"])["image"].astype(np.float64)
    parts = zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    true = -np.logaddexp.reduce([np.log(w) + multivariate_normal(m, c).logpdf(x) for w, m, c in parts], axis=0).mean()
    nll = figures["nll"]["mean"]
    gaussian = 1.5 * np.log(2 * np.pi * np.e)  # of unit variances, which is what knowing the moments alone comes to
    assert true < nll < gaussian - 1
    assert {"elbo", "nll", "mse"} <= figures.keys()
    assert "<html" in (run / "report/index.html").read_text()


def test_a_model_of_vectors_encodes_reconstructs_and_samples_beyond_the_unit_interval(run):
    model = vae_jax.load(run)
    x = everything(open_splits(config())["test"])["image"][:500]
    reconstruction = model.reconstruct(x)
    assert reconstruction.shape == x.shape
    assert np.mean((reconstruction - x) ** 2) < 0.2  # of a variance of 1
    samples = model.sample(500, seed=0)
    assert samples.shape == (500, 3) and samples.min() < -0.5
    with np.load(run / "studies/sample/arrays.npz") as arrays:
        assert arrays["samples"].shape == (64, 3)

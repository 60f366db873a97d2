"""The lines to beat are those of scikit-learn's PCA and of the exact posterior and likelihood of probabilistic PCA."""

import json
import re
import sys

import numpy as np
import pca
import pytest
from pca import elbos, errors, flat, principal_components
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from vae_jax.config import load_file, override
from vae_jax.evaluation.evaluate import evaluate
from vae_jax.run import open_run, write_config
from vae_jax.train import train


@pytest.mark.parametrize("shape", [(60, 12), (20, 50)], ids=["more examples", "more dimensions"])
def test_the_errors_are_those_of_the_pca_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(shape[1], shape[1])).astype(np.float32)
    train, test = (rng.normal(size=(n, shape[1])).astype(np.float32) @ mixing + 3 for n in (shape[0], 30))
    line = errors(principal_components(train, test))
    assert line[0] == pytest.approx(np.square(test - train.mean(axis=0)).mean(), rel=1e-4)
    for count in (1, 5, 11):
        fitted = PCA(count, svd_solver="full").fit(train)
        left = np.square(test - fitted.inverse_transform(fitted.transform(test))).mean()
        assert line[count] == pytest.approx(left, rel=1e-3)


@pytest.fixture(
    scope="module",
    params=[(200, 2), (200, 12), (8, 2)],
    ids=["two components", "all components", "fewer examples than dimensions"],
)
def probabilistic(request):
    """Examples, and the maximum likelihood W of Tipping & Bishop (1999) under a fixed noise: train, test, W, noise."""
    size, components = request.param
    rng, noise = np.random.default_rng(0), 4.0
    mixing = rng.normal(size=(12, 12)).astype(np.float32)
    train, test = (rng.normal(size=(n, 12)).astype(np.float32) @ mixing + 3 for n in (size, 30))
    values, vectors = np.linalg.eigh(np.cov(train.T, bias=True))
    kept = np.argsort(-values)[:components]
    assert (values[kept] > noise).sum() > 1
    assert components == 2 or values.min() < noise, "no component is left out"
    return train, test, vectors[:, kept] * np.sqrt(np.maximum(values[kept] - noise, 0)), noise


def test_the_errors_of_a_linear_vae_are_those_of_the_posterior_mean_of_probabilistic_pca(probabilistic):
    """The posterior is M⁻¹Wᵀ(x − mean)."""
    train, test, w, noise = probabilistic
    components = w.shape[1]
    decoded = (test - train.mean(0)) @ w @ np.linalg.inv(w.T @ w + noise * np.eye(components)) @ w.T
    expected = np.square(test - train.mean(0) - decoded).mean()
    assert errors(principal_components(train, test), variance=noise)[components] == pytest.approx(expected, rel=1e-4)


def test_the_elbo_of_a_linear_vae_is_the_log_likelihood_of_probabilistic_pca(probabilistic):
    train, test, w, noise = probabilistic
    density = multivariate_normal(train.mean(0), w @ w.T + noise * np.eye(12))
    found = elbos(principal_components(train, test), variance=noise)
    assert found[w.shape[1]] == pytest.approx(density.logpdf(test).mean(), rel=1e-5)


def test_a_part_of_pictures_is_at_their_top_left():
    images = np.arange(2 * 3 * 4 * 1).reshape(2, 3, 4, 1)
    assert flat(images, (2, 3)).tolist() == [[0, 1, 2, 4, 5, 6], [12, 13, 14, 16, 17, 18]]
    assert flat(images).shape == (2, 12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = load_file("configs/digits.py")
    override(config, ["--config.train.steps=8", "--config.eval.importance_samples=0"])
    run = open_run(tmp_path_factory.mktemp("runs") / "digits", "digits", config)
    write_config(run, "python -m vae_jax.main")
    trained = train(run)
    return run.workdir, evaluate(run, trained.state, split="test", checkpoint="newest")["figures"]["mse"]["mean"]


def test_what_a_run_leaves_is_what_its_evaluation_says(run, tmp_path, monkeypatch):
    workdir, mse = run
    monkeypatch.setattr(sys, "argv", ["pca.py", f"--run={workdir}", f"--json={tmp_path / 'line.json'}"])
    pca.main()
    assert json.loads((tmp_path / "line.json").read_text())["mse_of_the_run"] == pytest.approx(mse, rel=1e-5)


def test_without_components_the_table_has_those_that_there_are(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pca.py", f"--run={run[0]}", "--within=3x4", f"--json={tmp_path / 'line.json'}"])
    pca.main()
    names = json.loads((tmp_path / "line.json").read_text())
    assert [name for name in names if "components" in name] == ["mse_of_10_components"]


def test_with_a_variance_the_table_has_elbos_too(run, tmp_path, monkeypatch):
    arguments = [f"--run={run[0]}", "--variance=0.1", "--components=2", f"--json={tmp_path / 'line.json'}"]
    monkeypatch.setattr(sys, "argv", ["pca.py", *arguments])
    pca.main()
    names = json.loads((tmp_path / "line.json").read_text())
    assert [name for name in names if "components" in name] == ["mse_of_2_components", "elbo_of_2_components"]


@pytest.mark.parametrize(
    "argument, said",
    [
        ("--components=65", "--components has 65; these pictures have 64"),
        ("--within=8x9", "--within is 8x9"),
        ("--within=0x4", "--within is 0x4"),
        ("--run=nowhere", "--run is 'nowhere'"),
        ("--config.data.seed=5", "data.seed: 0 → 5"),
        ("--config.data.train_on=all", "data.train_on is 'all'"),
        ("--config.data.binarization=threshold", "data.binarization is 'threshold'"),
    ],
)
def test_a_line_that_would_be_none_is_refused(run, argument, said, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pca.py", f"--run={run[0]}", argument])
    with pytest.raises(SystemExit, match=re.escape(said)):
        pca.main()


@pytest.mark.parametrize(
    "argument",
    ["--components=-1", "--components=", "--components=8.5", "--variance=-1", "--json=.", "--json=no/x.json"],
)
def test_an_argument_that_can_not_be_is_refused_before_the_data_are_opened(argument, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pca.py", "--config=nowhere", argument])
    with pytest.raises(SystemExit, match="2"):
        pca.main()
    assert argument.split("=")[0] in capsys.readouterr().err

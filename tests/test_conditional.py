"""A conditional VAE: what it is told changes what it draws, and every command and figure works with it."""

import numpy as np
import pytest

import vae_jax
from vae_jax import commands
from vae_jax.config import default_config
from vae_jax.data.sources.digits import open_splits
from vae_jax.errors import UserError
from vae_jax.run import open_run


def config(**changes):
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(128,))
    config.model.update(cond=("label",), latent=4, variance=0.1)
    config.objective.kl = 4.0
    config.optimizer.learning_rate = 3e-3
    config.train.update(steps=600, eval_every=600, log_every=200)
    config.eval.importance_samples = 8
    config.mesh.devices = 1
    config.update_from_flattened_dict(changes)
    return config


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    commands.train(folder, "test", config(), command="test")
    return folder


@pytest.fixture(scope="module")
def model(workdir):
    return vae_jax.load(workdir)


@pytest.fixture(scope="module")
def digits():
    source = open_splits(config().data)["train"]
    means = np.stack([source.images[source.columns["label"] == label].mean(axis=0) for label in range(10)])
    return source, means


def nearest(images, means):
    """The digit whose mean picture is nearest to each image [N, 8, 8, 1]."""
    return np.square(images[:, None] - means).sum(axis=(2, 3, 4)).argmin(axis=1)


def test_one_latent_is_drawn_as_the_digit_that_the_model_is_told(model, digits):
    told = np.tile(np.eye(10), (5, 1))
    z = np.repeat(0.5 * np.random.default_rng(0).standard_normal((5, 4)), 10, axis=0)
    drawn = nearest(model.decode(z, told), digits[1])
    assert (drawn == told.argmax(axis=1)).mean() > 0.8


def test_a_reconstruction_under_another_digit_is_that_digit(model, digits):
    source, means = digits
    images, other = source.images[:100], (source.columns["label"][:100] + 3) % 10
    z = model.encode(images, np.eye(10)[source.columns["label"][:100]]).mean
    assert (nearest(model.decode(z, np.eye(10)[other]), means) == other).mean() > 0.8


def test_samples_are_told_conditions_as_often_as_training_had_them_or_the_one_given(model, digits):
    drawn = nearest(model.sample(300), digits[1])
    assert np.bincount(drawn, minlength=10).min() > 10
    assert (nearest(model.sample(50, cond=np.eye(10)[7]), digits[1]) == 7).mean() > 0.8
    np.testing.assert_array_equal(model.sample(20)[:10], model.sample(10))


def test_the_run_is_evaluated_sampled_and_reported_with_its_conditions(workdir):
    page = (workdir / "report" / "index.html").read_text()
    assert "label=7" in page
    assert "as often as the training split has them" in page
    with np.load(workdir / "studies" / "sample" / "arrays.npz") as arrays:
        assert arrays["cond"].shape == (64, 10)
        np.testing.assert_array_equal(arrays["cond"].sum(axis=1), np.ones(64))
    commands.sample(workdir, config(**{"sample.cond": (0,) * 7 + (1, 0, 0), "sample.count": 3}), checkpoint="newest")
    with np.load(workdir / "studies" / "sample" / "arrays.npz") as arrays:
        assert (arrays["cond"] == np.eye(10)[7]).all()


def test_what_the_model_is_not_told_makes_it_worse(workdir, model, digits):
    """The condition is used: the bound under a wrong one is lower."""
    source, _ = digits
    images, labels = source.images[:200], source.columns["label"][:200]
    right, wrong = (np.square(model.reconstruct(images, np.eye(10)[label]) - images) for label in (labels, labels - 1))
    assert wrong.mean() > 1.5 * right.mean()


@pytest.mark.parametrize("cond", [None, np.zeros(3), np.zeros((2, 10)), 7])
def test_conditions_of_another_shape_are_refused(model, cond):
    with pytest.raises(UserError, match=r"label=0, label=1.*\[10\] or \[B, 10\]"):
        model.decode(np.zeros((5, 4)), cond)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.cond": ("Smiling",)}, "model.cond is 'Smiling'.*these data have label"),
        ({"sample.cond": (1, 0)}, r"sample.cond is \(1, 0\); it must be one number from 0 to 1 for each of label=0"),
        ({"sample.cond": (7, *[0] * 9)}, r"sample.cond is \(7, .*from 0 to 1"),
        ({"model.cond": (), "sample.cond": (1,)}, "sample.cond is .*told no conditions"),
    ],
)
def test_conditions_that_the_data_do_not_have_are_refused_before_anything_compiles(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        open_run(tmp_path, "test", config(**changes))

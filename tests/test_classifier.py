"""A classifier is a choice in a config: the same loop trains it, and every command but sampling works with it."""

import json

import jax
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score

import vae_jax
from vae_jax import commands
from vae_jax.config import default_config
from vae_jax.data.sources.digits import open_splits
from vae_jax.errors import UserError
from vae_jax.evaluation.classification import decided, tell
from vae_jax.run import open_run
from vae_jax.writer import read_metrics


def config(**changes):
    config = default_config()
    config.update_from_flattened_dict(
        {
            "model.target": ("label",),
            "optimizer.learning_rate": 3e-3,
            "train.steps": 160,
            "train.eval_every": 80,
            "train.log_every": 40,
            "mesh.devices": 1,
            **changes,
        }
    )
    config.model.encoder = dict(family="conv", channels=(16, 32), kernel=3, norm="batch")
    return config


def trained(folder, options):
    commands.train(folder, "test", options, command="test")
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"), config())


@pytest.fixture(scope="module")
def meta(workdir):
    return json.loads((workdir / "studies" / "evaluation" / "meta.json").read_text())


def test_it_learns_to_tell_digits(workdir, meta):
    lines = [line for line in read_metrics(workdir) if line["split"] == "validation"]
    assert lines[-1]["accuracy"] > 0.9
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert meta["figures"]["accuracy"]["mean"] > 0.9
    assert meta["figures"]["majority"]["mean"] < 0.2
    assert all(target["told"] for target in meta["targets"])


def test_what_it_predicts_sums_to_one_and_is_right(workdir):
    model, digits = vae_jax.load(workdir), open_splits(config().data)["train"]
    found = model.predict(digits.images[:300])
    assert model.names == tuple(f"label={digit}" for digit in range(10))
    np.testing.assert_allclose(found.sum(axis=1), np.ones(300), rtol=1e-5)
    assert (found.argmax(axis=1) == digits.columns["label"][:300]).mean() > 0.95
    with pytest.raises(UserError, match=r"takes \[B, 8, 8, 1\]"):
        model.predict(np.zeros((1, 9, 9, 1)))


def test_its_report_tells_each_class_and_draws_no_samples(workdir):
    page = (workdir / "report" / "index.html").read_text()
    assert "What it tells" in page
    assert "label=7" in page
    assert "No samples" not in page
    assert "Latent dimensions" not in page


def test_the_same_command_resumes_it_and_sampling_is_refused(workdir):
    run = open_run(workdir, "test", config())
    assert int(commands.restore(run, "newest").step) == 160
    commands.evaluate(workdir, config(), split="validation", checkpoint="best")
    with pytest.raises(UserError, match="classifier"):
        commands.sample(workdir, config(), checkpoint="newest")


@pytest.mark.parametrize(
    "change",
    [
        {"model.cond": ("label",)},
        {"eval.importance_samples": 5},
        {"perceptual.weights": "x.npz"},
        {"objective.free_bits": 0.5},
    ],
)
def test_what_only_a_vae_has_is_refused(tmp_path, change):
    with pytest.raises(UserError, match=next(iter(change)) + ".*classifier"):
        open_run(tmp_path, "test", config(**change))


def test_accuracies_are_those_of_scikit_learn_and_a_lucky_target_is_not_told():
    draw = np.random.default_rng(0)
    truth = draw.random((400, 3)) < [0.5, 0.1, 0.0]
    said = np.where(draw.random((400, 3)) < [0.2, 0.1, 0.0], ~truth, truth)
    known, rare, absent = tell(truth, said, names=("known", "rare", "absent"))
    for number, entry in enumerate((known, rare)):
        assert entry["accuracy"] == pytest.approx(accuracy_score(truth[:, number], said[:, number]))
        constant = DummyClassifier(strategy="most_frequent").fit(said, truth[:, number])
        assert entry["majority"] == pytest.approx(constant.score(said, truth[:, number]))
        assert entry["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth[:, number], said[:, number]))
    assert [entry["told"] for entry in (known, rare, absent)] == [True, False, False]
    assert (absent["share"], absent["accuracy"], absent["majority"], absent["balanced_accuracy"]) == (0, 1, 1, None)


def test_what_is_told_of_few_people_only_is_not_told():
    draw = np.random.default_rng(1)
    people = np.repeat(np.arange(6), 50)
    truth = draw.random((6, 1)).repeat(50, axis=0) < 0.5
    said = np.where((people == 0)[:, None], ~truth, truth)  # wrong of one person, and right of the five others
    alone, together = (tell(truth, said, names=("it",), people=who)[0] for who in (None, people))
    assert alone["accuracy"] == together["accuracy"] > together["majority"]
    assert (alone["told"], together["told"]) == (True, False)


def test_a_class_is_decided_for_alone_and_attributes_each():
    p = np.array([[0.6, 0.7], [0.2, 0.1]])
    np.testing.assert_array_equal(decided(p, names=("label=0", "label=1")), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(decided(p, names=("Smiling", "Male")), [[1, 1], [0, 0]])


def test_replicas_and_eight_devices_train_it_too(tmp_path):
    options = config(**{"mesh.devices": 8, "train.steps": 16, "train.eval_every": 16, "train.log_every": 8})
    options.train.replicas.seed = (0, 1)
    trained(tmp_path, options)
    assert jax.device_count() == 8
    for seed in (0, 1):
        assert len(read_metrics(tmp_path / f"seed={seed}")) == 3
    assert "seed=1" in (tmp_path / "report" / "index.html").read_text()

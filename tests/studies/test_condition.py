"""Studies of a conditional run: every one is told what is known of its inputs, and one tells them otherwise."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import vae_jax
from vae_jax import studies
from vae_jax.data.source import ArraySource
from vae_jax.studies import classifier, shards
from vae_jax.studies.condition import companions
from vae_jax.studies.flips import flips


@pytest.fixture(scope="module")
def told_model(told_workdir):
    return vae_jax.load(told_workdir)


@pytest.fixture(scope="module")
def digits(told_model):
    source = vae_jax.run.open_data(told_model.config)["test"]
    return source.read(np.arange(40))


@pytest.fixture
def own(told_workdir, tmp_path):
    return shutil.copytree(told_workdir, tmp_path / "own")


class Judge:
    """Tells "bright" and "dark" by the mean of a picture, "left" by its left column; "vague" it can't tell."""

    names, reliable = ("bright", "dark", "left", "vague"), np.array([True, True, True, False])
    column = classifier.Judge.column

    def __call__(self, images):
        mean, left = images.mean(axis=(-3, -2, -1)), images[..., 0, 0].mean(axis=-1)
        return np.stack([mean, 1 - mean, left, left], axis=-1)

    def verdicts(self, probabilities):
        return probabilities > 0.5


def test_every_picture_is_decoded_as_each_class_from_one_latent(told_model, digits):
    images, cond = digits["image"].astype(np.float32), digits["cond"]
    arrays = studies.condition(told_model, images, cond=cond)
    np.testing.assert_allclose(arrays["reconstructions"], told_model.reconstruct(images, cond), atol=1e-5)
    z = told_model.encode(images, cond).mean
    for label in (0, 7):
        expected = told_model.decode(z, np.eye(10)[label])
        np.testing.assert_allclose(arrays["outputs"][0, label], expected, atol=1e-5)


def test_attributes_are_told_the_other_way_one_at_a_time(by_hand):
    model = by_hand()
    model.config.model.cond = ("Smiling", "Male")
    model.encode, model.decode = (lambda x, c, f=f: f(x) for f in (model.encode, model.decode))
    cond = np.array([[1, 0], [0, 0], [1, 1]])
    arrays = studies.condition(model, np.zeros((3, 2, 2, 1), np.float32), cond=cond)
    np.testing.assert_array_equal(arrays["told"], [[[[0, 0], [1, 0], [0, 1]], [[1, 1], [0, 1], [1, 0]]]])
    further = studies.condition(model, np.zeros((3, 2, 2, 1), np.float32), cond=cond, emphasis=(1, 2))["told"]
    np.testing.assert_array_equal(further[1], [[[-1, 0], [2, 0], [-1, 1]], [[1, 2], [0, 2], [1, -1]]])


def test_only_what_the_judge_sees_in_the_original_can_flip():
    brightness = np.array([0.9, 0.9, 0.1, 0.9])  # the third is told to be bright, but the judge doesn't see it
    images = brightness[:, None, None, None] * np.ones((4, 2, 2, 1))
    cond, after = np.array([[1.0], [1], [1], [1]]), np.array([0.2, 0.7, 0.2, 0.2])
    made = {
        "cond": cond,
        "told": 1 - cond[None, None],
        "reconstructions": images - 0.05,
        "outputs": (after[:, None, None, None] * np.ones((4, 2, 2, 1)))[None, None],
    }
    found = flips(Judge(), images, made, names=("bright",))["bright"]
    assert found.flipped.tolist() == [True, False, True]
    assert found.kept.all() and not found.asked.any()
    assert found.others == ("dark", "left"), "neither what was told otherwise nor what the judge can't tell"
    np.testing.assert_allclose(found.drift[:, 1], [0.7, 0.2, 0.7])
    np.testing.assert_allclose(found.plain_drift, 0.05)
    np.testing.assert_allclose(found.told_drift[:, 1], [0.65, 0.15, 0.65])
    assert flips(Judge(), images, made, names=("vague",)) == {}


class JudgeOfClasses(Judge):
    """Tells the class by the brightest pixel of three."""

    names, reliable = ("label=0", "label=1", "label=2"), np.ones(3, bool)

    def __call__(self, images):
        return images[..., 0, :3, 0]

    def verdicts(self, probabilities):
        return probabilities == probabilities.max(axis=-1, keepdims=True)


def test_a_picture_keeps_its_class_only_where_it_is_judged_of_the_same_one():
    own, plain = (
        np.array([0, 0, 1]),
        np.array([0, 1, 1]),
    )  # the second becomes another class, and is still not of class 2
    pictures = [np.eye(3)[each].reshape(3, 1, 3, 1) for each in (own, plain, [2, 2, 2])]
    made = {
        "cond": np.eye(3)[own],
        "told": np.tile(np.eye(3)[:, None], (1, 3, 1))[None],
        "reconstructions": pictures[1],
        "outputs": np.stack([pictures[2]] * 3)[None],
    }
    found = flips(JudgeOfClasses(), pictures[0], made, names=JudgeOfClasses.names)["label=2"]
    assert found.kept.tolist() == [True, False, True]
    assert found.flipped.all()


def test_a_condition_told_by_half_can_flip_too():
    images = np.array([0.9, 0.1])[:, None, None, None] * np.ones((2, 2, 2, 1))
    cond = np.array([[1.0], [0]])
    made = {"cond": cond, "told": np.array([[0.7], [0.3]])[None, None], "reconstructions": images}
    found = flips(Judge(), images, made | {"outputs": 1 - images[None, None]}, names=("bright",))["bright"]
    assert found.asked.tolist() == [False, True] and found.flipped.all()


def test_attributes_that_go_together_in_the_data_are_companions():
    draw = np.random.default_rng(0)
    smile = draw.random(500) < 0.5
    cheeks, frown = smile ^ (draw.random(500) < 0.1), ~smile
    attributes = np.stack([smile, cheeks, frown, draw.random(500) < 0.5, np.ones(500, bool)], axis=1)
    names = ("Smiling", "High_Cheekbones", "Frowning", "Bangs", "Face")
    source = ArraySource(np.zeros((500, 2, 2, 1), np.uint8))
    source.columns = {"attributes": attributes.astype(np.uint8)}
    source.features = dataclasses.replace(source.features, attributes=names)
    assert companions(source, "Smiling", names[1:]) == ("High_Cheekbones", "Frowning")
    assert companions(source, "Smiling", ()) == ()


def test_digits_become_what_they_are_told(command, own, classifier):
    command(f"--workdir={own}", "--study=condition", "--input=test:0-3", f"--config.study.classifier={classifier}")
    figures = json.loads((own / "studies" / "condition" / "meta.json").read_text())["figures"]
    shares = [figures[f"flips_label={label}_1"]["mean"] for label in range(10)]
    assert np.mean(shares) > 0.7 and "drift" not in str(figures.keys()), "of classes no other is free to drift"


def test_all_studies_can_be_made_of_a_conditional_run(command, own, capsys):
    small = ("--config.study.examples=60", "--config.study.count=2", "--config.study.cycles=2", "--input=test:0-3")
    command(f"--workdir={own}", "--study=all", *small)
    left_out = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "is left out: " in line]
    assert left_out == ["attributes", "compare", "postprocess", "vectors"]
    with np.load(own / "studies" / "variation" / "arrays.npz") as arrays:
        told = arrays["inputs_cond"]
        expected = vae_jax.load(own).reconstruct(arrays["inputs"], told)
        np.testing.assert_allclose(arrays["reconstructions"], expected, atol=1e-5)
    shutil.copy(own / "studies" / "variation" / "arrays.npz", own / "old.npz")
    command(f"--workdir={own}", "--study=variation", f"--noise={own / 'old.npz'}", "--config.study.count=2")
    with np.load(own / "studies" / "variation" / "arrays.npz") as arrays:
        np.testing.assert_array_equal(arrays["inputs_cond"], told)
        np.testing.assert_allclose(arrays["reconstructions"], expected, atol=1e-5)


def test_a_picture_of_which_nothing_is_known_is_what_the_command_says(command, own, tmp_path, capsys):
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(tmp_path / "one.png")
    asked = (f"--workdir={own}", "--study=reconstruct", f"--input={tmp_path / 'one.png'}")
    with pytest.raises(SystemExit) as ended:
        command(*asked)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1 and "study.cond" in said and "label=9" in said
    with pytest.raises(SystemExit):
        command(*asked, "--config.study.cond=(1,0)")
    assert "study.cond is (1, 0); it must be one number from 0 to 1 for each of label=0" in capsys.readouterr().err
    assert not (own / "studies" / "reconstruct").exists()
    command(*asked, "--config.study.cond=(0,0,0,1,0,0,0,0,0,0)")
    with np.load(own / "studies" / "reconstruct" / "arrays.npz") as arrays:
        np.testing.assert_array_equal(arrays["inputs_cond"], [np.eye(10)[3]])


def test_shards_are_told_what_samples_are(told_model, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 20)
    shards.write_shards(told_model, tmp_path / "as_trained", 50, seed=3)
    found = [np.load(path)["samples"] for path in sorted((tmp_path / "as_trained").glob("*.npz"))]
    np.testing.assert_allclose(np.concatenate(found), 255 * told_model.sample(50, seed=3), atol=0.51)
    shards.write_shards(told_model, tmp_path / "sevens", 20, seed=3, cond=np.eye(10)[7])
    one = np.load(tmp_path / "sevens" / "00000.npz")["samples"]
    np.testing.assert_allclose(one, 255 * told_model.sample(20, seed=3, cond=np.eye(10)[7]), atol=0.51)


def test_a_condition_that_does_not_fit_its_pictures_is_refused(told_model, digits):
    images = digits["image"].astype(np.float32)
    with pytest.raises(vae_jax.errors.UserError, match=r"cond has the shape \(3, 10\).*\(40,\)"):
        studies.posterior(told_model, images, cond=np.zeros((3, 10)))
    with pytest.raises(vae_jax.errors.UserError, match=r"cond is None; this model is told label=0"):
        studies.posterior(told_model, images)

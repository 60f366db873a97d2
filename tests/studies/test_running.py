"""The command: what a study writes, that it can be replayed, and that the report shows it."""

import json
import shutil

import numpy as np
import pytest
from markupsafe import escape
from PIL import Image

import vae_jax
from vae_jax.studies import STUDIES
from vae_jax.studies.running import named


@pytest.fixture
def own(workdir, tmp_path):
    """A copy of the run's folder, to write into."""
    return shutil.copytree(workdir, tmp_path / "own")


def arrays_of(workdir, name):
    with np.load(workdir / "studies" / name / "arrays.npz") as arrays:
        return dict(arrays)


def test_all_studies_are_made_and_shown_and_what_can_not_be_is_named(command, own, capsys):
    command(f"--workdir={own}", "--study=all", "--config.study.examples=60", "--config.study.count=3")
    said = capsys.readouterr().out
    left_out = {line.split()[0] for line in said.splitlines() if "is left out: " in line}
    assert left_out == {"attributes", "compare", "condition", "postprocess", "vectors"}, "no colours, and nothing told"
    html = (own / "report" / "index.html").read_text()
    for name in STUDIES.keys() - left_out:
        folder = own / "studies" / name
        meta = json.loads((folder / "meta.json").read_text())
        assert meta["seed"] == 0 and meta["step"] == 32 and meta["versions"] and meta["chapter"] in html
        assert f"<h3>{escape(STUDIES[name].title)}</h3>" in html
        assert {path.name for path in folder.iterdir()} == {
            "arrays.npz",
            "meta.json",
            *(picture["file"] for picture in meta["pictures"]),
        }
        for picture in meta["pictures"]:
            with Image.open(folder / picture["file"]) as image:
                assert min(image.size) > 50
            assert (folder / picture["file"]).stat().st_size < 3e6
    assert not list(own.glob("studies/*.part")) and not list(own.glob("studies/*.old"))


def test_the_function_gives_what_the_command_writes(command, own):
    command(f"--workdir={own}", "--study=variation", "--input=test:3,1", "--config.study.strength=0.2")
    written = arrays_of(own, "variation")
    arrays = vae_jax.studies.variation(vae_jax.load(own), written["inputs"], strength=0.2, count=10, seed=0)
    assert arrays.keys() | {"inputs", "inputs_name", "seed"} == written.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(values, written[name], err_msg=name)


def test_the_inputs_of_other_studies_and_their_order_change_nothing(command, own):
    command(f"--workdir={own}", "--study=variation", "--input=test:3,1")
    before = arrays_of(own, "variation")
    command(f"--workdir={own}", "--study=variation,posterior", "--input=test:0-4")
    after = arrays_of(own, "variation")
    np.testing.assert_array_equal(after["noise"][:, [3, 1]], before["noise"])
    np.testing.assert_allclose(after["outputs"][:, :, [3, 1]], before["outputs"], atol=1e-5)


@pytest.mark.parametrize("study", ["variation", "posterior", "input_noise", "reconstruct"])
def test_noise_given_back_replays_a_study_with_its_names_and_its_seed(command, own, study):
    command(f"--workdir={own}", f"--study={study}", "--input=test:3,1", "--config.study.seed=5")
    before = arrays_of(own, study)
    shutil.copy(own / "studies" / study / "arrays.npz", own / "old.npz")
    command(f"--workdir={own}", f"--study={study}", f"--noise={own / 'old.npz'}")
    after = arrays_of(own, study)
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(after[name], values, err_msg=name)
    meta = json.loads((own / "studies" / study / "meta.json").read_text())
    assert meta["inputs"] == ["test 3", "test 1"] and meta["seed"] == 5


def test_post_processing_is_measured_at_every_stage_on_256_examples(command, own):
    command(f"--workdir={own}", "--study=postprocess", "--config.study.postprocess.stages=contrast,sharpen")
    figures = json.loads((own / "studies" / "postprocess" / "meta.json").read_text())["figures"]
    assert [name for name in figures if name.startswith("mse")] == ["mse_0_decoded", "mse_1_contrast", "mse_2_sharpen"]
    model = vae_jax.load(own)
    images = vae_jax.run.open_data(model.config)["test"].read(np.arange(256))["image"]
    error = np.square(model.reconstruct(images) - images).mean()
    np.testing.assert_allclose(figures["mse_0_decoded"]["mean"], error, rtol=1e-4)
    assert arrays_of(own, "postprocess")["outputs"].shape == (2, 8, 8, 8, 1)


def test_a_run_beside_its_copy_is_twice_the_same_and_another_crop_is_said(command, own, tmp_path):
    copy = shutil.copytree(own, tmp_path / "copy")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace('"crop": "whole"', '"crop": "center"'))
    command(f"--workdir={own}", "--study=compare", f"--config.study.runs={copy}")
    arrays = arrays_of(own, "compare")
    for name in ("reconstructions", "samples", "mse"):
        np.testing.assert_array_equal(*arrays[name], err_msg=name)
    meta = json.loads((own / "studies" / "compare" / "meta.json").read_text())
    assert meta["notes"] == ["copy was trained on pictures of data.crop=center; these are whole."]


def test_each_study_says_of_its_run_that_it_learnt_from_the_test_split_and_how_far_it_is(command, own):
    config = (own / "config.json").read_text().replace('"train_on": "train"', '"train_on": "all"')
    (own / "config.json").write_text(config.replace('"steps": 32', '"steps": 64'))
    command(f"--workdir={own}", "--study=posterior,manifold")
    for name in ("posterior", "manifold"):
        notes = json.loads((own / "studies" / name / "meta.json").read_text())["notes"]
        assert "no figure here is a held-out one" in notes[0] and "32 of the 64 steps" in notes[1]


def test_a_study_that_fails_leaves_the_earlier_one_whole(command, own, monkeypatch):
    command(f"--workdir={own}", "--study=posterior", "--input=test:3")
    before = arrays_of(own, "posterior")
    monkeypatch.setattr("vae_jax.studies.running.write_json", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command(f"--workdir={own}", "--study=posterior", "--input=test:4")
    after = arrays_of(own, "posterior")
    np.testing.assert_array_equal(after["inputs"], before["inputs"])
    assert [path.name for path in (own / "studies").iterdir()].count("posterior") == 1
    assert not list(own.glob("studies/*.part"))


def test_pictures_are_fitted_and_what_was_done_is_said(command, own, tmp_path, capsys):
    source = vae_jax.run.open_data(vae_jax.load(own).config)["test"]
    pixels = source.read(np.array([3]))["image"][0]
    grey = np.rint(pixels[..., 0] * 255).astype(np.uint8) if pixels.dtype != np.uint8 else pixels[..., 0]
    Image.fromarray(grey).save(tmp_path / "same.png")
    Image.fromarray(grey).resize((24, 16), Image.Resampling.NEAREST).save(tmp_path / "wide.png")
    command(f"--workdir={own}", "--study=reconstruct", f"--input={tmp_path / 'same.png'},{tmp_path / 'wide.png'}")
    assert "wide.png: 24×16 pixels, taken whole, resized to 8×8." in capsys.readouterr().out
    given = arrays_of(own, "reconstruct")["inputs"]
    np.testing.assert_allclose(given[0], pixels / (255 if pixels.dtype == np.uint8 else 1), atol=0.002)
    assert given.shape == (2, 8, 8, 1)
    meta = json.loads((own / "studies" / "reconstruct" / "meta.json").read_text())
    assert meta["inputs"] == ["same.png", "wide.png"]
    assert any("wide.png: 24×16" in note for note in meta["input_notes"])


def test_all_with_others_beside_it_is_all():
    assert named("all,cycle") == named("cycle,all") == named("all") == list(STUDIES.values())

"""A user's mistake with a study ends in one sentence and exit code 2, and nothing is written."""

import shutil
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

import vae_jax
from vae_jax import main
from vae_jax.studies.shards import write_shards


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "text.jpg").write_text("not a picture")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "text.jpg").write_text("not a picture")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "one.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "mask5.png")
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(folder / "all.png")
    (folder / "labels.csv").write_text("name,age,height\n" + "".join(f"{i},{i % 3},{i}\n" for i in range(1797)))
    (folder / "others.csv").write_text("name,age\nface.jpg,3\n")
    (folder / "short.csv").write_text("name,age\n1,3\n2\n")
    np.savez(folder / "noise.npz", noise=np.zeros((3, 1, 2), np.float32))
    np.savez(folder / "other.npz", latents=np.zeros(3))
    return folder


@pytest.fixture
def mistake(workdir, files, monkeypatch, capsys):
    """Runs a command on the run, in the folder of the files, and returns its one sentence."""

    def run(*arguments, folder=workdir):
        before = sorted(folder.rglob("*"))
        monkeypatch.chdir(files)
        monkeypatch.setattr(sys, "argv", ["main.py", "--mode=study", f"--workdir={folder}", *arguments])
        flags.FLAGS.unparse_flags()
        capsys.readouterr()  # what the test itself has said before
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        assert ended.value.code == 2, said.err
        assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
        assert sorted(folder.rglob("*")) == before, "something was left behind"
        return said.err

    yield run
    flags.FLAGS.unparse_flags()


@pytest.mark.parametrize(
    ("study", "arguments", "words"),
    [
        ("", [], ["--study names no study", "variation"]),
        ("variaton", [], ["'variaton'", "did you mean variation?"]),
        ("variation", ["--input=text.jpg"], ["text.jpg", "no JPEG"]),
        ("variation", ["--input="], ["--input is ''", "names nothing"]),
        ("variation", ["--input=absent.jpg"], ["absent.jpg", "No such file"]),
        ("variation", ["--input=empty"], ["'empty'", "without pictures"]),
        ("variation", ["--input=broken"], ["'broken'", "none is a picture"]),
        ("variation", ["--input=test:99999"], ["test:99999", "0 to 358"]),
        ("variation", ["--input=test:1", "--align=face"], ["--align=face", "framed already"]),
        ("variation", ["--input=test:a"], ["test:a", "test:17,42"]),
        ("variation", ["--input=test:5-2"], ["test:5-2", "names no picture"]),
        ("variation", ["--input=test:0-200"], ["201 inputs", "up to 100"]),
        ("variation", ["--config.study.strength=-1"], ["study.strength", "'-1'", "0 or more"]),
        ("variation", ["--config.study.strength=much"], ["study.strength", "'much'"]),
        ("condition", ["--config.study.emphasis=-1"], ["study.emphasis", "'-1'", "0 or more"]),
        ("condition", ["--config.study.emphasis=1e39"], ["study.emphasis", "'1e39'", "up to 3.4e+38"]),
        ("variation", ["--config.study.count=0"], ["study.count", "0", "1 or more"]),
        ("variation", ["--config.study.count=1000000"], ["study.count is 1000000", "24,000,000 pictures", "4 GB"]),
        ("interpolate", ["--config.study.count=9000"], ["study.count is 9000", "81,000,000 pictures"]),
        ("cycle", ["--config.study.cycles=9000000"], ["study.cycles", "72,000,000 pictures"]),
        ("variation", ["--config.study.seed=-1"], ["study.seed", "-1"]),
        ("variation", ["--config.study.z=median"], ["study.z", "'median'", "mean"]),
        ("variation", ["--config.study.classifier=absent"], ["study.classifier", "'absent'"]),
        ("variation", ["--config.model.latent=3"], ["model.latent", "2 → 3"]),
        ("variation", ["--input=one.png", "--noise=noise.npz"], ["(3, 1, 2)", "(10, 1, 2)"]),
        ("variation", ["--noise=absent.npz"], ["--noise", "absent.npz", "No such file"]),
        ("variation", ["--noise=one.png"], ["--noise is 'one.png', which is not the arrays.npz of a study."]),
        ("variation", ["--noise=other.npz"], ["--noise", "other.npz", "no noise"]),
        ("manifold", ["--noise=noise.npz"], ["manifold", "draws none"]),
        ("cycle", ["--input=one.png", "--noise=noise.npz"], ["cycle", "draws none"]),
        ("interpolate", ["--input=one.png"], ["interpolate", "2 inputs", "names 1"]),
        ("inpaint", ["--config.study.mask=mask5.png"], ["study.mask", "5×5", "8×8"]),
        ("inpaint", ["--config.study.mask=all.png"], ["study.mask", "every pixel"]),
        ("inpaint", ["--config.study.mask=rows:7-8"], ["study.mask", "rows:7-8", "8×8"]),
        ("inpaint", ["--config.study.mask=rows:5-3"], ["study.mask", "no pixel"]),
        ("inpaint", ["--config.study.mask=round"], ["study.mask", "'round'", "box:"]),
        ("inpaint", ["--config.study.mask=random:1.5"], ["study.mask", "leave at least one"]),
        ("latent_map", ["--config.study.dimensions=0,2"], ["study.dimensions", "'0,2'", "0 to 1"]),
        ("latent_map", ["--config.study.color=Smiling"], ["study.color", "'Smiling'", "label"]),
        ("attributes", [], ["attributes", "the data of this run have none"]),
        ("condition", [], ["condition", "model.cond of this one is ()"]),
        ("variation", ["--config.study.cond=(1,)"], ["study.cond is (1,)", "told no conditions"]),
        ("bias", ["--config.study.groups=labels.csv"], ["study.groups", "FILE.csv:COLUMN"]),
        ("bias", ["--config.study.groups=absent.csv:age"], ["study.groups", "absent.csv", "No such file"]),
        ("bias", ["--config.study.groups=labels.csv:size"], ["study.groups", "beside the names are age, height"]),
        ("bias", ["--config.study.groups=labels.csv:height"], ["study.groups", "359 different", "2 to 50"]),
        ("bias", ["--config.study.groups=others.csv:age"], ["study.groups", "names none of the 359 test examples"]),
        ("bias", ["--config.study.groups=short.csv:age"], ["study.groups", "line 3 has 1 of 2"]),
        ("bias", ["--config.study.groups=one.png:age"], ["study.groups", "one.png", "can't be read"]),
        ("bias", ["--config.eval.features=absent.npz"], ["eval.features", "absent.npz"]),
        ("compare", [], ["compare", "study.runs"]),
        ("compare", ["--config.study.runs=absent"], ["'absent'", "no run"]),
        ("vectors", [], ["vectors", "this run is on pictures"]),
        ("sample", ["--config.study.temperature=-1"], ["study.temperature", "'-1'"]),
        ("variation", ["--input=one.png", "--align=face"], ["--align=face", "'digits'"]),
        ("variation", ["--input=one.png", "--align=hand"], ["align", "hand", "face"]),
    ],
)
def test_a_mistake_is_told_in_one_sentence(mistake, study, arguments, words):
    said = mistake(f"--study={study}", *arguments)
    assert [word for word in words if word not in said] == [], said


def test_a_run_without_labels_is_told_so(mistake, workdir, tmp_path):
    config = (workdir / "config.json").read_text()
    np.savez(tmp_path / "pictures.npz", x=np.random.default_rng(0).integers(0, 256, (1797, 8, 8), dtype=np.uint8))
    own = shutil.copytree(workdir, tmp_path / "own")
    config = config.replace('"source": "digits"', '"source": "npz"')
    (own / "config.json").write_text(config.replace('"dir": ""', f'"dir": "{tmp_path}/pictures.npz"'))
    assert "needs attributes or classes, and the data of this run have neither" in mistake("--study=bias", folder=own)
    assert "the test split has no labels" in mistake("--study=latent_map", "--config.study.color=label", folder=own)


def test_a_run_that_was_never_trained_is_told_so(mistake, workdir, tmp_path):
    (tmp_path / "own").mkdir()
    shutil.copy(workdir / "config.json", tmp_path / "own")
    assert "no checkpoint" in mistake("--study=variation", folder=tmp_path / "own")


def test_a_classifiers_run_has_no_studies(mistake, classifier, workdir):
    assert "holds a classifier" in mistake("--study=reconstruct", folder=classifier)
    said = mistake("--study=compare", f"--config.study.runs={classifier}")
    assert "study.runs" in said and "holds a classifier" in said


def test_samples_of_another_seed_are_not_mixed_with_those_that_are_there(mistake, workdir, tmp_path):
    own = shutil.copytree(workdir, tmp_path / "own")
    write_shards(vae_jax.load(own), own / "studies" / "sample_shards", 10, seed=0)
    said = mistake("--study=sample", "--config.study.count=2000", "--config.study.seed=1", folder=own)
    assert "sample_shards" in said and "'seed': 0" in said

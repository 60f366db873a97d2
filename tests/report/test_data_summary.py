"""The summary of what a config trains on: its figures against counts made here, and which pictures it draws."""

import json
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image
from sklearn.datasets import load_digits

from vae_jax import main
from vae_jax.config import default_config, resolve
from vae_jax.data.source import ArraySource, Features, Provenance
from vae_jax.mesh import make_mesh
from vae_jax.replicas import open_group
from vae_jax.report.data_summary import summarise
from vae_jax.report.data_text import as_text
from vae_jax.run import open_run, write_config

SIZES = {"train": 60, "validation": 12, "test": 16}
ATTRIBUTES = ("Bald", "Smiling")


class Faces(ArraySource):
    """Noise with two attributes and identities, as if decoded from files of which one was broken."""

    provenance = (Provenance("faces.zip", "cache/1", 89, (("000007.jpg", "it is truncated"),)),)

    def __init__(self, images, *, people):
        super().__init__(images)
        self.features = Features(images.shape[1:], images.dtype, attributes=ATTRIBUTES)
        bald = np.arange(len(images)) % 4 == 0
        self.columns = {
            "attributes": np.stack([bald, np.arange(len(images)) % 2 == 0], axis=1).astype(np.uint8),
            "identity": np.resize(people, len(images)),
        }


def faces():
    rng = np.random.default_rng(0)
    images = {split: rng.integers(0, 256, (size, 6, 5, 3), dtype=np.uint8) for split, size in SIZES.items()}
    images["test"][3] = images["train"][10]
    images["train"][11] = images["train"][10]
    people = {"train": [1, 2, 3, 4], "validation": [5, 6], "test": [4, 7]}
    return {split: Faces(images[split], people=people[split]) for split in SIZES}


def summary(folder, splits, **data):
    config = default_config()
    config.data.update_from_flattened_dict({"image_size": (6, 5), **data})
    resolve(config)
    return summarise(folder, config, splits, make_mesh(1), name="mine")


@pytest.fixture(scope="module")
def of_faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "studies" / "data"
    return folder, summary(folder, faces(), **{"flip": True, "balance": "Smiling", "corrupt.kind": "box"})


def test_the_figures_are_those_of_the_splits(of_faces):
    folder, meta = of_faces
    assert json.loads((folder / "meta.json").read_text())["splits"] == meta["splits"]
    for split, source in faces().items():
        found, x = meta["splits"][split], source.images / 255
        assert found["examples"] == SIZES[split]
        assert found["mean"] == pytest.approx(x.mean(axis=(0, 1, 2)))
        assert found["stddev"] == pytest.approx(x.std(axis=(0, 1, 2)))
        assert (found["low"], found["high"]) == (source.images.min(), source.images.max())
    assert list(meta["attributes"]) == ["Smiling", "Bald"]  # the most frequent first
    assert meta["attributes"]["Bald"] == {"train": 0.25, "validation": 0.25, "test": 0.25}


def test_examples_and_people_that_are_there_twice_are_told(of_faces):
    _, meta = of_faces
    assert [meta["splits"][split]["repeated"] for split in SIZES] == [1, 0, 0]
    assert [meta["splits"][split]["people"] for split in SIZES] == [4, 2, 2]
    told = as_text(meta)
    assert "train and test share 1 example and 1 person." in told
    assert "validation and test share" not in told


def test_the_text_says_where_the_pictures_are_and_what_becomes_of_them(of_faces):
    told = as_text(of_faces[1])
    for words in (
        "faces.zip (89 pictures; decoded in cache/1)",
        "1 (000007.jpg: it is truncated)",
        "6×5×3 uint8",
        "whole pictures, resized to 6×5",
        "mirrored left to right",
        "a grey box over 50% of either side",
        "the groups of Smiling equally often",
        "the device (",
    ):
        assert words in told
    assert max(map(len, told.splitlines())) < 120


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_pictures_of_a_corrupted_set_show_every_example_twice(of_faces, tmp_path):
    folder, _ = of_faces
    assert sorted(path.name for path in folder.iterdir()) == [
        "attributes.png",
        "examples.png",
        "mean.png",
        "meta.json",
    ]
    summary(tmp_path / "data", faces())
    plain, corrupted = (pixels(place / "examples.png") for place in (tmp_path / "data", folder))
    assert len(corrupted) > 1.9 * len(plain)
    assert (corrupted == 128).all(axis=2).mean() > 0.04 > (plain == 128).all(axis=2).mean()


def test_vectors_are_plotted_and_have_no_mean_picture(tmp_path):
    rng = np.random.default_rng(0)
    labels = {split: rng.integers(0, 3, size) for split, size in SIZES.items()}
    vectors = {split: rng.normal(size=(size, 6)).astype(np.float32) for split, size in SIZES.items()}
    splits = {split: ArraySource(vectors[split], labels[split], ("a", "b", "c")) for split in SIZES}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "attributes.png").write_text("of an earlier summary")
    meta = summary(tmp_path / "data", splits)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["examples.png", "meta.json"]
    assert "mean of all entries" in as_text(meta)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["main.py", "--mode=data", *map(str, arguments)])
    flags.FLAGS.unparse_flags()
    main.main()
    flags.FLAGS.unparse_flags()


def test_a_run_folder_alone_will_do_and_its_report_gets_a_section(monkeypatch, capsys, tmp_path):
    write_config(open_run(tmp_path, "digits", default_config()), "python -m vae_jax.main")
    run(monkeypatch, f"--workdir={tmp_path}")
    assert f"Report: {tmp_path / 'report' / 'index.html'}" in capsys.readouterr().out
    html = (tmp_path / "report" / "index.html").read_text()
    section = html[html.index("<h3>Data</h3>") : html.index("<h2>Training</h2>")]
    assert section.count("<img src=") == 2
    assert "1,294" in section and "<summary>Class by split</summary>" in section


def test_a_group_of_replicas_keeps_the_page_that_compares_them(monkeypatch, tmp_path):
    config = default_config()
    config.train.replicas.kl = (1.0, 2.0)
    for each in open_group(tmp_path, "digits", config).folders:
        write_config(each, "python -m vae_jax.main")
    run(monkeypatch, f"--workdir={tmp_path}")
    assert "2 runs that were trained in one program" in (tmp_path / "report" / "index.html").read_text()


def test_other_data_than_those_of_the_run_are_not_put_into_its_folder(monkeypatch, capsys, tmp_path):
    write_config(open_run(tmp_path, "digits", default_config()), "python -m vae_jax.main")
    with pytest.raises(SystemExit):
        run(monkeypatch, f"--workdir={tmp_path}", "--config.data.crop=4x4", "--config.model.latent=3")
    assert "holds a run of other data (data.crop: 'whole' → '4x4'); name another" in capsys.readouterr().err
    assert not (tmp_path / "studies").exists()


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("no folder")
    config = tmp_path / "mine.py"
    config.write_text("from vae_jax.config import default_config as get_config\n")
    with pytest.raises(SystemExit):
        run(monkeypatch, f"--config={config}", f"--workdir={tmp_path / 'file' / 'run'}")
    error = capsys.readouterr().err
    assert "--workdir is " in error and "nothing can be written (Not a directory)" in error


def test_a_training_split_without_the_labels_of_the_test_split_is_drawn_without_captions(tmp_path):
    images = {split: np.full((size, 6, 5, 1), 99, np.uint8) for split, size in SIZES.items()}
    splits = {split: ArraySource(images[split], classes=("a", "b")) for split in ("train", "validation")}
    splits["test"] = ArraySource(images["test"], np.arange(SIZES["test"]) % 2, ("a", "b"))
    summary(tmp_path / "data", splits)
    assert (tmp_path / "data" / "examples.png").exists()


def test_the_command_line_tells_the_classes_and_names_the_files(monkeypatch, capsys, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text("from vae_jax.config import default_config as get_config\n")
    run(monkeypatch, f"--config={config}", f"--workdir={tmp_path / 'run'}")
    told = capsys.readouterr().out
    meta = json.loads((tmp_path / "run/studies/data/meta.json").read_text())
    counted = np.bincount(load_digits().target)
    assert [sum(meta["classes"][str(digit)].values()) for digit in range(10)] == counted.tolist()
    for name in ("examples.png", "mean.png", "meta.json"):
        assert str(tmp_path / "run/studies/data" / name) in told
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["studies"]  # no run, and no report of one

"""Data sets as tensorflow_datasets prepares them: the real MNIST, and a few faces written here."""

import io
import json
import logging
import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from ml_collections import ConfigDict
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from vae_jax.config import default_config
from vae_jax.data.cache import cached
from vae_jax.data.content import read_examples
from vae_jax.data.fit import Fit
from vae_jax.data.sources import idx
from vae_jax.data.sources.tfds import open_splits
from vae_jax.data.splits import open_splits as splits_of_any_source
from vae_jax.errors import UserError


def open_tfds(folder, name="mnist"):
    return open_splits(ConfigDict({"dir": str(folder), "name": name}))


# The real MNIST


@pytest.fixture(scope="module")
def mnist(shared):
    return open_tfds(shared / "data/tfds")


def test_mnist_has_its_published_counts_and_classes(mnist):
    assert {name: len(split) for name, split in mnist.items()} == {"train": 60000, "test": 10000}
    assert mnist["test"].classes == tuple("0123456789")
    assert mnist["test"].attributes == ()


def test_idx_and_tfds_give_the_same_images_ids_and_labels_without_a_word(mnist, shared, tmp_path, capfd):
    ours = idx.open_splits(ConfigDict({"dir": str(shared / "data/mnist")}))["test"]
    fit = Fit("whole", (28, 28), mnist["test"].channels)
    theirs = cached({"test": mnist["test"]}, fit, cache_dir=str(tmp_path), max_broken=0)["test"]
    told = capfd.readouterr()
    assert told.out == "" and all(line.startswith(("decoding", "picture")) for line in told.err.splitlines())
    assert theirs.features == ours.features
    ours, theirs = (read_examples(source, np.arange(10000)) for source in (ours, theirs))
    ids, their_ids = (list(zip(e["example_id"].tolist(), e["label"].tolist(), strict=True)) for e in (ours, theirs))
    assert sorted(ids) == sorted(their_ids)
    for place in (0, 1, 9999):
        assert np.array_equal(theirs["image"][place], ours["image"][ids.index(their_ids[place])])


def test_a_prepared_set_is_read_from_a_pickle_as_from_itself_without_a_word(mnist, capfd, caplog):
    copy = pickle.loads(pickle.dumps(mnist["train"]))
    assert [copy.load(place) for place in (5, 0, 59999)] == [mnist["train"].load(place) for place in (5, 0, 59999)]
    assert not caplog.get_records("call")
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("absl").level <= logging.WARNING  # others may still speak


# A set of faces


@pytest.fixture
def faces(tmp_path):
    """Six pictures as celeb_a has them: a dict of flags, other numbers, no label."""
    folder = tmp_path / "small_faces/1.0.0"
    folder.mkdir(parents=True)
    tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(6, 5, 3), encoding_format="jpeg"),
            "attributes": {"Wearing_Hat": np.bool_, "Bald": np.bool_},
            "landmarks": {"nose_x": np.int64},
        }
    ).save_config(folder)
    split = {
        "name": "train",
        "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        "numBytes": "1",
        "shardLengths": ["6"],
    }
    info = {"name": "small_faces", "version": "1.0.0", "fileFormat": "array_record", "splits": [split]}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    writer = ArrayRecordWriter(str(folder / "small_faces-train.array_record-00000-of-00001"), "group_size:1")
    for number in range(6):
        content = io.BytesIO()
        Image.new("RGB", (5, 6), (40 * number,) * 3).save(content, "JPEG")
        features = tf_example_pb2.Example()
        features.features.feature["image"].bytes_list.value.append(content.getvalue())
        for name, value in {"Wearing_Hat": number % 2, "Bald": number // 3}.items():
            features.features.feature[f"attributes/{name}"].int64_list.value.append(value)
        features.features.feature["landmarks/nose_x"].int64_list.value.append(3)
        writer.write(features.SerializeToString())
    writer.close()
    return tmp_path


def test_the_attributes_of_a_prepared_set_are_columns_in_the_order_of_their_names(faces):
    train = open_tfds(faces, "small_faces")["train"]
    assert (train.attributes, train.classes, train.channels) == (("Bald", "Wearing_Hat"), (), 3)
    assert list(train.columns) == ["attributes"]
    assert train.columns["attributes"].tolist() == [[0, 0], [0, 1], [0, 0], [1, 1], [1, 0], [1, 1]]


def test_the_pictures_of_a_prepared_set_are_decoded_with_their_attributes(faces, tmp_path):
    fit = Fit("whole", (6, 5), 3)
    train = cached(open_tfds(faces, "small_faces"), fit, cache_dir=str(tmp_path / "cache"), max_broken=0)["train"]
    examples = read_examples(train, np.arange(6))
    np.testing.assert_allclose(examples["image"].mean((1, 2, 3)), 40 * np.arange(6), atol=2)
    assert examples["attributes"].dtype == np.uint8
    assert train.features.attributes == ("Bald", "Wearing_Hat")


def test_another_seed_holds_out_other_pictures_and_decodes_nothing_anew(faces, tmp_path, capfd):
    config = default_config().data
    config.update(source="tfds", name="small_faces", dir=str(faces), image_size=(3, 4), cache_dir=str(tmp_path / "c"))
    tests = []
    for seed in range(5):
        config.seed = seed
        splits = splits_of_any_source(config)
        assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 1, "test": 1}
        tests.append(splits["test"].columns["example_id"].item())
    assert len(set(tests)) > 1
    assert capfd.readouterr().err.count("decoding") == 1


# What can't be read


def test_a_set_without_random_access_is_refused_with_how_to_prepare_it(shared, tmp_path):
    shutil.copytree(shared / "data/tfds", tmp_path, dirs_exist_ok=True)
    info = tmp_path / "mnist/3.0.1/dataset_info.json"
    info.chmod(0o644)
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="prepared as array_record; run `python -c "):
        open_tfds(tmp_path)


def test_a_set_that_is_not_prepared_is_refused_with_how_to_prepare_it(tmp_path, capfd):
    with pytest.raises(UserError, match=r"download_and_prepare\(\).*data.source='idx'"):
        open_tfds(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_a_set_that_tfds_does_not_know_is_refused_by_name(tmp_path):
    for name in ("mnistt", "mnist/nothing", "mnist:9.0.0", ""):
        with pytest.raises(UserError, match=f"data.name is '{name}', which is no data set"):
            open_tfds(tmp_path, name)

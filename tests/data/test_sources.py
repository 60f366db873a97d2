import gzip
import struct

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from sklearn.datasets import load_digits

from vae_jax.data.source import ArraySource, Subset
from vae_jax.data.splits import open_splits
from vae_jax.errors import UserError


def config(**changes):
    fields = {
        "source": "digits",
        "dir": "",
        "name": "mnist",
        "test_fraction": 0.2,
        "validation_fraction": 0.1,
        "train_on": "train",
        "seed": 0,
        "image_size": (8, 8),
        "crop": "whole",
        "channels": 0,
        "max_broken": 0.01,
        "cache_dir": "",
    }
    return ConfigDict({**fields, **changes})


def everything(source):
    return source.read(np.arange(len(source)))


def rows(images):
    return sorted(image.tobytes() for image in images)


# The splits


def test_the_splits_of_the_digits_share_no_example_and_lose_none():
    splits = open_splits(config())
    assert {name: len(split) for name, split in splits.items()} == {"train": 1294, "validation": 144, "test": 359}
    images = np.concatenate([everything(split)["image"] for split in splits.values()])
    assert rows(images) == rows((load_digits().images[..., None] / 16).astype(np.float32))


def test_training_on_all_takes_every_split_and_leaves_the_held_out_ones_as_they_were():
    apart, together = open_splits(config()), open_splits(config(train_on="all"))
    whole = everything(together["train"])
    for name, values in whole.items():
        expected = np.concatenate([everything(split)[name] for split in apart.values()])
        assert np.array_equal(values, expected), name
    shuffled = np.random.default_rng(0).permutation(len(together["train"]))
    assert np.array_equal(together["train"].read(shuffled)["image"], whole["image"][shuffled])
    for name in ("validation", "test"):
        assert np.array_equal(everything(together[name])["image"], everything(apart[name])["image"])


def test_the_digits_are_floats_of_the_unit_interval_with_their_own_labels():
    digits = load_digits()
    label_of = {image.tobytes(): label for image, label in zip(digits.images, digits.target, strict=True)}
    split = open_splits(config())["test"]
    test = everything(split)
    assert (test["image"].dtype, test["image"].shape[1:]) == (np.float32, (8, 8, 1))
    assert (test["image"].min(), test["image"].max()) == (0, 1)
    assert split.features.classes == tuple("0123456789")
    for image, label in zip(test["image"], test["label"], strict=True):
        assert label_of[(image[..., 0].astype(np.float64) * 16).tobytes()] == label


def test_the_data_seed_alone_decides_the_splits():
    same, again, other = (open_splits(config(seed=seed)) for seed in (1, 1, 2))
    for name in same:
        assert np.array_equal(everything(same[name])["image"], everything(again[name])["image"])
        assert not np.array_equal(everything(same[name])["image"], everything(other[name])["image"])


@pytest.mark.parametrize("field", ["test_fraction", "validation_fraction"])
@pytest.mark.parametrize("value", [-0.1, 0.0, 1.0])
def test_a_fraction_outside_the_unit_interval_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"data.{field} is {value}; it must lie between 0 and 1"):
        open_splits(config(**{field: value}))


def test_an_unknown_source_is_refused_with_the_nearest_name_and_all_of_them():
    with pytest.raises(UserError, match=r"data.source is 'digit'; .*digits, .*idx, .*did you mean 'digits'"):
        open_splits(config(source="digit"))


def test_arrays_of_another_size_are_resized_whole_with_their_labels():
    resized, digits = (open_splits(config(image_size=size))["test"] for size in ((4, 4), (8, 8)))
    expected = jax.image.resize(everything(digits)["image"], (359, 4, 4, 1), "linear", antialias=True)
    np.testing.assert_allclose(everything(resized)["image"], expected, atol=1e-6)
    assert np.array_equal(everything(resized)["label"], everything(digits)["label"])


def test_a_crop_that_arrays_do_not_have_is_refused_with_their_size():
    with pytest.raises(UserError, match="1,797 of 1,797 pictures .*it is 8x8 .*data.crop=.9x9."):
        open_splits(config(crop="9x9"))


@pytest.mark.parametrize("size", [(8, 8), (4, 4)])
def test_every_split_of_arrays_comes_out_in_the_wanted_size(tmp_path, size):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((20, 8, 8), np.uint8), x_test=np.zeros((9, 6, 7), np.uint8))
    splits = open_splits(config(source="npz", dir=str(tmp_path), image_size=size))
    assert {everything(split)["image"].shape[1:] for split in splits.values()} == {(*size, 1)}


@pytest.mark.parametrize("size", [(8, 8), (4, 4)])
@pytest.mark.parametrize("test", [np.zeros((9, 8, 8)), np.zeros((9, 8, 8, 3), np.uint8), np.zeros((9, 8))])
def test_splits_of_arrays_that_differ_in_more_than_size_are_refused(tmp_path, size, test):
    np.savez(tmp_path / "x.npz", x_train=np.zeros((20, 8, 8), np.uint8), x_test=test)
    with pytest.raises(UserError, match=r"'npz' gives training examples uint8 \(8, 8, 1\) and test ones .*same dtype"):
        open_splits(config(source="npz", dir=str(tmp_path), image_size=size))


# In memory


def test_a_subset_reads_the_examples_it_names_in_its_order():
    images = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)
    subset = Subset(Subset(ArraySource(images), np.array([9, 3, 5, 7])), np.array([2, 0]))
    assert everything(subset)["image"].ravel().tolist() == [5, 9]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 1)), None, "images are float64"),
        (np.full((2, 4, 4, 1), 255, np.float32), None, "from 255.0 to 255.0"),
        (np.full((2, 4, 4, 1), np.nan, np.float32), None, "from nan to nan"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3), "labels has 3 entries"),
        (np.zeros((2, 4), np.uint8), None, "vectors are uint8; they must be float32"),
        (np.full((2, 4), np.inf, np.float32), None, "vectors have entries that are not finite"),
    ],
)
def test_arrays_that_are_no_images_are_refused(images, labels, message):
    with pytest.raises(UserError, match=message):
        ArraySource(images, labels)


# The idx format


def write_idx(path, array):
    content = struct.pack(f">4B{array.ndim}i", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, size in (("train", 20), ("t10k", 6)):
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", rng.integers(0, 256, (size, 5, 4), dtype=np.uint8))
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", (np.arange(size) % 3).astype(np.uint8))
    return tmp_path


def open_idx(folder):
    return open_splits(config(source="idx", dir=str(folder), image_size=(5, 4)))


def test_idx_files_are_read_packed_or_not_and_in_both_spellings(idx_folder):
    packed = everything(open_idx(idx_folder)["test"])
    assert packed["image"].shape == (6, 5, 4, 1)
    images, labels = (idx_folder / f"t10k-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    for file, name in ((images, "t10k-images.idx3-ubyte"), (labels, "t10k-labels-idx1-ubyte")):
        (idx_folder / name).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    unpacked = everything(open_idx(idx_folder)["test"])
    assert all(np.array_equal(packed[name], unpacked[name]) for name in packed)


def test_a_missing_idx_file_is_named(idx_folder):
    (idx_folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(UserError, match="data.dir is .* lacks t10k-images-idx3-ubyte "):
        open_idx(idx_folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[: len(content) // 2], "can't be read"),  # an interrupted download
        (lambda content: b"<html>not found</html>", "can't be read"),
        (lambda content: content[:30] + bytes(20) + content[50:], "can't be read"),
        (lambda content: b"", "begins with the bytes ''"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-7]), "has 393 bytes of data where"),
        (lambda content: gzip.compress(b"\0\0\x0d\3" + gzip.decompress(content)[4:]), "not the '00000803'"),
        (lambda content: gzip.compress(gzip.decompress(content)[:6]), "begins with the bytes"),
    ],
)
def test_a_spoilt_idx_file_is_named(idx_folder, spoil, message):
    file = idx_folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(UserError, match=message) as error:
        open_idx(idx_folder)
    assert str(file) in str(error.value)


def test_images_and_labels_of_different_counts_are_refused_with_both(idx_folder):
    write_idx(idx_folder / "t10k-labels-idx1-ubyte.gz", np.zeros(7, np.uint8))
    with pytest.raises(UserError, match="6 images in .* but 7 labels in"):
        open_idx(idx_folder)


# The real MNIST


@pytest.fixture(scope="module")
def mnist(shared):
    return open_splits(config(source="idx", dir=str(shared / "data/mnist"), image_size=(28, 28)))


def test_mnist_has_its_published_counts(mnist):
    sizes = {name: len(split) for name, split in mnist.items()}
    assert sizes == {"train": 54000, "validation": 6000, "test": 10000}
    counts = np.bincount(everything(mnist["test"])["label"])
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # as LeCun et al. count them

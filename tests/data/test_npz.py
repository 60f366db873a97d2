import pickle

import numpy as np
import pytest
from ml_collections import ConfigDict

from vae_jax.data.sources import npz
from vae_jax.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
FLOATS = RNG.random((12, 5, 4, 1))  # float64
VECTORS = 10 * RNG.standard_normal((12, 3))
LABELS = np.arange(12) % 3


def open_splits(path):
    return npz.open_splits(ConfigDict({"dir": str(path)}))


def everything(source):
    return source.read(np.arange(len(source)))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[..., None]),
        (COLOUR, COLOUR),
        (FLOATS, FLOATS.astype(np.float32)),
        (FLOATS.astype(np.float16), FLOATS.astype(np.float16).astype(np.float32)),
        (VECTORS, VECTORS.astype(np.float32)),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "npz", "folder"])
def test_images_and_vectors_come_out_as_they_went_in(tmp_path, array, expected, suffix):
    np.savez(tmp_path / "x.npz", images=array) if suffix == "npz" else np.save(tmp_path / "x.npy", array)
    source = open_splits(tmp_path if suffix == "folder" else tmp_path / f"x.{suffix}")["train"]
    image = everything(source)["image"]
    assert image.dtype == expected.dtype
    assert np.array_equal(image, expected)
    assert (source.features.shape, source.features.dtype) == (expected.shape[1:], expected.dtype)


@pytest.mark.parametrize(
    ("names", "sizes"),
    [
        ({"images": GREY, "labels": LABELS}, {"train": 12}),
        ({"x": GREY, "y": LABELS}, {"train": 12}),
        ({"x_train": GREY, "y_train": LABELS, "x_test": GREY[:5], "y_test": LABELS[:5]}, {"train": 12, "test": 5}),
        (
            {
                "train_images": GREY,
                "train_labels": LABELS[:, None],
                "val_images": GREY[:4],
                "val_labels": LABELS[:4, None],
            },
            {"train": 12, "validation": 4},
        ),
    ],
)
def test_an_npz_gives_its_labels_and_splits_under_the_names_people_use(tmp_path, names, sizes):
    np.savez_compressed(tmp_path / "x.npz", **names)
    splits = open_splits(tmp_path / "x.npz")
    assert {name: len(split) for name, split in splits.items()} == sizes
    for name, split in splits.items():
        assert split.features.classes == ("0", "1", "2")
        read = everything(split)
        assert np.array_equal(read["image"][..., 0], GREY[: sizes[name]])
        assert np.array_equal(read["label"], LABELS[: sizes[name]])


def test_files_called_by_splits_are_the_splits(tmp_path):
    np.save(tmp_path / "train.npy", GREY)
    np.savez(tmp_path / "test.npz", images=GREY[:3], labels=LABELS[:3])
    splits = open_splits(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 12, "test": 3}


def test_an_npy_file_is_mapped_and_its_pickle_holds_no_pixels(tmp_path):
    np.save(tmp_path / "x.npy", COLOUR)
    source = open_splits(tmp_path / "x.npy")["train"]
    assert isinstance(source.images.base, np.memmap)
    content = pickle.dumps(source)
    assert len(content) < COLOUR.nbytes
    assert np.array_equal(everything(pickle.loads(content))["image"], COLOUR)


def save_objects(path):
    np.savez(path, images=np.array([{}, None], object))


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (save_objects, ["can't be read as arrays of numbers", "Object arrays"]),
        (lambda path: np.savez(path, pictures=GREY), ["the arrays are pictures", "images"]),
        (lambda path: np.savez(path, images=GREY[0, 0]), ["images has the shape (4,)", "[N, D]"]),
        (lambda path: np.savez(path, images=COLOUR.transpose(0, 3, 1, 2).repeat(2, 3)), ["[N, C, H, W]", "last"]),
        (lambda path: np.savez(path, images=GREY, labels=LABELS[:5]), ["labels has 5 entries", "12"]),
        (lambda path: np.savez(path, images=GREY, labels=LABELS / 2), ["labels is float64 (12,)", "integer"]),
        (lambda path: np.savez(path, images=GREY, labels=LABELS - 1), ["labels is int64", "0 or more"]),
        (lambda path: np.savez(path, images=255 * FLOATS), ["images run from", "[0, 1]"]),
        (lambda path: np.savez(path, images=GREY.astype(np.int64)), ["images is int64", "must be uint8"]),
        (lambda path: np.savez(path, images=np.full((3, 2), np.nan)), ["vectors have entries that are not finite"]),
        (lambda path: np.savez(path, images=GREY > 0), ["images is bool", "astype('float32')"]),
        (lambda path: np.savez(path, images=GREY[:, :0]), ["images has the shape (12, 0", "no pixels"]),
        (lambda path: np.savez(path, pictures=GREY), ["the arrays are pictures", "image, x or arr_0", "x_train"]),
        (lambda path: np.savez(path, x_test=GREY), ["has arrays for test but none for training"]),
        (lambda path: np.savez(path, images=GREY, labels=np.array(3)), ["labels is int64 ()"]),
        (lambda path: path.write_bytes(b"PK\3\4 no zip"), ["no whole .npz"]),
        (lambda path: path.write_bytes(b""), ["no whole .npz"]),
    ],
)
def test_arrays_that_cannot_be_are_refused_with_their_file(tmp_path, save, words):
    path = tmp_path / "mine.npz"
    save(path)
    with pytest.raises(UserError) as error:
        open_splits(path)
    assert [word for word in ["data.dir", str(path), *words] if word not in str(error.value)] == [], error.value


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x93NUMPY\1\0v\0{'descr': '|u1', 'fortran_order': False, "])
def test_an_npy_file_that_is_damaged_is_refused(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(UserError, match="x.npy can't be read as arrays of numbers"):
        open_splits(tmp_path / "x.npy")


def test_a_folder_must_say_which_file_is_meant(tmp_path):
    for name in ("", str(tmp_path), str(tmp_path / "no.npz")):
        with pytest.raises(UserError, match=f"data.dir is '{name}'; it must be an .npz or .npy file, or a folder"):
            npz.open_splits(ConfigDict({"dir": name}))
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, GREY)
    with pytest.raises(UserError, match=r"not with 2 \(a.npy, b.npy\)"):
        open_splits(tmp_path)

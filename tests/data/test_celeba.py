import csv
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from ml_collections import ConfigDict

from vae_jax.data.sources import celeba
from vae_jax.errors import UserError

COUNTS = {"train": 6, "validation": 2, "test": 2}
NAMES = [f"{number:06}.jpg" for number in range(1, 11)]
ATTRIBUTES = ("Bald", "Smiling", "Young")
FLAGS = np.random.default_rng(0).integers(0, 2, (len(NAMES), len(ATTRIBUTES)))  # [N, A] of 0 and 1
PEOPLE = [7, 7, 7, 8, 8, 9, 3, 3, 1, 1]
PARTITION = [0] * 6 + [1] * 2 + [2] * 2


def picture(name):
    return f"the bytes of {name}".encode()


def open_splits(folder=""):
    return celeba.open_splits(ConfigDict({"dir": str(folder), "name": "mnist"}))


def write_pictures(folder, names=NAMES):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(picture(name))


def write_zip(path, names=NAMES, *, below="img_align_celeba/"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__MACOSX/._000001.jpg", b"resource fork")
        for name in names:
            archive.writestr(below + name, picture(name))


def write_lists(folder, *, attributes=True, identity=True):
    """The official text form, in which attributes are 1 and -1."""
    folder.mkdir(parents=True, exist_ok=True)
    partition = "".join(f"{name} {split}\n" for name, split in zip(NAMES, PARTITION, strict=True))
    (folder / "list_eval_partition.txt").write_text(partition)
    if attributes:
        rows = [
            f"{name} {' '.join(f'{2 * flag - 1:2}' for flag in flags)}"
            for name, flags in zip(NAMES, FLAGS, strict=True)
        ]
        (folder / "list_attr_celeba.txt").write_text(
            f"{len(NAMES)}\n{' '.join(ATTRIBUTES)} \n" + "\n".join(rows) + "\n"
        )
    if identity:
        text = "".join(f"{name} {person}\n" for name, person in zip(NAMES, PEOPLE, strict=True))
        (folder / "identity_CelebA.txt").write_text(text)


def write_csv_lists(folder, *, off):
    """The form that Kaggle has; `off` is how it writes an attribute that is not there, -1 or 0."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "list_eval_partition.csv": [["image_id", "partition"], *zip(NAMES, PARTITION, strict=True)],
        "list_attr_celeba.csv": [
            ["image_id", *ATTRIBUTES],
            *([name, *np.where(flags, 1, off)] for name, flags in zip(NAMES, FLAGS, strict=True)),
        ],
        "identity_CelebA.csv": [["image_id", "identity"], *zip(NAMES, PEOPLE, strict=True)],
    }
    for name, table in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(table)


LAYOUTS = {
    "official page": lambda root: (
        write_zip(root / "Img/img_align_celeba.zip"),
        write_lists(root / "Anno"),
        shutil.move(root / "Anno/list_eval_partition.txt", (root / "Eval").mkdir() or root / "Eval"),
    ),
    "zip and lists": lambda root: (write_zip(root / "img_align_celeba.zip"), write_lists(root)),
    "zip without a folder in it": lambda root: (write_zip(root / "img_align_celeba.zip", below=""), write_lists(root)),
    "torchvision": lambda root: (write_pictures(root / "celeba/img_align_celeba"), write_lists(root / "celeba")),
    "kaggle": lambda root: (
        write_pictures(root / "img_align_celeba/img_align_celeba"),
        write_csv_lists(root, off=-1),
    ),
    "csv of 0 and 1": lambda root: (write_pictures(root / "img_align_celeba"), write_csv_lists(root, off=0)),
    "straight in the folder": lambda root: (write_pictures(root), write_lists(root)),
    "as png": lambda root: (
        write_pictures(root / "img_align_celeba"),
        [path.rename(path.with_suffix(".png")) for path in (root / "img_align_celeba").iterdir()],
        write_lists(root),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_gives_the_same_pictures_splits_attributes_and_people(tmp_path, layout):
    layout(tmp_path)
    splits, start = open_splits(tmp_path), 0
    assert {name: len(split) for name, split in splits.items()} == COUNTS
    for split in splits.values():
        rows = slice(start, start + len(split))
        assert [split.load(index) for index in range(len(split))] == [picture(name) for name in NAMES[rows]]
        assert split.attributes == ATTRIBUTES
        assert np.array_equal(split.columns["attributes"], FLAGS[rows])
        assert split.columns["attributes"].dtype == np.uint8
        assert split.columns["identity"].tolist() == PEOPLE[rows]
        start += len(split)


@pytest.mark.parametrize("inside", ["img_align_celeba", "img_align_celeba.zip"])
def test_the_pictures_folder_or_the_zip_itself_may_be_named(tmp_path, inside):
    write_lists(tmp_path)
    write_zip(tmp_path / inside) if inside.endswith("zip") else write_pictures(tmp_path / inside)
    assert len(open_splits(tmp_path / inside)["train"]) == COUNTS["train"]


def test_without_a_folder_they_are_found_by_the_environment(tmp_path, monkeypatch):
    LAYOUTS["kaggle"](tmp_path / "celeba")
    monkeypatch.setenv("VAE_JAX_DATA", str(tmp_path))
    assert len(open_splits()["train"]) == COUNTS["train"]


def test_a_zip_is_opened_anew_from_a_pickle(tmp_path):
    LAYOUTS["zip and lists"](tmp_path)
    train = open_splits(tmp_path)["train"]
    content = train.load(3)
    assert pickle.loads(pickle.dumps(train)).load(3) == content


def test_without_attribute_or_identity_lists_there_are_none(tmp_path):
    write_pictures(tmp_path)
    write_lists(tmp_path, attributes=False, identity=False)
    train = open_splits(tmp_path)["train"]
    assert (train.columns, train.attributes) == ({}, ())


def test_a_subset_is_used_and_what_is_missing_is_counted(tmp_path, capfd):
    write_pictures(tmp_path / "img_align_celeba", [*NAMES[:4], *NAMES[6:9], "999999.jpg", "888888.jpg"])
    write_lists(tmp_path)
    splits = open_splits(tmp_path)
    assert {name: len(split) for name, split in splits.items()} == {"train": 4, "validation": 2, "test": 1}
    assert np.array_equal(splits["validation"].columns["attributes"], FLAGS[6:8])
    assert capfd.readouterr().err == (
        "CelebA: 7 of 202,599 pictures (train 4, validation 2, test 1); 2 more pictures are left out, which lack an "
        "entry in a list; 3 entries of list_eval_partition.txt have no picture\n"
    )


def test_the_fingerprint_changes_with_the_pictures_and_the_lists_and_with_nothing_else(tmp_path):
    def fingerprint():
        return open_splits(tmp_path)["train"].fingerprint

    LAYOUTS["zip and lists"](tmp_path)
    first = fingerprint()
    write_zip(tmp_path / "img_align_celeba.zip")
    assert fingerprint() == first
    (tmp_path / "identity_CelebA.txt").write_text("".join(f"{name} 5\n" for name in NAMES))
    second = fingerprint()
    write_zip(tmp_path / "img_align_celeba.zip", [*NAMES[1:], "other/000001.jpg"])
    third = fingerprint()
    write_pictures(tmp_path / "img_align_celeba")
    fourth = fingerprint()
    (tmp_path / "img_align_celeba" / NAMES[0]).write_bytes(b"other")
    assert len({first, second, third, fourth, fingerprint()}) == 5


# Mistakes

ATTRIBUTE_LINE = 3  # of NAMES[0] in list_attr_celeba.txt


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("list_attr_celeba.txt", "10\nBald Smiling Young\n000001.jpg 1 -1\n", ["promises 10", "lists 1"]),
        (
            "list_attr_celeba.txt",
            "1\nBald Smiling Young\n000001.jpg 1 -1\n",
            ["line 3", "000001.jpg 1 -1", "3 integers"],
        ),
        ("list_attr_celeba.txt", "1\nBald Smiling\n\n000001.jpg 1 2\n", ["line 4", "000001.jpg 1 2", "from -1 to 1"]),
        ("list_attr_celeba.txt", "1\nBald\n000001.jpg yes\n", ["line 3", "yes"]),
        ("list_attr_celeba.txt", "1\n", ["names of its columns"]),
        ("list_attr_celeba.txt", "000001.jpg 1 1 1\n", ["names of its columns"]),
        ("list_eval_partition.txt", "000001.jpg 0\n000002.jpg 3\n", ["line 2", "000002.jpg 3", "from 0 to 2"]),
        ("list_eval_partition.txt", "000001.jpg 0\n000002.jpg\n", ["line 2", "'000002.jpg'", "1 integer"]),
        ("list_eval_partition.txt", "000001.jpg 0\n2 0\n", ["line 2", "'2 0'"]),
        ("list_eval_partition.txt", "000001.jpg 0\n000001.jpg 1\n", ["line 2", "'000001.jpg'", "had a line before"]),
        ("list_eval_partition.txt", "", ["is empty"]),
        ("list_eval_partition.txt", "image_id,partition\n", ["lists 0"]),
        ("list_eval_partition.txt", "<!DOCTYPE html><html>Quota exceeded", ["web page", "Google Drive"]),
        ("list_eval_partition.txt", "x1.jpg 0\n", ["none of the 10 pictures", "list_eval_partition.txt"]),
        ("identity_CelebA.txt", "000001.jpg 99999999999\n", ["line 1", "99999999999"]),
    ],
)
def test_a_malformed_list_is_named_with_its_line(tmp_path, file, content, words):
    LAYOUTS["zip and lists"](tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError) as error:
        open_splits(tmp_path)
    assert [word for word in [file, *words] if word not in str(error.value)] == [], error.value
    assert "\n" not in str(error.value)


def test_a_missing_partition_is_asked_for(tmp_path):
    write_pictures(tmp_path / "img_align_celeba")
    with pytest.raises(UserError, match=r"has pictures but no list_eval_partition.txt \(or .csv\)"):
        open_splits(tmp_path)


def test_a_zip_that_is_a_web_page_or_cut_short_is_told_from_a_whole_one(tmp_path):
    LAYOUTS["zip and lists"](tmp_path)
    path = tmp_path / "img_align_celeba.zip"
    whole = path.read_bytes()
    path.write_bytes(b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>" + bytes(2000))
    with pytest.raises(UserError, match="is a web page of 2,071 bytes: so Google Drive answers when too many"):
        open_splits(tmp_path)
    path.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=f"it has {len(whole) - 100:,} bytes, perhaps of a download that broke off"):
        open_splits(tmp_path)


def test_an_unpacked_folder_is_taken_though_the_zip_is_broken(tmp_path):
    LAYOUTS["zip and lists"](tmp_path)
    (tmp_path / "img_align_celeba.zip").write_bytes(b"<html>")
    write_pictures(tmp_path / "img_align_celeba")
    assert len(open_splits(tmp_path)["train"]) == COUNTS["train"]


def test_where_there_is_none_one_message_tells_three_ways_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("VAE_JAX_DATA", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    told = ("jessicali9530/celeba-dataset", "torchvision.datasets.CelebA", "download_and_prepare", "Too many users")
    for folder, place in (("", "$VAE_JAX_DATA"), (tmp_path, str(tmp_path)), (tmp_path / "no", str(tmp_path / "no"))):
        with pytest.raises(UserError) as error:
            open_splits(folder)
        assert [word for word in (*told, place) if word not in str(error.value)] == []


def test_a_prepared_tfds_set_is_taken_where_there_are_no_files(tmp_path, monkeypatch):
    from vae_jax.data.sources import tfds

    monkeypatch.setattr(tfds, "open_splits", lambda config: (config.name, config.dir))
    (tmp_path / "celeb_a").mkdir()
    assert open_splits(tmp_path) == ("celeb_a", str(tmp_path))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("VAE_JAX_DATA", raising=False)
    assert open_splits() == ("celeb_a", str(tmp_path))


# The real faces


@pytest.fixture(scope="module")
def faces(shared):
    return open_splits(shared / "data/celeba")


def test_the_real_faces_have_their_counts_attributes_and_people(faces):
    assert {name: len(split) for name, split in faces.items()} == {"train": 4560, "validation": 780, "test": 660}
    smiling = faces["train"].attributes.index("Smiling")
    flags = np.concatenate([split.columns["attributes"] for split in faces.values()])
    assert (flags.shape[1], flags.min(), flags.max()) == (40, 0, 1)
    assert 0.4 < flags[:, smiling].mean() < 0.6  # 48% of all 202,599 smile
    people = [set(split.columns["identity"].tolist()) for split in faces.values()]
    assert len(set.union(*people)) == sum(map(len, people)) == 200


def test_the_zip_and_the_unpacked_folder_give_the_same_files(faces, shared, tmp_path):
    with zipfile.ZipFile(shared / "data/celeba/img_align_celeba.zip") as archive:
        archive.extractall(tmp_path, archive.namelist()[:5])
    for name in ("list_eval_partition.txt", "list_attr_celeba.txt"):
        shutil.copy(shared / "data/celeba" / name, tmp_path)
    train = open_splits(tmp_path)["train"]
    assert [train.load(index) for index in range(5)] == [faces["train"].load(index) for index in range(5)]
    assert np.array_equal(train.columns["attributes"], faces["train"].columns["attributes"][:5])

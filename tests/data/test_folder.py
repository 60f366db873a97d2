import os
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

from vae_jax.data.sources import folder
from vae_jax.errors import UserError


def open_splits(root, **changes):
    return folder.open_splits(
        ConfigDict({"dir": str(root), "test_fraction": 0.2, "validation_fraction": 0.25, "seed": 0, **changes})
    )


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def split_of(splits):
    """The split of each picture, by its path."""
    return {pictures.name(index): split for split, pictures in splits.items() for index in range(len(pictures))}


def label_of(splits):
    return {
        pictures.name(index): pictures.classes[label]
        for pictures in splits.values()
        for index, label in enumerate(pictures.columns["label"].tolist())
    }


def test_pictures_are_told_by_their_suffix_and_all_else_is_passed_over_and_counted(tmp_path, capfd):
    pictures = ["a.jpg", "b/C.JPEG", "b/d.png", "b/c/e.WebP", "f.bmp", "ü 1.jpg"]
    write(tmp_path, *pictures, "notes.txt", "b/Thumbs.db", "g.gif", ".hidden.jpg", ".cache/h.jpg")
    splits = open_splits(tmp_path)
    assert sorted(split_of(splits)) == sorted(pictures)
    for split in splits.values():
        assert [split.load(index).decode() for index in range(len(split))] == [split.name(i) for i in range(len(split))]
    assert "6 pictures" in (said := capfd.readouterr().err)
    assert "in 2 classes; passed over: 3 other files, 2 hidden files" in said or "2 hidden files, 3 other files" in said


def test_added_and_removed_pictures_move_no_other_one(tmp_path):
    names = [f"{number}.png" for number in range(300)]
    write(tmp_path, *names)
    before = split_of(open_splits(tmp_path))
    write(tmp_path, *(f"a/{name}" for name in names))
    for name in names[::7]:
        (tmp_path / name).unlink()
    shutil.move(tmp_path, tmp_path.with_name("moved"))
    after = split_of(open_splits(tmp_path.with_name("moved")))
    assert {name: after[name] for name in before if name in after} == {
        name: before[name] for name in before if name in after
    }
    assert len(after) == 600 - len(names[::7])


def test_the_fractions_are_those_of_the_config_and_the_seed_draws_others(tmp_path):
    write(tmp_path, *(f"{number}.png" for number in range(3000)))
    splits = open_splits(tmp_path)
    sizes = {name: len(pictures) for name, pictures in splits.items()}
    for split, expected in {"test": 600, "validation": 600, "train": 1800}.items():  # 0.25 of what is not for testing
        assert abs(sizes[split] - expected) < 5 * np.sqrt(600)  # five standard deviations
    assert split_of(open_splits(tmp_path, seed=1)) != split_of(splits)
    less = split_of(open_splits(tmp_path, test_fraction=0.1))
    assert {name for name, split in less.items() if split == "test"} < {
        name for name, split in split_of(splits).items() if split == "test"
    }


def test_folders_that_are_called_by_splits_are_the_splits(tmp_path):
    names = ["train/a/1.png", "train/b/2.png", "val/a/3.png", "test/b/4.png", "test/c/x/5.png"]
    write(tmp_path, *names)
    splits = open_splits(tmp_path)
    assert split_of(splits) == {name: name.split("/")[0].replace("val", "validation") for name in names}
    assert label_of(splits) == {name: name.split("/")[1] for name in names}
    assert {pictures.classes for pictures in splits.values()} == {("a", "b", "c")}


def test_a_split_without_a_folder_is_drawn_from_training(tmp_path):
    write(tmp_path, *(f"{split}/{number}.png" for split in ("train", "test") for number in range(100)))
    splits = split_of(open_splits(tmp_path))
    assert {name for name, split in splits.items() if split == "test"} == {f"test/{n}.png" for n in range(100)}
    assert 10 < sum(split == "validation" for split in splits.values()) < 45


@pytest.mark.parametrize(
    ("others", "where"),
    [
        (["cover.png"], "1 picture at the top"),
        (["extra/3.png", "extra/4.png", "more/5.png"], "3 pictures in extra, more"),
    ],
)
def test_pictures_beside_the_folders_of_the_splits_do_not_make_these_classes(tmp_path, others, where):
    write(tmp_path, "Train/1.png", "TEST/2.png", *others)
    with pytest.raises(UserError, match=f"{where} lie beside the folders TEST, Train, which are the splits"):
        open_splits(tmp_path)


def test_the_folders_of_the_splits_may_be_written_in_capitals(tmp_path):
    write(tmp_path, "Train/1.png", "Val/2.png", "TEST/3.png")
    assert split_of(open_splits(tmp_path)) == {
        "Train/1.png": "train",
        "Val/2.png": "validation",
        "TEST/3.png": "test",
    }


def test_pictures_beside_the_folders_of_classes_are_a_class_of_their_own_which_is_told(tmp_path, capfd):
    write(tmp_path, "cat/1.png", "dog/2.png", "3.png")
    assert label_of(open_splits(tmp_path)) == {"cat/1.png": "cat", "dog/2.png": "dog", "3.png": "."}
    assert "in 3 classes, one of them ('.') of the pictures beside their folders" in capfd.readouterr().err


def test_a_class_may_be_called_train(tmp_path):
    write(tmp_path, "train/1.png", "car/2.png", "bus/3.png")
    assert label_of(open_splits(tmp_path)) == {"train/1.png": "train", "car/2.png": "car", "bus/3.png": "bus"}


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["a/1.png", "a/2.png"], ["a/x/1.png", "a/y/2.png"]])
def test_pictures_of_one_folder_have_no_labels(tmp_path, names):
    write(tmp_path, *names)
    for pictures in open_splits(tmp_path).values():
        assert (pictures.columns, pictures.classes) == ({}, ())


def test_links_are_followed_once_and_loops_end(tmp_path):
    write(tmp_path, "pictures/a/1.png", "elsewhere/2.png")
    (tmp_path / "pictures/a/up").symlink_to(tmp_path / "pictures")
    (tmp_path / "pictures/itself").symlink_to("itself")
    (tmp_path / "pictures/nowhere.png").symlink_to("no.png")
    (tmp_path / "pictures/b").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "pictures/pipe.png")
    assert sorted(split_of(open_splits(tmp_path / "pictures"))) == ["a/1.png", "b/2.png"]


def test_an_unreadable_folder_is_passed_over_and_counted(tmp_path, monkeypatch, capfd):
    write(tmp_path, "a/1.png", "b/2.png")
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)  # permissions don't bind a superuser, who may run this
    assert list(split_of(open_splits(tmp_path))) == ["a/1.png"]
    assert "passed over: 1 unreadable folders" in capfd.readouterr().err


def test_the_fingerprint_changes_with_a_pictures_path_size_or_date(tmp_path):
    def fingerprints():
        return tuple(pictures.fingerprint for pictures in open_splits(tmp_path).values())

    write(tmp_path, "a.png", "b.png")
    seen = [fingerprints()]
    assert fingerprints() == seen[0]
    os.utime(tmp_path / "a.png", ns=(0, 1))
    seen.append(fingerprints())
    (tmp_path / "a.png").write_bytes(b"longer than before")
    os.utime(tmp_path / "a.png", ns=(0, 1))
    seen.append(fingerprints())
    (tmp_path / "b.png").rename(tmp_path / "c.png")
    seen.append(fingerprints())
    assert len(set(seen)) == len(seen)


def test_a_folder_that_is_none_or_has_no_picture_is_refused(tmp_path):
    write(tmp_path, "a.txt")
    for name in ("", str(tmp_path / "no"), str(tmp_path / "a.txt")):
        with pytest.raises(UserError, match=f"data.dir is '{name}'; for data.source='folder' it must be a folder"):
            folder.open_splits(ConfigDict({"dir": name}))
    with pytest.raises(UserError, match=r"below which no .jpg, .*.bmp lies, but 1 other files"):
        open_splits(tmp_path)

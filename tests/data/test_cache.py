import errno
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from vae_jax.data import building
from vae_jax.data.content import example_ids, read_examples
from vae_jax.data.fit import Fit
from vae_jax.errors import UserError


def everything(source):
    return source.read(np.arange(len(source)))


def the_cache(folder):
    (found,) = (path for path in folder.iterdir() if path.is_dir())
    return found


def builds(capfd):
    return capfd.readouterr().err.count("decoding ")


# What is read


def test_every_picture_is_read_with_its_class_its_id_and_its_own_pixels(open_cached, pictures, tmp_path):
    splits = open_cached(pictures, tmp_path / "cache")
    files = {np.asarray(Image.open(path)).tobytes(): path.parent.name for path in pictures.rglob("*.png")}
    for split in splits.values():
        examples = everything(split)
        assert split.features.classes == ("a", "b")
        assert np.array_equal(examples["example_id"], example_ids(examples["image"]))
        for image, label in zip(examples["image"], examples["label"], strict=True):
            assert files.pop(image.tobytes()) == "ab"[label]
    assert not files
    indices = np.array([3, 0, 3])
    read = splits["train"].read(indices)
    assert all(np.array_equal(read[name], everything(splits["train"])[name][indices]) for name in read)
    assert {name: len(values) for name, values in splits["test"].columns.items()} == {
        "label": len(splits["test"]),
        "example_id": len(splits["test"]),
    }


def test_what_a_source_knows_reaches_the_batch_in_its_dtype(open_cached, pictures, tmp_path):
    train = open_cached(pictures, tmp_path / "cache")["train"]
    batch = read_examples(train, np.arange(4))
    assert {name: values.dtype for name, values in batch.items()} == {
        "image": np.uint8,
        "label": np.int32,
        "example_id": np.uint32,
    }


def test_a_cache_is_read_from_a_pickle_as_from_itself(open_cached, pictures, tmp_path):
    train = open_cached(pictures, tmp_path / "cache")["train"]
    content = pickle.dumps(train)
    assert len(content) < 2000  # no pixels
    ours, theirs = everything(train), everything(pickle.loads(content))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_examples_are_called_as_their_files(open_cached, collections_of, pictures, tmp_path):
    expected = {split: [each.name(i) for i in range(len(each))] for split, each in collections_of(pictures).items()}
    for split, source in open_cached(pictures, tmp_path / "cache").items():
        assert source.names(np.arange(len(source))) == expected[split]


def test_pictures_are_decoded_once_until_they_or_their_fit_change(open_cached, pictures, tmp_path, capfd):
    cache = tmp_path / "cache"
    first = everything(open_cached(pictures, cache)["train"])
    assert builds(capfd) == 1
    again = everything(open_cached(pictures, cache)["train"])
    assert builds(capfd) == 0
    assert np.array_equal(first["image"], again["image"])
    for fit in (Fit("center", (6, 5), 3), Fit("whole", (3, 5), 3), Fit("whole", (6, 5), 1)):
        assert open_cached(pictures, cache, fit)["train"].features.shape == (*fit.size, fit.channels)
        assert builds(capfd) == 1
    Image.new("RGB", (5, 6), "red").save(pictures / "a" / "0000.png")
    open_cached(pictures, cache)
    assert builds(capfd) == 1


# What can't be used


def spoil(pictures):
    (pictures / "a" / "0000.png").write_bytes(b"")
    (pictures / "a" / "0002.png").write_bytes(b"<html>")
    (pictures / "b" / "new\nline.png").write_bytes((pictures / "a" / "0004.png").read_bytes()[:-30])


def test_broken_pictures_are_named_counted_and_left_out_every_time(open_cached, pictures, tmp_path, capfd):
    spoil(pictures)
    for _ in range(2):
        splits = open_cached(pictures, tmp_path / "cache", max_broken=0.1)
        assert sum(map(len, splits.values())) == 38
        told = capfd.readouterr().err
        assert "3 of 41 pictures can't be used (" in told and "; they are left out" in told
        for named in (
            "a/0000.png: the file is empty",
            "a/0002.png: it is no JPEG",
            r"new\nline.png': it can't be deco",
        ):
            assert named in told


def test_a_file_too_large_for_a_picture_is_not_even_read(open_cached, pictures, tmp_path, capfd):
    with (pictures / "a" / "huge.png").open("wb") as file:
        file.truncate(2**40)  # nothing on the disk
    assert sum(map(len, open_cached(pictures, tmp_path / "cache", max_broken=0.1).values())) == 40
    assert "a/huge.png: the file has 1,099,511,627,776 bytes, more than 268,435,456" in capfd.readouterr().err


def test_too_many_broken_pictures_end_in_their_names_and_a_file_of_them_all(open_cached, pictures, tmp_path, capfd):
    for number in range(0, 40, 2):
        (pictures / "a" / f"{number:04}.png").write_bytes(b"")
    spoil(pictures)
    with pytest.raises(UserError) as error:
        open_cached(pictures, tmp_path / "cache", max_broken=0.5)
    told = str(error.value)
    assert "21 of 41 pictures can't be used (" in told and "more than data.max_broken=0.5 allows" in told
    assert " and 17 more: the file is empty; " in told
    assert told.count("the file is empty") == 1
    lines = (the_cache(tmp_path / "cache") / "left_out.txt").read_text().splitlines()
    assert len(lines) == 21 and "a/0000.png\tthe file is empty" in lines
    builds(capfd)
    open_cached(pictures, tmp_path / "cache", max_broken=0.6)  # allowing more of them decodes nothing anew
    assert builds(capfd) == 0


def test_no_usable_picture_at_all_is_an_error_of_one_sentence(open_cached, tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(40):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match="40 of 40 pictures can't be used"):
        open_cached(tmp_path / "pictures", tmp_path / "cache", max_broken=0.99)


def test_a_repeated_picture_is_kept_once_and_in_test_before_validation_before_train(
    open_cached, write_pictures, tmp_path
):
    for number, split in enumerate(("train", "val", "test")):
        write_pictures(tmp_path / "pictures" / split, 6, seed=0)  # the same six in all three
        write_pictures(tmp_path / "pictures" / split / "own", 5, seed=number + 1)
    splits = open_cached(tmp_path / "pictures", tmp_path / "cache", max_broken=0.5)
    assert {name: len(split) for name, split in splits.items()} == {"train": 5, "validation": 5, "test": 11}
    ids = np.concatenate([split.columns["example_id"] for split in splits.values()])
    assert len(set(ids.tolist())) == 21
    left_out = (the_cache(tmp_path / "cache") / "left_out.txt").read_text()
    assert "train/a/0000.png\tit is the same file as test/a/0000.png" in left_out


# What may befall a cache


@pytest.mark.parametrize("name", ["pixels", "index.npz"])
@pytest.mark.parametrize("damage", ["a byte", "cut", "gone", "empty"])
def test_a_damaged_cache_is_told_and_built_again(open_cached, pictures, tmp_path, capfd, name, damage):
    cache = tmp_path / "cache"
    expected = everything(open_cached(pictures, cache)["train"])
    file = the_cache(cache) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"a byte": content, "cut": content[:-1], "empty": b""}[damage])
    capfd.readouterr()
    found = everything(open_cached(pictures, cache)["train"])
    told = capfd.readouterr().err
    assert told.count(f"the cache {the_cache(cache)} is damaged (") == 1 and "decoding 40 pictures" in told
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_a_cache_that_the_disk_does_not_give_is_left_as_it_is(open_cached, pictures, tmp_path, monkeypatch):
    def fail(file, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    open_cached(pictures, tmp_path / "cache")
    before = the_cache(tmp_path / "cache").stat().st_mtime_ns
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(UserError, match="data.cache_dir is '.*cache', where the cache .* Input/output error"):
        open_cached(pictures, tmp_path / "cache")
    assert the_cache(tmp_path / "cache").stat().st_mtime_ns == before


def test_a_full_disk_ends_in_one_sentence_before_anything_is_decoded(open_cached, pictures, tmp_path, monkeypatch):
    def full(descriptor, offset, size):
        assert size == 40 * 6 * 5 * 3
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(building, "decode_all", None)
    with pytest.raises(UserError, match=r"data.cache_dir is '.*cache', where 0 MB .* the [\d,]+ MB that are free"):
        open_cached(pictures, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_disk_that_fills_up_later_ends_in_the_same_sentence(open_cached, pictures, tmp_path, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(UserError, match="make room or name a folder on another disk"):
        open_cached(pictures, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_a_disk_that_cannot_reserve_space_is_written_to_all_the_same(open_cached, pictures, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert sum(map(len, open_cached(pictures, tmp_path / "cache").values())) == 40


def test_a_file_in_the_place_of_a_cache_is_left_alone(open_cached, pictures, tmp_path):
    open_cached(pictures, tmp_path / "cache")
    cache = the_cache(tmp_path / "cache")
    shutil.rmtree(cache)
    cache.write_text("mine")
    with pytest.raises(UserError, match="data.cache_dir is '.*cache', where the cache .* Not a directory"):
        open_cached(pictures, tmp_path / "cache")
    assert cache.read_text() == "mine"


def test_a_cache_folder_that_cannot_be_is_refused_by_name(open_cached, pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="data.cache_dir is '.*file', where nothing can be written"):
        open_cached(pictures, tmp_path / "file")

"""How files come to their place."""

import subprocess
import sys
from pathlib import Path

import pytest

from vae_jax.disk import cache_folder, folder_written_aside, locked, written_aside


def test_a_file_keeps_what_it_held_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for content in ("first", "second"):
        before = path.read_text() if path.exists() else None
        with written_aside(path) as aside:
            aside.write_text(content)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_could_not_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "file.txt").write_text("first")
    with pytest.raises(OSError), written_aside(tmp_path / "file.txt") as aside:
        aside.write_text("half")
        raise OSError
    assert (tmp_path / "file.txt").read_text() == "first"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_cache_folder_in_the_environment_it_is_the_one_in_the_home(monkeypatch, tmp_path, value):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", value) if value is not None else monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("data") == Path(tmp_path, ".cache", "vae_jax", "data")


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    script = f"import pathlib, vae_jax.disk as d; print(d.locked(pathlib.Path({str(tmp_path)!r})).__enter__())"

    def ask():
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()

    with locked(tmp_path) as alone:
        assert alone
        assert ask() == "False"
    assert ask() == "True"


def test_a_folder_takes_the_place_of_the_old_one_whole_or_not_at_all(tmp_path):
    path = tmp_path / "study"
    for content in ("first", "second"):
        with folder_written_aside(path) as aside:
            (aside / content).write_text(content)
    assert [file.name for file in path.iterdir()] == ["second"]
    with pytest.raises(ZeroDivisionError), folder_written_aside(path) as aside:
        (aside / "third").write_text("half")
        raise ZeroDivisionError
    assert [file.name for file in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]

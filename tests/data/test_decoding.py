"""What happens between processes: those that decode, and runs that want the same cache."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vae_jax.data import decoding
from vae_jax.data.fit import Fit
from vae_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SLOWLY = """
import json, sys, time
import numpy as np
from vae_jax.data import decoding, files
from vae_jax.data.cache import cached
from vae_jax.data.fit import Fit
from vae_jax.data.sources import folder
from ml_collections import ConfigDict

root, cache, seconds = sys.argv[1:]
load = files.PictureFiles.load
files.PictureFiles.load = lambda self, index: (time.sleep(float(seconds)), load(self, index))[1]
config = ConfigDict(dict(test_fraction=0.2, validation_fraction=0.2, seed=0, dir=root))
splits = cached(folder.open_splits(config), Fit("whole", (6, 5), 3), cache_dir=cache, max_broken=0)
print(json.dumps({name: split.columns["example_id"].tolist() for name, split in splits.items()}))
"""


def start(root, cache, *, seconds=0.0):
    return subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(root), str(cache), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def wait_for(found, what):
    deadline = time.monotonic() + 60
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} after a minute"
        time.sleep(0.01)
    return result


def part(cache):
    return [path for path in cache.glob("*.part/pixels") if path.stat().st_size]


def test_of_two_runs_at_once_one_builds_the_cache_and_the_other_waits_for_it(pictures, tmp_path):
    first = start(pictures, tmp_path / "cache", seconds=0.1)
    wait_for(lambda: part(tmp_path / "cache"), "cache being built")
    second = start(pictures, tmp_path / "cache")
    (out, told), (other_out, other_told) = first.communicate(), second.communicate()
    assert out == other_out != ""
    assert "decoding 40 pictures" in told and "decoding" not in other_told
    assert "another run is building the cache" in other_told


def test_after_a_kill_in_the_middle_the_next_run_builds_the_cache(pictures, open_cached, tmp_path):
    killed = start(pictures, tmp_path / "cache", seconds=0.1)
    wait_for(lambda: part(tmp_path / "cache"), "cache being built")
    killed.kill()
    killed.communicate()
    splits = open_cached(pictures, tmp_path / "cache")
    assert sum(map(len, splits.values())) == 40
    assert not list((tmp_path / "cache").glob("*.part"))


@pytest.fixture(scope="module")
def many(write_pictures, tmp_path_factory):
    """More pictures than are decoded without processes, so large that a chunk of them doesn't fit into a pipe."""
    return write_pictures(tmp_path_factory.mktemp("many"), decoding.FEW + 20, size=(16, 16))


@pytest.fixture(scope="module")
def decode(many, collections_of):
    """decode(processes): the chunks of `many`."""
    collections = list(collections_of(many).values())
    return lambda processes: decoding.decode_all(collections, Fit("center", (16, 12), 3), processes=processes)


def children(pid):
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def test_processes_decode_what_one_does_in_the_same_order(decode):
    ours, theirs = list(decode(0)), list(decode(3))
    assert [chunk.chunk for chunk in ours] == [chunk.chunk for chunk in theirs]
    for one, other in zip(ours, theirs, strict=True):
        for name in ("pixels", "places", "example_ids", "digests", "broken"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
    assert sum(len(chunk.pixels) for chunk in ours) == decoding.FEW + 20


def test_a_process_that_dies_is_told_with_the_pictures_it_was_at(decode):
    others = set(children(os.getpid()))  # of tests before this one
    chunks = decode(1)
    next(chunks)
    (worker,) = set(children(os.getpid())) - others
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(UserError, match=r"ended with code -9 .* at the pictures [ab]/\d+.png to [ab]/\d+.png"):
        list(chunks)
    assert set(children(os.getpid())) <= others


def test_the_processes_of_a_killed_run_end_with_it(many, tmp_path):
    run = start(many, tmp_path / "cache", seconds=0.1)
    workers = wait_for(lambda: children(run.pid), "processes")
    run.kill()
    run.communicate()
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "end of the processes")


def test_what_decodes_pictures_imports_no_jax():
    modules = ("cache", "decoding", "sources.celeba", "sources.folder", "sources.tfds")
    code = "import sys; " + "; ".join(f"import vae_jax.data.{module}" for module in modules)
    code += "; print(sorted({'jax', 'flax', 'tensorflow'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.stdout.strip() == "[]", found.stderr

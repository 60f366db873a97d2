"""Checkpoints: bitwise, the newest two and the best; a broken one is restored right or passed over aloud."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.checkpoint import Checkpoints
from vae_jax.errors import UserError


def tree(step):
    """Of every kind of leaf that a state has, different at every step."""
    rng = np.random.default_rng(step)
    return {
        "kernel": jnp.asarray(rng.standard_normal((3, 3, 1, 4)), jnp.float32),
        "half": jnp.asarray(rng.standard_normal(7), jnp.bfloat16),
        "nested": {"step": jnp.int32(step), "ok": jnp.bool_(True), "scalar": jnp.float32(1 / step)},
        "none": None,
    }


ABSTRACT = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree(1))


def assert_bitwise(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def save(folder, losses):
    """Saves tree(step) for every step of `losses`, a loss or None each."""
    with Checkpoints(folder, clean=True) as checkpoints:
        for step, loss in losses.items():
            checkpoints.save(step, tree(step), held_out_loss=loss)


def test_what_was_saved_comes_back_bitwise(tmp_path):
    save(tmp_path, {3: 1.0})
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(ABSTRACT, "newest")
    assert restored.step == 3
    assert_bitwise(restored.tree, tree(3))


def test_a_restored_state_has_the_shardings_asked_for(tmp_path):
    save(tmp_path, {3: None})
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[5])
    abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), ABSTRACT)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(abstract, "newest")
    assert {leaf.sharding for leaf in jax.tree.leaves(restored.tree)} == {sharding}


def test_the_newest_two_and_the_best_are_kept(tmp_path):
    save(tmp_path, {1: 3.0, 2: 1.0, 3: 2.0, 4: None, 5: 5.0, 6: float("nan")})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 5, 6]
        assert checkpoints.best() == (2, 1.0)
        for which, step in {"newest": 6, "best": 2, "5": 5}.items():
            restored = checkpoints.restore(ABSTRACT, which)
            assert restored.step == step
            assert_bitwise(restored.tree, tree(step))


@pytest.mark.parametrize("which", ["1", "07x", "-5", "last", ""])
def test_a_checkpoint_that_is_not_there_is_refused_with_those_that_are(tmp_path, which):
    save(tmp_path, {5: 1.0, 6: 2.0})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(UserError, match=r"newest, best or one of the steps 5, 6"):
        checkpoints.restore(ABSTRACT, which)


def test_best_needs_an_evaluation(tmp_path):
    save(tmp_path, {5: None})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best() is None
        with pytest.raises(UserError, match="take newest"):
            checkpoints.restore(ABSTRACT, "best")


def test_reading_a_run_without_checkpoints_leaves_nothing_behind(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        Checkpoints(tmp_path / "checkpoints")
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_saved_once(tmp_path):
    with Checkpoints(tmp_path, clean=True) as checkpoints:
        checkpoints.save(5, tree(5))
        checkpoints.save(5, tree(6))
    with Checkpoints(tmp_path) as checkpoints:
        assert_bitwise(checkpoints.restore(ABSTRACT, "newest").tree, tree(5))


def test_who_reads_a_run_leaves_a_save_under_way_alone(tmp_path):
    big = {"big": jnp.zeros(10_000_000)}
    with Checkpoints(tmp_path, clean=True) as writing:
        writing.save(1, big)
        writing.save(2, big)
        with Checkpoints(tmp_path) as reading:
            assert 1 in reading.steps()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1, 2]


def test_what_a_kill_left_of_a_save_is_cleaned_up_by_who_saves(tmp_path):
    save(tmp_path, {1: 1.0})
    left = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", left)
    (left / "commit_success.txt").unlink()
    with Checkpoints(tmp_path) as reading:
        assert reading.steps() == [1]
        assert left.exists()
    with Checkpoints(tmp_path, clean=True) as writing:
        assert writing.steps() == [1]
        writing.save(2, tree(2))
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert_bitwise(checkpoints.restore(ABSTRACT, "newest").tree, tree(2))
    assert not left.exists()


OTHER_MODELS = {
    "a wider layer": lambda tree: {**tree, "kernel": jnp.zeros((3, 3, 1, 5))},
    "a layer less": lambda tree: {name: leaf for name, leaf in tree.items() if name != "kernel"},
    "a layer more": lambda tree: {**tree, "bias": jnp.zeros(3)},
}


@pytest.mark.parametrize("other", OTHER_MODELS.values(), ids=OTHER_MODELS.keys())
def test_a_checkpoint_of_another_model_is_passed_over_and_named(tmp_path, other):
    said = []
    with Checkpoints(tmp_path, clean=True) as checkpoints:
        checkpoints.save(1, tree(1))
        checkpoints.save(2, other(tree(2)))
    with Checkpoints(tmp_path, say=said.append) as checkpoints:
        restored = checkpoints.restore(ABSTRACT, "newest")
    assert restored.step == 1
    assert_bitwise(restored.tree, tree(1))
    assert len(said) == 1
    assert said[0].startswith("checkpoint 2 can't be used: it is of another model (")


def test_where_no_checkpoint_is_of_this_model_the_user_is_told(tmp_path):
    said = []
    with Checkpoints(tmp_path, say=said.append, clean=True) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, OTHER_MODELS["a wider layer"](tree(step)))
        with pytest.raises(UserError, match="None of the checkpoints 2, 1 can be read"):
            checkpoints.restore(ABSTRACT, "newest")
    assert len(said) == 2


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)


HARMS = {
    "deleted": lambda path: path.unlink(),
    "emptied": empty,
    "cut": cut,
    "first byte": lambda path: flip(path, 0),
    "early byte": lambda path: flip(path, 0.3),
    "middle byte": lambda path: flip(path, 0.5),
    "late byte": lambda path: flip(path, 0.8),
    "last byte": lambda path: flip(path, 1),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound") / "checkpoints"
    save(folder, {1: 3.0, 2: 1.0})
    return folder


def files(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_the_files_of_a_checkpoint_are_those_harmed_below(sound):
    """Orbax names the files of the arrays at random, so they can't be parameters: each test harms all, one by one."""
    assert len(files(sound / "2")) >= 10


# Orbax leaves tasks and coroutines behind when it meets a broken file.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
def test_a_checkpoint_with_one_broken_file_is_restored_bitwise_or_passed_over_aloud(sound, tmp_path, harm):
    for file in files(sound / "2"):
        folder, said = tmp_path / "checkpoints", []
        shutil.copytree(sound, folder)
        harm(folder / "2" / file)
        with Checkpoints(folder, say=said.append, clean=True) as checkpoints:
            restored = checkpoints.restore(ABSTRACT, "newest")
            checkpoints.set_aside_after(restored.step)
            assert_bitwise(restored.tree, tree(restored.step))
            if restored.step == 1:
                assert [text for text in said if text.startswith("checkpoint 2 can't be used: ")], file
            else:
                assert (restored.step, said) == (2, []), file
            best = checkpoints.best()
            assert best in ((2, 1.0), (1, 3.0)), file
            # Training goes on from there, and its next save is what the run is then resumed from.
            checkpoints.save(restored.step + 1, tree(restored.step + 1), held_out_loss=0.5)
        with Checkpoints(folder, say=said.append) as checkpoints:
            again = checkpoints.restore(ABSTRACT, "newest")
            assert again.step == restored.step + 1, file
            assert_bitwise(again.tree, tree(again.step))
            assert checkpoints.best() == (again.step, 0.5), file
        shutil.rmtree(folder)


def test_a_changed_held_out_loss_picks_no_best(sound, tmp_path):
    folder, said = tmp_path / "checkpoints", []
    shutil.copytree(sound, folder)
    metrics = folder / "1" / "metrics" / "metrics"
    saved = json.loads(metrics.read_text())
    metrics.write_text(json.dumps({**saved, "held_out_loss": 0.0}))
    with Checkpoints(folder, say=said.append) as checkpoints:
        assert checkpoints.best() == (2, 1.0)
    assert said == ["checkpoint 1 can't be used: its metadata or metrics are broken; it is now 1.broken"]

"""Many runs in one program are the runs that they would be alone, each in a run folder of its own."""

import contextlib
import itertools
import json
import shutil

import jax
import numpy as np
import pytest

from vae_jax.config import default_config
from vae_jax.data.order import Orders
from vae_jax.data.pipeline import train_batches
from vae_jax.errors import DivergedError, UserError
from vae_jax.replicas import open_group, replica_values
from vae_jax.run import open_run
from vae_jax.train import train_together
from vae_jax.writer import read_metrics

SEEDS, KLS = (0, 3), (1.0, 4.0)


def config(*, net="mlp", axis="auto", steps=10, per_call=1):
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(16,))
    if net == "conv":
        config.model.encoder = dict(family="conv", channels=(4, 8), kernel=3, norm="batch")
    config.model.decoder = dict(family=net, mirror=True)
    config.model.update(latent=3, variance_kind="single")
    config.optimizer.update(learning_rate=1e-3, ema=0.99)
    config.train.update(batch_size=64, steps=steps, steps_per_call=per_call, log_every=per_call)
    config.train.update(eval_every=2 * per_call, checkpoint_every=2 * per_call, replica_axis=axis)
    config.eval.batch_size = 256
    config.mesh.devices = 1
    return config


def replicated(config):
    config.train.replicas.update(seed=SEEDS, kl=KLS)
    return config


def metrics(workdir):
    return [{k: v for k, v in line.items() if k != "images_per_second"} for line in read_metrics(workdir)]


def calls_of(run, order, delivery):
    return contextlib.closing(
        train_batches(
            run.splits["train"],
            order,
            mesh=run.mesh,
            steps_per_call=1,
            start_step=0,
            delivery=delivery,
            workers=0,
        )
    )


def losses_together(group, delivery):
    """The loss of each of ten steps of each replica."""
    states, losses = tuple(run.steps.init() for run in group.runs), []
    weights = tuple(run.steps.weights for run in group.runs)
    with calls_of(group.whole, Orders(tuple(run.order for run in group.runs)), delivery) as calls:
        for call in itertools.islice(calls, 10):
            states, reports = zip(*group.whole.steps.train_together(states, call, weights), strict=True)
            losses.append([float(report["window"]["loss"]) for report in reports])
    return np.transpose(losses)


def losses_alone(run):
    state, losses = run.steps.init(), []
    with calls_of(run, run.order, "device") as calls:
        for call in itertools.islice(calls, 10):
            state, report = run.steps.train(state, call, run.steps.weights)
            losses.append(float(report["window"]["loss"]))
    return losses


@pytest.mark.parametrize(
    ("net", "axis", "delivery"), [("mlp", "map", "host"), ("conv", "map", "device"), ("conv", "vmap", "device")]
)
def test_replicas_have_the_losses_of_separate_runs(tmp_path, net, axis, delivery):
    together = losses_together(open_group(tmp_path, "test", replicated(config(net=net, axis=axis))), delivery)
    for losses, seed, kl in zip(together, SEEDS, KLS, strict=True):
        alone = config(net=net)
        alone.seed, alone.objective.kl = seed, kl
        np.testing.assert_allclose(losses, losses_alone(open_run(tmp_path, "alone", alone)), rtol=1e-5)
    assert (np.abs(together[0] - together[1]) > 1e-4 * together[0]).all()


def test_replicas_share_their_compiled_functions_and_data(tmp_path):
    one, other = open_group(tmp_path, "test", replicated(config())).runs
    assert one.splits["train"] is other.splits["train"]
    assert one.steps.evaluate.func is other.steps.evaluate.func
    assert one.steps.init.func is other.steps.init.func
    assert one.steps.train is other.steps.train
    first, second = jax.device_get([one.steps.init(), other.steps.init()])
    assert (first.seed, second.seed) == SEEDS
    leaves = [jax.tree.leaves(state.variables.params) for state in (first, second)]
    assert any(not np.array_equal(*pair) for pair in zip(*leaves, strict=True))


def group_until(workdir, steps):
    group = open_group(workdir, "test", replicated(config(net="conv", steps=steps, per_call=4)))
    return group, train_together(group.runs)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return group_until(tmp_path_factory.mktemp("undisturbed"), 24)


@pytest.fixture(scope="module")
def at_16(tmp_path_factory):
    group, _ = group_until(tmp_path_factory.mktemp("stopped"), 16)
    return group.whole.workdir


@pytest.fixture
def stopped(at_16, tmp_path):
    """A folder of the group stopped at step 16, with its checkpoints of steps 8 and 16; and those of each replica."""
    workdir = shutil.copytree(at_16, tmp_path / "run")
    folders = [workdir / f"seed={seed},kl={kl}" / "checkpoints" for seed, kl in zip(SEEDS, KLS, strict=True)]
    assert all({"8", "16"} == {path.name for path in folder.iterdir()} for folder in folders)
    return workdir, folders


def spoil_checksums(checkpoint):
    path = checkpoint / "_CHECKPOINT_METADATA"
    metadata = json.loads(path.read_text())
    sums = metadata["custom_metadata"]["crc32"]
    path.write_text(json.dumps({**metadata, "custom_metadata": {"crc32": dict.fromkeys(sums, 0)}}))


def assert_finished(group, trained, undisturbed):
    for run, each, expected_run, expected in zip(group.runs, trained, undisturbed[0].runs, undisturbed[1], strict=True):
        assert each.finished
        leaves = [jax.tree.leaves(jax.device_get(one.state)) for one in (each, expected)]
        assert all(one.tobytes() == other.tobytes() for one, other in zip(*leaves, strict=True))
        assert metrics(run.workdir) == metrics(expected_run.workdir)


@pytest.mark.parametrize(
    ("harm", "step"),
    [
        (lambda folder: None, 16),
        (lambda folder: shutil.rmtree(folder / "16"), 8),
        (lambda folder: spoil_checksums(folder / "16"), 8),
    ],
    ids=["none", "one has no newest", "the newest of one is broken"],
)
def test_a_group_resumes_where_all_have_a_good_checkpoint(stopped, undisturbed, capsys, harm, step):
    workdir, folders = stopped
    harm(folders[1])
    finished = group_until(workdir, 24)
    assert f"training steps {step} to 24" in capsys.readouterr().err
    assert_finished(*finished, undisturbed)


def test_a_group_stopped_in_its_first_save_begins_again(stopped, undisturbed, capsys):
    workdir, (ours, theirs) = stopped
    shutil.rmtree(ours / "16")
    shutil.rmtree(theirs)
    finished = group_until(workdir, 24)
    assert "training steps 0 to 24" in capsys.readouterr().err
    assert_finished(*finished, undisturbed)


def test_a_group_of_which_one_lost_its_checkpoints_is_refused_and_left_alone(stopped):
    workdir, (ours, theirs) = stopped
    shutil.rmtree(theirs)
    with pytest.raises(UserError, match=r"no step of which all .*kl=1.0: 8, 16; .*kl=4.0: none\)"):
        group_until(workdir, 24)
    assert (ours / "8").exists() and (ours / "16").exists()


def test_a_group_without_a_step_in_common_is_refused_and_left_alone(stopped):
    workdir, (ours, theirs) = stopped
    shutil.rmtree(ours / "16")
    shutil.rmtree(theirs / "8")
    with pytest.raises(UserError, match=r"no step of which all .*kl=1.0: 8; .*kl=4.0: 16\)"):
        group_until(workdir, 24)
    assert (ours / "8").exists() and (theirs / "16").exists()


def test_a_replica_that_diverges_ends_the_training_by_its_name(tmp_path):
    options = config()
    options.train.replicas.kl = (1.0, 3e38)
    group = open_group(tmp_path, "test", options)
    with pytest.raises(DivergedError, match=r"^Training of test, kl=3e\+38 stopped: step 1 was not finite"):
        train_together(group.runs)


def test_values_are_zipped_and_named_in_the_order_of_the_fields():
    options = config()
    options.train.replicas.update(capacity=(0, 5), kl=(1, 2))
    assert replica_values(options) == {
        "kl=1.0,capacity=0.0": {"kl": 1.0, "capacity": 0.0},
        "kl=2.0,capacity=5.0": {"kl": 2.0, "capacity": 5.0},
    }
    assert replica_values(config()) == {}

"""A run that was stopped, or killed at any moment, and resumed is bitwise the run that was never disturbed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import vae_jax
from vae_jax import commands
from vae_jax.checkpoint import Checkpoints
from vae_jax.config import default_config, load_file
from vae_jax.data.content import read_all
from vae_jax.data.source import ArraySource
from vae_jax.errors import UserError
from vae_jax.run import check_same_run, open_run, write_config
from vae_jax.train import train
from vae_jax.writer import read_metrics

STEPS = 32
TIMINGS = {"images_per_second"}


def config(*, steps=STEPS, per_call=8, delivery="device", binarization="none"):
    """BatchNorm, averaged parameters and a learned variance: everything that a state can hold."""
    config = default_config()
    config.data.update(delivery=delivery, binarization=binarization)
    config.model.encoder = dict(family="conv", channels=(4, 8), kernel=3, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=3, variance_kind="single")
    if binarization != "none":
        config.model.likelihood = "bernoulli"
    config.objective.update(kl_warmup=40)
    config.optimizer.update(learning_rate=1e-2, ema=0.99, clip_norm=10.0, warmup_steps=5)
    config.train.update(
        batch_size=100, steps=steps, steps_per_call=per_call, log_every=8, eval_every=16, checkpoint_every=16
    )
    config.eval.update(batch_size=200)
    config.mesh.devices = 1
    return config


def run_until(workdir, steps, **options):
    """The state after training, or resuming, until `steps`."""
    trained = train(open_run(workdir, "test", config(steps=steps, **options)))
    assert trained.finished
    return trained.state


def assert_bitwise(state, expected):
    ours, theirs = (jax.tree_util.tree_leaves_with_path(jax.device_get(tree)) for tree in (state, expected))
    assert [path for path, _ in ours] == [path for path, _ in theirs]
    different = [
        jax.tree_util.keystr(path)
        for (path, one), (_, other) in zip(ours, theirs, strict=True)
        if one.dtype != other.dtype or one.tobytes() != other.tobytes()
    ]
    assert not different


def metrics_without_timings(workdir):
    return [{k: v for k, v in line.items() if k not in TIMINGS} for line in read_metrics(workdir)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The state and the metrics of STEPS steps in one go, eight steps a call."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    state = run_until(workdir, STEPS)
    return state, metrics_without_timings(workdir)


def test_the_state_compared_holds_all_that_must_come_back(undisturbed):
    state, metrics = undisturbed
    assert state.step == STEPS
    assert state.ema is not None
    assert jax.tree.leaves(state.variables.model_state)
    assert any(np.any(leaf) for leaf in jax.tree.leaves(state.opt_state))
    assert [(line["step"], line["split"]) for line in metrics] == [
        (8, "train"),
        (16, "train"),
        (16, "validation"),
        (24, "train"),
        (32, "train"),
        (32, "validation"),
    ]


@pytest.mark.parametrize("delivery", ["device", "host"])
@pytest.mark.parametrize("per_call", [1, 8])
def test_half_and_resume_equals_the_whole_bitwise(undisturbed, tmp_path, per_call, delivery):
    """Against eight steps a call from the device: so calls of 1 and 8, and both deliveries, are the same run too."""
    options = {"per_call": per_call, "delivery": delivery}
    run_until(tmp_path, STEPS // 2, **options)
    state = run_until(tmp_path, STEPS, **options)
    assert_bitwise(state, undisturbed[0])
    assert metrics_without_timings(tmp_path) == undisturbed[1]


def test_a_run_stopped_off_the_new_call_length_lands_on_its_steps_again(undisturbed, tmp_path):
    first = config(steps=11, per_call=1)
    first.train.update(log_every=8, eval_every=11, checkpoint_every=11)
    train(open_run(tmp_path, "test", first))
    assert_bitwise(run_until(tmp_path, STEPS, per_call=8), undisturbed[0])
    assert metrics_without_timings(tmp_path) == undisturbed[1], "the held-out line of step 11 was cut"


def test_a_run_without_its_checkpoints_or_with_fewer_steps_than_it_has_is_left_as_it_is(tmp_path):
    workdir = tmp_path / "run"

    def files():
        return {path.name: path.read_bytes() for path in workdir.glob("*.json*")}

    def refused(words, **options):
        with pytest.raises(UserError, match=words):
            commands.train(workdir, "test", config(**options), command="again")
        assert files() == before

    commands.train(workdir, "test", config(steps=16), command="first")
    before = files()
    refused("train.steps comes to 8, but .* is at step 16", steps=8)
    for file in (workdir / "checkpoints" / "16").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    for _ in range(2):
        refused("no checkpoint that can be read, only 16.broken", steps=16)
    shutil.rmtree(workdir / "checkpoints")
    refused("has the metrics.jsonl of a training but not its folder checkpoints", steps=16)


def test_the_same_epochs_in_calls_of_other_lengths_are_as_many_steps(tmp_path):
    def epoch(per_call):
        changed = config(per_call=per_call)
        changed.train.update(steps=None, epochs=1, log_every=None, eval_every=None, checkpoint_every=None)
        return changed

    commands.train(tmp_path, "test", epoch(8), command="first")
    reached = read_metrics(tmp_path)[-1]["step"]
    assert open_run(tmp_path, "test", epoch(1)).config.train.steps < reached
    commands.train(tmp_path, "test", epoch(1), command="again")
    assert read_metrics(tmp_path)[-1]["step"] == reached


def test_resume_is_exact_under_dynamic_binarization(tmp_path):
    whole = run_until(tmp_path / "whole", STEPS, binarization="dynamic", per_call=1)
    run_until(tmp_path / "halves", STEPS // 2, binarization="dynamic", per_call=8)
    state = run_until(tmp_path / "halves", STEPS, binarization="dynamic", per_call=8)
    assert_bitwise(state, whole)
    assert metrics_without_timings(tmp_path / "halves") == metrics_without_timings(tmp_path / "whole")


EXPERIMENT = """
from vae_jax.config import default_config

def get_config():
    config = default_config()
    config.data.delivery = "host"
    config.model.encoder = dict(family="conv", channels=(4,), kernel=3, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.latent = 2
    config.optimizer.update(learning_rate=1e-2, ema=0.99)
    config.train.update(
        batch_size=50, steps=240, steps_per_call=2, log_every=6, eval_every=60, checkpoint_every=4
    )
    config.mesh.devices = 1
    config.sample.count = 8
    return config
"""


def start(folder):
    """The command line on the experiment, in a process of its own."""
    config_file = folder.parent / "experiment.py"
    config_file.write_text(EXPERIMENT)
    log = open(folder.parent / f"{folder.name}.log", "a")  # noqa: SIM115 (the process writes on)
    with log:
        return subprocess.Popen(
            [sys.executable, "-m", "vae_jax.main", f"--config={config_file}", f"--workdir={folder}"],
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "XLA_FLAGS": ""},
        )


def wait_for(condition, process, *, seconds=120):
    """Waits until `condition` or the end of the process; True if the condition held."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if condition():
            return True
        time.sleep(0.001)
    return False


def kill_at_a_random_moment(folder, process, chance, *, in_a_save):
    """SIGKILL, some time after the first new step: while a checkpoint is being written if `in_a_save`."""
    before = len((folder / "metrics.jsonl").read_bytes()) if (folder / "metrics.jsonl").exists() else 0
    log = folder / "metrics.jsonl"
    wait_for(lambda: log.exists() and log.stat().st_size > before, process)
    time.sleep(chance.uniform(0, 0.4))
    if in_a_save:
        wait_for(lambda: any(folder.glob("checkpoints/*.orbax-checkpoint-tmp")), process)
        time.sleep(chance.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    process.wait()


def last_state(folder):
    """The newest checkpoint, restored."""
    run = open_run(folder, "test", load_file(str(folder.parent / "experiment.py")))
    with Checkpoints(run.checkpoints) as checkpoints:
        return checkpoints.restore(run.steps.abstract_state(), "newest").tree


def test_kills_at_random_moments_leave_no_trace(tmp_path):
    chance = random.Random(0)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    other = start(undisturbed)
    kills = []
    for in_a_save in (False, True, True):
        process = start(killed)
        kill_at_a_random_moment(killed, process, chance, in_a_save=in_a_save)
        kills.append(process.returncode)
    assert kills.count(-signal.SIGKILL) == 3, "the run ended before it could be killed: train longer"
    assert start(killed).wait(timeout=300) == 0
    assert other.wait(timeout=300) == 0
    assert "resuming at step" in (tmp_path / "killed.log").read_text()  # a kill before the first save resumes nothing
    state = last_state(killed)
    assert state.step == 240
    assert_bitwise(state, last_state(undisturbed))
    assert metrics_without_timings(killed) == metrics_without_timings(undisturbed)
    assert json.loads((killed / "studies/evaluation/meta.json").read_text()) == json.loads(
        (undisturbed / "studies/evaluation/meta.json").read_text()
    )


def test_as_many_examples_of_other_content_are_told_of(tmp_path, capfd, monkeypatch):
    write_config(open_run(tmp_path, "test", config()), "command")
    check_same_run(open_run(tmp_path, "test", config()))
    assert "other examples" not in capfd.readouterr().err
    changed = open_run(tmp_path, "test", config())
    changed.splits["train"] = ArraySource(1 - read_all(changed.splits["train"])["image"])
    check_same_run(changed)
    assert "the run began with other examples of the split train than there are now" in capfd.readouterr().err


def test_a_cosine_over_all_steps_resumes_over_these_and_refuses_others_by_name(tmp_path):
    def opened(steps):
        cosine = config(steps=steps)
        cosine.optimizer.schedule = "cosine"
        return open_run(tmp_path, "test", cosine)

    write_config(opened(STEPS), "command")
    trained = train(opened(STEPS))
    check_same_run(opened(STEPS))
    with pytest.raises(UserError, match="optimizer.decay_steps: 32 → 64"):
        check_same_run(opened(2 * STEPS))
    loaded = vae_jax.load(tmp_path)
    assert_bitwise(loaded.variables, trained.state.ema)

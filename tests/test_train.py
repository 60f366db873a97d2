"""Training: what it writes, how it ends when it diverges or is told to stop, and that evaluation misses no example."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags

from vae_jax import main, recording
from vae_jax.checkpoint import Checkpoints
from vae_jax.config import default_config
from vae_jax.data.order import Order
from vae_jax.errors import DivergedError
from vae_jax.evaluation.evaluate import evaluate
from vae_jax.run import open_run, write_config
from vae_jax.train import train
from vae_jax.writer import read_metrics


def config(**train):
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(4,), kernel=3)
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.latent = 2
    config.optimizer.learning_rate = 1e-2
    config.train.update(
        {"batch_size": 64, "steps": 24, "steps_per_call": 4, "log_every": 4, "eval_every": 12, "checkpoint_every": 8}
    )
    config.train.update(train)
    config.eval.batch_size = 64
    config.mesh.devices = 1
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = open_run(tmp_path_factory.mktemp("trained"), "test", config())
    write_config(run, "test")
    return run, train(run)


def test_metrics_tell_of_training_and_of_the_held_out_split(trained):
    run, _ = trained
    lines = read_metrics(run.workdir)
    assert [line["step"] for line in lines if line["split"] == "train"] == [4, 8, 12, 16, 20, 24]
    assert [line["step"] for line in lines if line["split"] == "validation"] == [12, 24]
    for line in lines:
        assert {"loss", "elbo", "kl", "reconstruction"} <= line.keys()
        assert line["elbo"] == pytest.approx(-line["reconstruction"] - line["kl"], rel=1e-5)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert any("images_per_second" in line for line in lines)


def test_the_newest_and_the_best_checkpoint_are_there(trained):
    run, result = trained
    assert result.finished
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.steps()[-1] == 24
        step, loss = checkpoints.best()
        restored = checkpoints.restore(run.steps.abstract_state(), "newest").tree
    held_out = {line["step"]: line["loss"] for line in read_metrics(run.workdir) if line["split"] == "validation"}
    assert (step, loss) == min(held_out.items(), key=lambda item: item[1])
    for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(result.state), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_is_left_as_it_is(trained):
    run, result = trained
    before = (run.workdir / "metrics.jsonl").read_bytes()
    again = train(run)
    assert again.finished
    assert int(again.state.step) == 24
    assert (run.workdir / "metrics.jsonl").read_bytes() == before


def test_an_evaluation_takes_every_example_once_whatever_the_batch_size(trained, tmp_path):
    _, result = trained
    figures = {}
    for batch_size in (64, 100, 7, 1000):
        options = config()
        options.eval.update(batch_size=batch_size, importance_samples=3)
        run = open_run(tmp_path / str(batch_size), "test", options)
        meta = evaluate(run, result.state, split="test", checkpoint="newest")
        assert meta["examples"] == len(run.splits["test"]) == 359
        assert {figure["examples"] for figure in meta["figures"].values()} == {359}
        figures[batch_size] = {name: figure["mean"] for name, figure in meta["figures"].items()}
    for batch_size, means in figures.items():
        assert means == pytest.approx(figures[64], rel=1e-5), batch_size


class Spoilt:
    """A source whose examples at `places` have a pixel that is not a number."""

    def __init__(self, source, places):
        self.features, self.columns = source.features, source.columns
        self._source, self._places = source, places

    def __len__(self):
        return len(self._source)

    def read(self, indices):
        read = self._source.read(indices)
        image = read["image"].copy()
        image[np.isin(indices, self._places), 3, 3] = np.nan
        return {**read, "image": image}


@pytest.mark.parametrize(("per_call", "delivery"), [(1, "host"), (4, "device")])
def test_a_nan_ends_training_with_its_step_and_what_was_kept(tmp_path, per_call, delivery):
    """The spoilt example is one of the batch of step 19, which no batch before it holds."""
    options = config(steps_per_call=per_call)
    options.data.delivery = delivery
    run = open_run(tmp_path, "test", options)
    order = Order(len(run.splits["train"]), 64, 0)
    run.splits["train"] = Spoilt(run.splits["train"], order.batch(18).indices[:1])
    with pytest.raises(DivergedError) as ended:
        train(run)
    said = str(ended.value)
    assert "\n" not in said
    assert "step 19 was not finite" in said
    lines = [line for line in read_metrics(tmp_path) if line["split"] == "train"]
    assert lines[-1]["step"] == 16
    assert "Means up to step 18: loss " in said
    assert "nan" not in said.split("Means up to")[1].split("Last good")[0]
    assert f"Last good checkpoint: {tmp_path / 'checkpoints' / '16'}" in said
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.steps()[-1] == 16
        restored = checkpoints.restore(run.steps.abstract_state(), "newest")
    assert restored.step == restored.tree.step == 16
    assert bool(restored.tree.ok)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restored.tree))


def test_a_step_too_long_is_not_saved_though_its_loss_was_finite(tmp_path):
    """One step of an infinite learning rate: loss and gradient are finite, the parameters after it are not."""
    options = config(steps_per_call=1, checkpoint_every=1, log_every=1)
    options.optimizer.update(name="sgd", learning_rate=3e38)
    run = open_run(tmp_path, "test", options)
    with pytest.raises(DivergedError, match="step 1 was not finite.*there is none"):
        train(run)
    assert not any(path.name.isdecimal() for path in run.checkpoints.iterdir())


def test_a_run_that_diverged_resumes_from_its_last_good_checkpoint(tmp_path):
    options = config()
    run = open_run(tmp_path, "test", options)
    sound = run.splits["train"]
    run.splits["train"] = Spoilt(sound, np.arange(0))
    train(open_run(tmp_path, "test", config(steps=12)))
    run.splits["train"] = Spoilt(sound, np.arange(len(sound)))
    with pytest.raises(DivergedError, match="step 13 was not finite"):
        train(run)
    run.splits["train"] = sound
    assert int(train(run).state.step) == 24
    assert [line["step"] for line in read_metrics(tmp_path) if line["split"] == "train"] == [4, 8, 12, 16, 20, 24]


EXPERIMENT = """
from vae_jax.config import default_config

def get_config():
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(16,))
    config.model.latent = 2
    config.train.update(batch_size=64, steps=STEPS, steps_per_call=1, log_every=20, eval_every=20)
    config.train.checkpoint_every = STEPS
    config.eval.batch_size = 64
    config.mesh.devices = 1
    return config
"""


def write_experiment(folder, steps, *lines):
    path = folder / "experiment.py"
    body = EXPERIMENT.replace("STEPS", str(steps))
    path.write_text(body.replace("    return", "".join(f"    {line}\n" for line in lines) + "    return"))
    return path


def test_divergence_through_the_command_line_is_one_sentence_and_exit_code_1(tmp_path, monkeypatch, capfd):
    path = write_experiment(tmp_path, 100, "config.optimizer.update(name='sgd', learning_rate=1e30)")
    monkeypatch.setattr(sys, "argv", ["main.py", f"--config={path}", f"--workdir={tmp_path}/run"])
    flags.FLAGS.unparse_flags()
    with pytest.raises(SystemExit) as ended:
        main.main()
    flags.FLAGS.unparse_flags()
    said = capfd.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("Training of experiment stopped: step ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_saves_and_the_same_command_resumes(tmp_path, number):
    path, workdir = write_experiment(tmp_path, 100_000), tmp_path / "run"
    command = [sys.executable, "-m", "vae_jax.main", f"--config={path}", f"--workdir={workdir}"]
    options = {"cwd": Path(__file__).parents[1], "env": {**os.environ, "XLA_FLAGS": ""}, "text": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    deadline = time.monotonic() + 120
    while len(read_metrics(workdir)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    step = int(out.split("Stopped at step ")[1].split(",")[0])
    assert "The same command resumes it:" in out
    assert f"--workdir={workdir}" in out
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == step
    if number == signal.SIGTERM:  # once is enough
        total = math.ceil(step / 20) * 20 + 20
        more = [f"--config.train.steps={total}", f"--config.train.checkpoint_every={total}"]
        found = subprocess.run(command + more, capture_output=True, **options)
        assert found.returncode == 0, found.stderr
        assert f"resuming at step {step}" in found.stderr
        steps = [line["step"] for line in read_metrics(workdir) if line["split"] == "train"]
        assert steps == list(range(20, total + 1, 20))
        assert json.loads((workdir / "studies/evaluation/meta.json").read_text())["step"] == total


@pytest.mark.parametrize("moment", ["before the first step", "during an evaluation"])
def test_a_signal_at_any_moment_is_followed_by_a_save(tmp_path, monkeypatch, moment):
    """Step 12 is an evaluation step and no checkpoint step, and its evaluation is made not to be the best."""
    run = open_run(tmp_path, "test", config(checkpoint_every=24, eval_every=4))
    original, calls = recording.held_out_means, []

    def stop(*args):
        calls.append(args)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return {**original(*args), "loss": float(len(calls))}

    if moment == "before the first step":
        module = sys.modules["vae_jax.train"]
        first_states = module._first_states
        monkeypatch.setattr(
            module, "_first_states", lambda *args: (os.kill(os.getpid(), signal.SIGTERM), first_states(*args))[1]
        )
    else:
        monkeypatch.setattr(recording, "held_out_means", stop)
    result = train(run)
    assert not result.finished
    step = 0 if moment == "before the first step" else 12
    assert int(result.state.step) == step
    with Checkpoints(run.checkpoints) as checkpoints:
        assert checkpoints.steps()[-1] == step
    monkeypatch.undo()
    assert train(run).finished

"""Several real processes make the run that one process makes, stop together, and go on in any number."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from probe import probe
from processes import ROOT, Processes, free_port

from vae_jax.checkpoint import Checkpoints
from vae_jax.config import load_file
from vae_jax.run import open_run
from vae_jax.train import train
from vae_jax.writer import read_metrics

EXPERIMENT = """
from vae_jax.config import default_config

def get_config():
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(16,))
    config.model.latent = 3
    config.optimizer.update(name="sgd", learning_rate=1e-4, ema=0.9)
    config.train.update(batch_size=64, steps=40, steps_per_call=4, log_every=4, eval_every=20, checkpoint_every=20)
    config.sample.count = 8
    return config
"""
FIGURES = ("elbo", "mse", "psnr", "ssim", "kl")


def command(folder, *, steps=40):
    path = folder.parent / "experiment.py"
    path.write_text(EXPERIMENT)
    return ["-m", "vae_jax.main", f"--config={path}", f"--workdir={folder}", f"--config.train.steps={steps}"]


def wait_for_metrics(folder, processes, lines):
    deadline = time.monotonic() + 120
    while len(read_metrics(folder)) < lines and time.monotonic() < deadline:
        assert [process.poll() for process in processes.each] == [None] * len(processes.each), processes.log(0)
        time.sleep(0.01)


def figures(folder):
    found = json.loads((folder / "studies" / "evaluation" / "meta.json").read_text())["figures"]
    return {name: found[name]["mean"] for name in FIGURES}


def names(expected, *kinds):
    return [name for name in expected if name.split(":")[0] in kinds]


@pytest.fixture(scope="module")
def alone():
    """What one process of one device sees and computes."""
    return probe(devices=1)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What each of two processes does."""
    return probed(2, tmp_path_factory.mktemp("two"))


def probed(count, folder):
    processes = Processes(count, str(ROOT / "tests" / "probe.py"), str(folder), logs=folder / "logs")
    assert processes.wait(seconds=300) == [0] * count, processes.log(count - 1)
    return [dict(np.load(folder / f"{number}.npz")) for number in range(count)]


def assert_the_same_run(together, alone):
    rows = [found["rows"].tolist() for found in together]
    assert sorted(sum(rows, [])) == list(range(64)), "each row of a batch is read by one process"
    for found in together:
        for name in names(alone, "batch"):
            assert found[name].tobytes() == alone[name][:, found["rows"]].tobytes(), name
        for name in names(alone, "noise", "prior"):
            assert found[name].tobytes() == alone[name].tobytes(), name
        np.testing.assert_allclose(found["adam: losses"], alone["adam: losses"], rtol=1e-5)
        for name in names(alone, "sgd"):
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-5, atol=1e-6, err_msg=name)
        for name in names(alone, "held out"):
            np.testing.assert_allclose(found[name], alone[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_two_processes_have_the_batches_noise_and_losses_of_one(together, alone):
    assert_the_same_run(together, alone)


@pytest.mark.long
def test_four_processes_have_the_batches_noise_and_losses_of_one(alone, tmp_path):
    assert_the_same_run(probed(4, tmp_path), alone)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run of two processes, the second of which got Slurm's warning; its folder and the processes."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    processes = Processes(2, *command(folder, steps=400_000), logs=folder.parent / "logs")
    wait_for_metrics(folder, processes, 3)
    processes.each[1].send_signal(signal.SIGUSR1)
    return folder, processes, processes.wait(seconds=120)


def test_a_signal_to_one_stops_all_at_the_same_step(stopped):
    folder, processes, codes = stopped
    assert codes == [os.EX_TEMPFAIL] * 2, processes.log(0) + processes.log(1)
    steps = [processes.log(number).split("Stopped at step ")[1].split(",")[0] for number in (0, 1)]
    assert steps[0] == steps[1]
    with Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == int(steps[0])


def test_only_the_first_process_writes_and_tells(stopped):
    folder, processes, _ = stopped
    assert "training steps 0 to" in processes.log(0)
    assert "training steps" not in processes.log(1)
    assert len(list((folder / "tensorboard").iterdir())) == 1
    steps = [line["step"] for line in read_metrics(folder) if line["split"] == "train"]
    assert steps == sorted(set(steps))


def test_a_process_that_waits_for_the_others_ends_at_a_signal(tmp_path):
    place = ["--multihost", f"--coordinator=127.0.0.1:{free_port()}", "--processes=2", "--process_id=1"]
    waiting = subprocess.Popen([sys.executable, *command(tmp_path / "run"), *place], stderr=subprocess.PIPE, text=True)
    assert "for all 2 processes at 127.0.0.1" in waiting.stderr.readline()
    time.sleep(2)  # until it waits in the runtime
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=10)
    assert waiting.returncode == -signal.SIGINT


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two processes, all 40 steps of it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    processes = Processes(2, *command(folder), logs=folder.parent / "logs")
    assert processes.wait(seconds=300) == [0, 0], processes.log(0) + processes.log(1)
    return folder


def opened(folder, **changes):
    config = load_file(str(folder.parent / "experiment.py"))
    for field, value in changes.items():
        group, _, name = field.partition("_")
        config[group][name] = value
    return open_run(folder, "test", config)


def test_the_report_of_two_processes_has_the_figures_of_one(finished, tmp_path, monkeypatch):
    from vae_jax import commands

    folder = tmp_path / "run"
    command(folder)
    config = load_file(str(tmp_path / "experiment.py"))
    config.mesh.devices = 1
    commands.train(folder, "test", config, command="command")
    for name, mean in figures(folder).items():
        np.testing.assert_allclose(figures(finished)[name], mean, rtol=1e-5, atol=1e-5, err_msg=name)
    assert (finished / "report" / "index.html").exists()


@pytest.mark.parametrize("devices", [1, 8])
def test_what_two_processes_saved_goes_on_on_one_and_eight_devices(finished, devices):
    run = opened(finished, mesh_devices=devices)
    with Checkpoints(run.checkpoints) as checkpoints:
        restored = checkpoints.restore(run.steps.abstract_state(), "newest")
    assert restored.step == 40
    assert len(jax.tree.leaves(restored.tree.variables.params)[0].devices()) == devices


def test_what_one_process_saved_goes_on_on_two(tmp_path):
    folder = tmp_path / "run"
    command(folder)
    saved = train(opened(folder, mesh_devices=1, train_steps=20))
    processes = Processes(2, *command(folder), logs=tmp_path / "logs")
    assert processes.wait(seconds=300) == [0, 0], processes.log(0) + processes.log(1)
    assert "resuming at step 20" in processes.log(0)
    assert saved.finished


@pytest.mark.long
def test_what_two_processes_saved_goes_on_on_four(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    processes = Processes(4, *command(folder, steps=60), logs=tmp_path / "logs")
    assert processes.wait(seconds=300) == [0] * 4, "".join(map(processes.log, range(4)))
    assert "resuming at step 40" in processes.log(0)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == 60


@pytest.mark.long
def test_a_mistake_of_one_process_is_its_exit_code_and_the_other_ends(tmp_path):
    processes = Processes(2, *command(tmp_path / "run"), own={1: ["--config=no/such.py"]}, logs=tmp_path / "logs")
    codes = processes.wait(seconds=180)  # 70 of them after the mistake
    assert codes[1] == 2, processes.log(1)
    assert codes[0] not in (0, 1, 2), "the launcher is to start it again, unless the other's code ends all"
    assert "process 1 of 2: --config is 'no/such.py'" in processes.log(1)
    assert processes.names_lost(1, says=0), processes.log(0)

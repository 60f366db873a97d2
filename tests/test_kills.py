"""Of two processes one is killed at a random moment, again and again: no trace is left, and the other never hangs."""

import os
import random
import time

import pytest
from processes import Processes
from test_multihost import EXPERIMENT, opened
from test_resume import assert_bitwise

from vae_jax.checkpoint import Checkpoints
from vae_jax.writer import read_metrics

pytestmark = pytest.mark.long

KILLS, SEQUENCES = int(os.environ.get("KILLS", 50)), 4  # the sequences are independent, for pytest -n 4
HANG = 60  # seconds in which a process must end after the other was killed
FOREVER = 10**6  # steps


def start(folder, steps):
    path = folder.parent / "experiment.py"
    path.write_text(EXPERIMENT)
    options = [f"--config.train.steps={steps}", "--config.optimizer.name=adam", "--config.train.checkpoint_every=4"]
    arguments = ["-m", "vae_jax.main", f"--config={path}", f"--workdir={folder}", *options]
    return Processes(2, *arguments, logs=folder.parent / f"{folder.name}.logs")


def kill_one(folder, chance):
    """Starts both, kills one some time after the first new step, and checks how the other ends."""
    before, processes = len(read_metrics(folder)), start(folder, FOREVER)
    while len(read_metrics(folder)) <= before:
        assert [process.poll() for process in processes.each] == [None, None], processes.log(0) + processes.log(1)
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.5))
    killed = chance.randrange(2)
    processes.each[killed].kill()
    codes = processes.wait(seconds=HANG)
    assert codes[1 - killed] not in (0, 1, 2), "the launcher is to start it again"
    assert processes.names_lost(killed, says=1 - killed), processes.log(1 - killed)


def finish(folder, steps):
    assert start(folder, steps).wait(seconds=300) == [0, 0]
    run = opened(folder, mesh_devices=1, optimizer_name="adam")
    with Checkpoints(run.checkpoints) as checkpoints:
        return checkpoints.restore(run.steps.abstract_state(), "newest")


@pytest.mark.parametrize("sequence", range(SEQUENCES))
def test_kills_of_one_process_leave_no_trace(tmp_path, sequence):
    chance, folder = random.Random(sequence), tmp_path / "killed"
    for _ in range(-(-KILLS // SEQUENCES)):
        kill_one(folder, chance)
    steps = -(-read_metrics(folder)[-1]["step"] // 100) * 100 + 100
    ours, undisturbed = finish(folder, steps), finish(tmp_path / "undisturbed", steps)
    assert ours.step == undisturbed.step == steps
    assert_bitwise(ours.tree, undisturbed.tree)

"""launch/slurm.sbatch under a real Slurm of two nodes: a preempted run ends as it should."""

import json
import os
import sys

import pytest
from processes import ROOT
from slurm import Slurm

from vae_jax.checkpoint import Checkpoints
from vae_jax.writer import read_metrics

pytestmark = pytest.mark.slurm

STEPS = 2000
ARGUMENTS = [
    f"--config={ROOT / 'configs' / 'digits.py'}",
    f"--config.train.steps={STEPS}",
    "--config.train.log_every=8",
    "--config.eval.importance_samples=0",
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with Slurm(tmp_path_factory.mktemp("slurm")) as slurm:
        slurm.environment |= {"PYTHON": sys.executable, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        yield slurm


def submit(slurm, *options):
    """Submits the batch file with these options and arguments; the number of the job."""
    output = slurm.folder / "job-%j.log"
    job = slurm.run("sbatch", "--parsable", f"--output={output}", *options)
    assert job, "sbatch failed"
    return job


def state(slurm, job):
    return slurm.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")


def wait_for_progress(slurm, folder, log, *, starts):
    """Until the job has begun to train for the time `starts`, and has got a few steps further."""
    slurm.wait_until(lambda: log.exists() and log.read_text().count("training steps") == starts, seconds=180)
    before = len(read_metrics(folder))
    slurm.wait_until(lambda: len(read_metrics(folder)) > before + 2, seconds=180)


def test_a_run_on_two_nodes_survives_a_preemption_and_a_warning(slurm, tmp_path):
    folder = tmp_path / "run"
    options = ["--nodes=2", "--ntasks-per-node=1", str(ROOT / "launch" / "slurm.sbatch")]
    job = submit(slurm, *options, *ARGUMENTS, f"--workdir={folder}")
    log = slurm.folder / f"job-{job}.log"
    wait_for_progress(slurm, folder, log, starts=1)
    slurm.run("scontrol", "requeue", job)
    wait_for_progress(slurm, folder, log, starts=2)
    slurm.run("scancel", "--signal=USR1", job)
    slurm.wait_until(lambda: state(slurm, job) == "COMPLETED", seconds=400)
    said = log.read_text()
    assert said.count("Stopped at step") >= 2, said
    assert said.count("resuming at step") == 2, said
    assert "exit code 75: queued again" in said
    with Checkpoints(folder / "checkpoints") as checkpoints:
        assert checkpoints.steps()[-1] == STEPS
    meta = json.loads((folder / "studies" / "evaluation" / "meta.json").read_text())
    assert meta["step"] == STEPS
    assert len(meta["devices"]) == 2, "one run on both nodes"
    assert (folder / "report" / "index.html").exists()


def test_a_mistake_is_not_queued_again(slurm, tmp_path):
    options = ["--nodes=2", "--ntasks-per-node=1", str(ROOT / "launch" / "slurm.sbatch")]
    job = submit(slurm, *options, *ARGUMENTS, f"--workdir={tmp_path}/run", "--config.model.latent=-1")
    slurm.wait_until(lambda: state(slurm, job) == "FAILED", seconds=120)
    said = (slurm.folder / f"job-{job}.log").read_text()
    assert "model.latent is -1" in said
    assert "queued again" not in said


def test_a_sweep_is_an_array_and_a_page(slurm, tmp_path):
    folder = tmp_path / "sweep"
    command = [
        *(sys.executable, str(ROOT / "launch" / "sweep.py"), *ARGUMENTS, f"--workdir={folder}"),
        *("--grid", "model.latent=2,4", f"--slurm=--output={slurm.folder}/sweep-%a.log", "--config.train.steps=40"),
    ]
    assert slurm.run(*command)
    page = folder / "report" / "index.html"
    slurm.wait_until(page.exists, seconds=300)
    assert "model.latent=4" in page.read_text()
    assert os.path.exists(folder / "model.latent=2" / "report" / "index.html")

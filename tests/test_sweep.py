"""launch/sweep.py: each run of the grid, one page, and a mistake told before anything starts."""

import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest
from absl import flags
from processes import ROOT

from vae_jax.checkpoint import Checkpoints
from vae_jax.writer import read_metrics

SWEEP, DIGITS = ROOT / "launch" / "sweep.py", ROOT / "configs" / "digits.py"
SHORT = {"train.steps": 8, "eval.importance_samples": 0, "sample.count": 8, "eval.batch_size": 64}


def command(folder, *arguments, **changes):
    overrides = [f"--config.{name}={value}" for name, value in {**SHORT, **changes}.items()]
    return [sys.executable, str(SWEEP), f"--config={DIGITS}", f"--workdir={folder}", *arguments, *overrides]


def test_a_sweep_trains_each_of_its_grid_and_compares_them(tmp_path):
    folder = tmp_path / "sweep"
    grid = ["--grid=model.encoder.channels=(4,),(4,8)", "--grid=model.latent=2", "--jobs=2"]
    done = subprocess.run(command(folder, *grid), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (folder / "report" / "index.html").read_text()
    for channels in ("(4,)", "(4,8)"):
        name = f"model.encoder.channels={channels},model.latent=2"
        assert name in page
        assert (folder / name / "report" / "index.html").exists()


def test_a_sweep_that_is_told_to_stop_stops_its_runs_which_save(tmp_path):
    folder = tmp_path / "sweep"
    arguments = command(folder, "--grid=model.latent=2,4", **{"train.steps": 800_000})
    sweep = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first, second = (folder / f"model.latent={size}" for size in (2, 4))
    deadline = time.monotonic() + 120
    while not read_metrics(first) and sweep.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    sweep.send_signal(signal.SIGTERM)
    _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == os.EX_TEMPFAIL, said
    assert said == "Stopped; what was under way is saved. The same command goes on.\n"
    with Checkpoints(first / "checkpoints") as checkpoints:
        assert checkpoints.steps()
    assert not second.exists(), "which has not begun"


@pytest.fixture
def mistake(monkeypatch, capfd, tmp_path):
    """Runs the command line in this process, and returns the one sentence in which it ends; nothing is written."""
    spec = importlib.util.spec_from_file_location("sweep", SWEEP)
    sweep = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sweep)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", command(tmp_path / "sweep", *arguments)[1:])
        with pytest.raises(SystemExit) as ended:
            sweep.main()
        said = capfd.readouterr()
        assert (ended.value.code, said.out) == (2, ""), said.err
        assert said.err.count("\n") == 1, said.err
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        return said.err

    yield run
    flags.FLAGS.unparse_flags()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid=model.latnet=4,8"], ["model.latnet", "did you mean model.latent"]),
        (["--grid=model.latent=4,-8"], ["model.latent is -8"]),
        (["--grid=model.latent=four"], ["model.latent is 'four'"]),
        (["--grid=model.latent"], ["--grid is 'model.latent'", "FIELD=VALUE,VALUE"]),
        (["--grid=model.latent="], ["--grid is 'model.latent='", "FIELD=VALUE,VALUE"]),
        (["--grid=model.latent=4,,8"], ["--grid is 'model.latent=4,,8'", "FIELD=VALUE,VALUE"]),
        (["--grid=model.latent=4,4"], ["--grid is 'model.latent=4,4'", "once"]),
        (["--grid=model.latent=4", "--grid=model.latent=8"], ["--grid is 'model.latent=8'", "once"]),
        (["--grid=data.dir=/a,/b"], ["--grid is 'data.dir=/a,/b'", "no '/'"]),
        (["--grid=model.latent=4", "--jobs=0"], ["--jobs is 0", "1 or more"]),
        (["--grid=model.latent=4", "--jbos=2"], ["jbos"]),
        (["--grid=model.latent=4", "--workdir=/proc/none"], ["--workdir is '/proc/none'", "nothing can be written"]),
        (["--grid=model.latent=4", "--slurm="], ["--slurm is ''", "no sbatch"]),
        (["--grid=model.latent=4", "--compare"], ["holds none of the 1 runs"]),
    ],
)
def test_a_mistake_in_a_sweep_ends_it_before_anything_starts(mistake, monkeypatch, arguments, words):
    monkeypatch.setenv("PATH", "")
    said = mistake(*arguments)
    assert [word for word in words if word not in said] == [], said


def test_a_sweep_does_not_write_into_the_folder_of_a_run(mistake, tmp_path, monkeypatch):
    (tmp_path / "sweep" / "config.json").mkdir(parents=True)
    assert "which holds a run" in mistake("--grid=model.latent=4")

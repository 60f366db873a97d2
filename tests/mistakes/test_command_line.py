"""A wrong flag, or a command that is not for one run, ends in one sentence before compilation."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--confg=3"], ["confg", "config"]),
        (["--mode=evaluate"], ["mode", "evaluate", "train|eval|sample|study|report"]),
        (["--split=all"], ["split", "all", "test"]),
        (["configs/digits.py"], ["'configs/digits.py'", "--name=value"]),
        ([], ["--config", "--workdir"]),
        (["--mode=eval"], ["--config", "--workdir"]),
        (["--workdir=x", "--study=variation"], ["--study", "--mode=study", "'train'"]),
        (["--mode=sample", "--workdir=x", "--input=face.jpg"], ["--input", "--mode=study", "'sample'"]),
        (["--workdir=x", "--checkpoint=best"], ["--checkpoint", "--mode=eval", "--mode=export"]),
    ],
)
def test_a_wrong_flag(mistake, arguments, words):
    said = mistake(*arguments)
    assert [word for word in words if word not in said] == [], said


def test_an_argument_that_the_config_does_not_take(mistake, digits):
    assert "digits.py takes none" in mistake(f"--config={digits}:idx")
    assert "no argument after its colon" in mistake(f"--config={digits}:")


@pytest.mark.parametrize("mode", ["train", "eval", "sample", "study", "report"])
def test_a_folder_without_a_run(mistake, tmp_path, mode):
    (tmp_path / "empty").mkdir()
    assert "empty" in mistake(f"--mode={mode}", "--workdir=empty")
    assert "absent" in mistake(f"--mode={mode}", "--workdir=absent")


@pytest.mark.parametrize("mode", ["eval", "sample"])
def test_a_config_given_for_a_folder_without_a_run(mistake, mode, digits):
    assert "absent" in mistake(f"--mode={mode}", "--workdir=absent", f"--config={digits}")


def test_a_mistake_in_a_process_of_its_own(tmp_path, digits):
    """As a user runs it, without what `mistake` patches."""
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "vae_jax.main",
            f"--config={digits}",
            "--config.model.latnet=3",
            f"--workdir={tmp_path}/x",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == "There is no config field model.latnet; did you mean model.latent?\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "arguments", "words"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, [], ["4 or more processes", "--multihost"]),
        ({"JOB_COMPLETION_INDEX": "1"}, [], ["2 or more processes", "--multihost"]),
        (
            {"TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_NUM_SLICES": "2"},
            [],
            ["4 or more processes", "--multihost"],
        ),
        ({}, ["--processes=2"], ["--processes is 2", "--multihost"]),
        ({}, ["--coordinator=a:1"], ["--coordinator is 'a:1'", "--multihost"]),
        ({}, ["--multihost", "--processes=0"], ["--processes=0", "positive"]),
        ({}, ["--multihost", "--process_id=-1"], ["--process_id=-1", "non-negative"]),
        ({}, ["--multihost", "--processes=2", "--process_id=2"], ["--process_id is 2", "from 0 to 1"]),
        ({}, ["--multihost", "--coordinator=node0"], ["--coordinator is 'node0'", "HOST:PORT"]),
        ({}, ["--multihost", "--coordinator=node0:99999"], ["--coordinator is 'node0:99999'", "HOST:PORT"]),
        ({}, ["--multihost", "--mode=report"], ["--mode is 'report'", "train, eval, sample"]),
    ],
)
def test_processes_that_would_not_be_one_run(mistake, monkeypatch, environment, arguments, words, digits):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = mistake(f"--config={digits}", *arguments)
    assert [word for word in words if word not in said] == [], said


def test_processes_that_cannot_find_each_other(tmp_path, digits):
    """In a process of its own: jax was asked for its devices here."""
    command = [sys.executable, "-m", "vae_jax.main", f"--config={digits}", "--multihost"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 2, found.stderr
    assert found.stderr.count("\n") == 1, found.stderr
    assert "don't find each other" in found.stderr and "--coordinator" in found.stderr

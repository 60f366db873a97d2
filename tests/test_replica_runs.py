"""The folder of a group, and the runs in it, by every command that takes a run."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from absl import flags

import vae_jax
from vae_jax import main
from vae_jax.errors import UserError
from vae_jax.writer import read_metrics

EXPERIMENT = """
from vae_jax.config import default_config

def get_config():
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(16,))
    config.model.latent = 2
    config.train.update(batch_size=64, steps=8, steps_per_call=4, log_every=4, eval_every=4)
    config.mesh.devices = 1
    config.sample.count = 8
    return config
"""


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
    flags.FLAGS.unparse_flags()
    main.main()
    flags.FLAGS.unparse_flags()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    (folder / "experiment.py").write_text(EXPERIMENT)
    with pytest.MonkeyPatch.context() as monkeypatch:
        run_main(
            monkeypatch,
            f"--config={folder}/experiment.py",
            f"--workdir={folder}/run",
            "--config.train.replicas.kl=(1, 2)",
            "--config.train.replicas.seed=(5, 5)",
        )
    return folder / "run"


NAMES = ("seed=5,kl=1.0", "seed=5,kl=2.0")


def test_a_replica_is_an_ordinary_run(workdir, monkeypatch, capsys, tmp_path):
    images = np.zeros((2, 8, 8, 1), np.float32)
    means = [vae_jax.load(workdir / name, checkpoint="best").encode(images).mean for name in NAMES]
    assert not np.allclose(*means)
    saved = json.loads((workdir / NAMES[1] / "config.json").read_text())["config"]
    assert (saved["seed"], saved["objective"]["kl"]) == (5, 2.0)
    assert set(map(tuple, saved["train"]["replicas"].values())) == {()}
    alone = tmp_path / "alone"
    shutil.copytree(workdir / NAMES[1], alone)
    run_main(monkeypatch, "--mode=eval", f"--workdir={alone}", "--checkpoint=best", "--split=validation")
    assert "experiment, seed=5,kl=2.0, step 8, validation split" in capsys.readouterr().out
    run_main(monkeypatch, f"--workdir={alone}", "--config.train.steps=12")
    assert "resuming at step 8" in capsys.readouterr().err
    assert [line["step"] for line in read_metrics(alone) if line["split"] == "train"] == [4, 8, 12]


def test_a_group_is_no_run_to_load(workdir):
    with pytest.raises(UserError, match=f"name one of them, as '{workdir / NAMES[0]}'"):
        vae_jax.load(workdir)


def test_the_group_evaluates_all_of_its_replicas(workdir, monkeypatch, capsys):
    run_main(monkeypatch, "--mode=eval", f"--workdir={workdir}")
    said = capsys.readouterr().out
    assert all(f"experiment, {name}, step 8, test split" in said for name in NAMES)
    assert f"Report: {workdir}/report/index.html" in said


def test_a_study_of_the_group_is_made_of_each_of_its_replicas(workdir, monkeypatch, tmp_path):
    folder = shutil.copytree(workdir, tmp_path / "run")
    run_main(monkeypatch, "--mode=study", "--study=traverse", f"--workdir={folder}")
    assert {path.parts[-4] for path in folder.glob("*/studies/traverse/meta.json")} == set(NAMES)


def test_the_page_of_a_group_has_a_row_for_each_replica_with_its_figures(workdir):
    html = (workdir / "report" / "index.html").read_text()
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", html, re.DOTALL)
    assert len(rows) == 2
    for name, row in zip(NAMES, rows, strict=True):
        (link,) = re.findall(r'href="(.*?)"', row)
        assert link == f"../{name.replace('=', '%3D').replace(',', '%2C')}/report/index.html"
        assert (workdir / name / "report" / "index.html").exists()
        meta = json.loads((workdir / name / "studies" / "evaluation" / "meta.json").read_text())
        assert f"{meta['active_units']} of 2" in row
        assert row.count("±") == 4, "ELBO, reconstruction, KL, squared error"
    assert html.count("<img") == 4 + 2, "four curves, and the samples of each"
    assert not re.search(r"https?:|<script", re.sub(r"base64,[\w+/=]+", "", html))


def test_a_group_is_refused_in_the_folder_of_another(workdir, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, f"--workdir={workdir}", "--config.train.replicas.kl=(1, 3)")
    assert ended.value.code == 2
    assert "train.replicas.kl: [1, 2] → [1, 3]" in capsys.readouterr().err

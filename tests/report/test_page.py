import json
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from vae_jax.errors import UserError
from vae_jax.report.page import write_report

CONFIG = {
    "seed": 0,
    "data": {"source": "digits", "dir": "", "image_size": [8, 8], "binarization": "none", "cache_dir": ""},
    "model": {
        "encoder": {"family": "conv", "channels": [32, 64], "kernel": 3, "stride": 2, "activation": "relu"},
        "decoder": {"family": "conv", "mirror": True},
        "latent": 8,
        "posterior": "normal",
        "likelihood": "gaussian",
        "variance": 0.05,
        "scale": None,
    },
    "objective": {"kl": 1.0, "kl_warmup": 200, "free_bits": 0.0, "capacity": 0.0},
    "optimizer": {"name": "adam", "learning_rate": 0.001},
    "train": {"batch_size": 64, "steps": 1000, "epochs": None, "steps_per_call": 50},
    "eval": {"importance_samples": 500},
    "dtype": "float32",
}
RUN = {
    "name": "digits",
    "config": CONFIG,
    "versions": {"python": "3.11.2", "jax": "0.10.2", "flax": "0.12.8", "vae_jax": "0.1.0"},
    "git": "abc123",
    "command": "python -m vae_jax.main --config=configs/digits.py",
    "data": {"train": 1294, "validation": 143, "test": 360},
}
FIGURES = {
    "elbo": {"mean": -20.137, "stderr": 0.3124, "label": "ELBO", "unit": "nats"},
    "loss": {"mean": 20.137, "stderr": 0.3124, "label": "Loss", "unit": "nats"},
    "reconstruction": {"mean": 9.4211, "stderr": 0.2811, "label": "Reconstruction, −log p(x|z)", "unit": "nats"},
    "kl": {"mean": 10.716, "stderr": 0.0921, "label": "KL from the prior", "unit": "nats"},
    "nll": {"mean": 18.52, "stderr": 0.2977, "label": "−log p(x), 500 importance samples", "unit": "nats"},
    "mse": {"mean": 0.0123412, "stderr": 0.00031234, "label": "Mean squared error", "unit": ""},
    "psnr": {"mean": 19.42, "stderr": 0.112, "label": "PSNR", "unit": "dB"},
    "ssim": {"mean": 0.9214, "stderr": 0.0021, "label": "SSIM", "unit": ""},
}
EVALUATION = {
    "split": "test",
    "examples": 360,
    "step": 1000,
    "checkpoint": "newest",
    "seed": 0,
    "headline": ["elbo", "nll", "mse"],
    "figures": FIGURES,
    "active_units": 7,
    "latent": 8,
    "notes": [
        "The Gaussian likelihood is a density of the pixels as they are, so the ELBO bounds log p(x) of the data."
    ],
}


def save_study(workdir, name, meta, **arrays):
    folder = workdir / "studies" / name
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    np.savez(folder / "arrays.npz", **arrays)


def save_metrics(workdir):
    noise = np.random.default_rng(0)
    with open(workdir / "metrics.jsonl", "w") as file:
        for step in range(10, 1001, 10):
            splits = ("train", "validation") if step % 100 == 0 else ("train",)
            for split in splits:
                kl = 10.7 * (1 - np.exp(-step / 150)) + noise.normal() * 0.1
                reconstruction = 8 + 80 * np.exp(-step / 60) + noise.normal() * 0.4 + (split == "validation")
                values = {"loss": kl + reconstruction, "reconstruction": reconstruction, "kl": kl}
                values |= {"elbo": -kl - reconstruction, "learning_rate": 1e-3, "images_per_second": 5e4}
                file.write(json.dumps({"step": step, "split": split, **values}) + "\n")


def save_run(workdir, run=RUN):
    """A run folder as training leaves it, with real digits and PCA in the place of the model."""
    workdir.mkdir(parents=True)
    (workdir / "config.json").write_text(json.dumps(run))
    save_metrics(workdir)
    digits = load_digits().data / 16
    pca = PCA(8, whiten=True, random_state=0).fit(digits)
    rebuilt = pca.inverse_transform(pca.transform(digits[-32:])).clip(0, 1)
    drawn = pca.inverse_transform(np.random.default_rng(0).normal(size=(64, 8))).clip(0, 1)
    save_study(
        workdir,
        "evaluation",
        EVALUATION,
        kl_per_dimension=np.array([1.1, 2.4, 0.004, 1.9, 1.5, 0.9, 2.1, 0.8]),
        originals=digits[-32:].reshape(-1, 8, 8, 1),
        reconstructions=rebuilt.reshape(-1, 8, 8, 1),
    )
    save_study(workdir, "sample", {"count": 64, "seed": 0, "step": 1000}, samples=drawn.reshape(-1, 8, 8, 1))
    return workdir


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    path = write_report(save_run(tmp_path_factory.mktemp("runs") / "digits"))
    assert path.parts[-2:] == ("report", "index.html") and len(list(path.parent.iterdir())) == 1
    return path.read_text(encoding="utf-8")


def headings(html):
    return re.findall(r"<h2>(.*?)</h2>", html)


def commands(html):
    return [re.sub("<.*?>", "", code) for code in re.findall(r"<code>(.*?)</code>", html)]


def test_the_page_tells_the_run_in_order(html):
    chapters = ["What went in", "Training", "How well it comes back", "What the latent space looks like"]
    assert headings(html) == [*chapters, "What can be made from it", "All figures", "What the numbers are"]
    parts = ["How it was made", "Reconstructions", "Use of the latent dimensions", "Samples"]
    assert re.findall(r"<h3>(.*?)</h3>", html) == parts
    assert "<h1>digits</h1>" in html
    assert RUN["command"] in commands(html)
    assert "1,294 train, 143 validation, 360 test" in html
    assert "7 of 8 dimensions are active" in html


def test_the_page_is_headed_by_the_runs_folder_and_its_configs_name(tmp_path):
    assert "<h1>more_kl (digits)</h1>" in write_report(save_run(tmp_path / "more_kl")).read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_no_script(html):
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[\w+/=]+", "", html))
    assert "<script" not in html
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert len(sources) >= 7 and all(source.startswith("data:") for source in sources)


def test_every_picture_has_a_text_in_its_place(html):
    pictures = re.findall(r"<img[^>]*>", html)
    assert len(pictures) == 7
    assert all(re.search(r'alt="[^"]{20,}"', picture) for picture in pictures)


def test_the_headline_says_what_the_numbers_are_on(html):
    assert re.search(r"on the 360 examples of the test split\s+after 1,000 training steps", html)
    head = html[: html.index("</header>")]
    assert re.findall(r'class="value">(.*?)<', head) == ["−20.14", "18.52", "0.01234"]
    assert re.findall(r'class="error">(.*?)<', head) == ["± 0.31 nats", "± 0.30 nats", "± 0.00031 "]


def test_the_table_holds_every_figure(html):
    table = html[html.index('<table class="numbers">') :]
    assert all(f'<th scope="row">{figure["label"]}</th>' in table for figure in FIGURES.values())


def test_tags_in_names_and_configs_are_escaped(tmp_path):
    evil = "<script>alert('x')</script>"
    config = CONFIG | {"data": CONFIG["data"] | {"source": evil, "dir": evil}}
    workdir = save_run(tmp_path / "run", RUN | {"name": evil, "config": config, "command": evil})
    html = write_report(workdir).read_text(encoding="utf-8")
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 5


def test_what_is_missing_names_the_command_that_makes_it(tmp_path):
    workdir = tmp_path / "a run"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(RUN | {"git": None}))
    html = write_report(workdir).read_text(encoding="utf-8")
    assert headings(html) == ["What went in", "Training", "What can be made from it", "What the numbers are"]
    for mode in ("eval", "sample"):
        assert f"python -m vae_jax.main --mode={mode} --workdir=&#39;{workdir}&#39;" in commands(html)
    assert commands(html).count(RUN["command"]) == 2  # how it was made, and how it will train
    assert "git commit" not in html


def test_vectors_have_no_pictures_and_a_report_all_the_same(tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(RUN))
    save_study(workdir, "evaluation", EVALUATION, kl_per_dimension=np.ones(300))
    save_study(workdir, "sample", {"count": 4, "seed": 0, "step": 10}, samples=np.zeros((4, 30)))
    html = write_report(workdir).read_text(encoding="utf-8")
    assert "<h3>Reconstructions</h3>" not in html and "<h3>Samples</h3>" not in html
    assert "All figures" in headings(html)


def test_the_same_run_gives_the_same_page(tmp_path):
    workdir = save_run(tmp_path / "run")
    assert write_report(workdir).read_bytes() == write_report(workdir).read_bytes()


def test_a_folder_that_is_no_run_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.json\.$"):
        write_report(tmp_path)

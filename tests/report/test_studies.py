"""The report shows each study in its chapter, in the order that tells the story."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from vae_jax.report import story
from vae_jax.report.embedding import picture_uri
from vae_jax.report.page import write_report


def save_study(workdir, name, chapter, title, *, figures=1):
    folder = workdir / "studies" / name
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((60, 60, 3), np.uint8)).save(folder / "picture.png")
    figure = {"mean": 1.234, "stderr": 0.01, "examples": 9, "label": f"Figure of {name}", "unit": "nats"}
    meta = {
        "study": name,
        "title": title,
        "chapter": chapter,
        "command": f"python -m vae_jax.main --mode=study --study={name}",
        "inputs": [],
        "notes": [f"A note of <{name}>."],
        "figures": {f"x{i}": figure for i in range(figures)},
        "pictures": [{"file": "picture.png", "alt": f"What {name} shows, in words."}],
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def test_studies_stand_in_their_chapters_in_order(tmp_path):
    run = {
        "name": "x",
        "config": {"train": {"steps": 1}, "data": {}, "model": {}},
        "versions": {},
        "git": None,
        "data": {"train": 1},
    }
    (tmp_path / "config.json").write_text(json.dumps(run | {"command": "python"}))
    save_study(tmp_path, "bias", story.FAILS, "Bias")
    save_study(tmp_path, "variation", story.MADE_FROM_IT, "Variation", figures=90)
    save_study(tmp_path, "cycle", story.COMES_BACK, "Cycle")
    save_study(tmp_path, "reconstruct", story.COMES_BACK, "Reconstruct")
    save_study(tmp_path, "a_new_one", story.COMES_BACK, "New")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    found = re.findall(r"<h[23]>(.*?)</h[23]>", html)
    chapters = [found.index(chapter) for chapter in story.CHAPTERS if chapter in found]
    assert chapters == sorted(chapters)
    expected = [story.COMES_BACK, "Reconstruct", "Cycle", "New"]
    assert found[found.index(story.COMES_BACK) :][: len(expected)] == expected
    assert found[found.index(story.FAILS) :][:2] == [story.FAILS, "Bias"]
    assert "A note of &lt;bias&gt;." in html and "Figure of cycle" in html
    assert html.count("data:image/png;base64,") == 5
    assert "What variation shows, in words." in html
    assert re.findall(r"<summary>(All .*?)</summary>", html) == ["All 90 figures"], "few figures are not folded away"


def test_a_photograph_is_embedded_light_and_a_plot_as_it_is():
    noise = np.random.default_rng(0).normal(0, 12, (300, 300, 3))
    photo = np.clip(np.linspace(40, 200, 300)[:, None, None] + noise, 0, 255).astype(np.uint8)
    plot = np.full((300, 300, 3), 255, np.uint8)
    plot[100:102], plot[:, 50] = 0, 90
    for pixels, kind, least in ((photo, "image/webp", 25), (plot, "image/png", 70)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        found = picture_uri(file.getvalue())
        assert found.startswith(f"data:{kind};base64,")
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.split(",")[1]))).convert("RGB"))
        error = np.square(shown.astype(float) - pixels).mean()
        assert 10 * np.log10(255**2 / max(error, 1e-3)) > least, "dB"

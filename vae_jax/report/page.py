"""One static HTML page that tells a run: what it was, how it trained, and what the evaluation found."""

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from vae_jax.disk import written_aside
from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.report import figures, story
from vae_jax.report.data_text import facts, tables
from vae_jax.report.embedding import picture_uri, uri
from vae_jax.report.studies import read_studies
from vae_jax.report.text import config_rows, number, plus_minus, run_title
from vae_jax.writer import read_metrics

COLUMNS = 8
SHOWN = 64  # pictures of a grid at most; a page of large photographs would be heavy with more
SMALL = 64  # pixels of a side below which pictures were enlarged and must stay sharp
DATA_PICTURES = {
    "examples": "The first training examples, as a training step takes them.",
    "mean": "The mean of all training examples, and the standard deviation of their pixels.",
    "attributes": "Bar chart of the share of the training examples that have each attribute.",
}
CURVES = {
    "loss": ("Loss (lower is better)", "per example"),
    "elbo": ("ELBO (higher is better)", "nats per example"),
    "bernoulli_bound": ("Bound for binarised draws (higher is better)", "nats per example"),
    "reconstruction": ("Reconstruction (lower is better)", "per example"),
    "kl": ("KL from the prior", "nats per example"),
    "accuracy": ("Accuracy (higher is better)", "share told right"),
    "perceptual": ("Perceptual distance (lower is better)", "squared features"),
}


def write_report(workdir: Path) -> Path:
    """Writes workdir/report/index.html, which needs no other file and no network, and returns its path.

    What the run folder doesn't hold yet is left out with one sentence that names the command that makes it.
    """
    workdir = Path(workdir)
    if not (workdir / "config.json").exists():
        raise UserError(f"{workdir} is not a run folder: it has no config.json.")
    run = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
    html = render(
        "template.html",
        run=run,
        run_title=run_title(workdir, run["name"]),
        config_rows=config_rows(_as_used(run["config"])),
        whole_config=json.dumps(run["config"], indent=2, ensure_ascii=False),
        curves=curve_pictures(_by_split(read_metrics(workdir))),
        data=_data(workdir / "studies" / "data"),
        evaluation=_evaluation(workdir / "studies" / "evaluation"),
        samples=read_samples(workdir / "studies" / "sample"),
        story=story,
        chapters=read_studies(workdir / "studies"),
        commands={mode: _command(mode, workdir) for mode in ("eval", "sample")},
    )
    return write_page(workdir, html)


def render(template: str, **values) -> str:
    """The page of a template of this package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, plus_minus=plus_minus)
    return environment.get_template(template).render(**values)


def write_page(workdir: Path, html: str) -> Path:
    """Writes workdir/report/index.html, and returns its path."""
    path = workdir / "report" / "index.html"
    with written_aside(path) as aside:
        aside.write_text(html, encoding="utf-8")
    return path


def _as_used(config):
    """The config without the epochs where a number of steps stands instead of them, nor a corruption of no kind."""
    unused = {"epochs"} if config["train"]["steps"] else {"steps"}
    config = _as_classifier(config) if config["model"].get("target") else config
    data = {name: value for name, value in config["data"].items() if name != "corrupt" or value["kind"] != "none"}
    return {**config, "data": data, "train": {name: v for name, v in config["train"].items() if name not in unused}}


def _as_classifier(config):
    """The config without what only a VAE has."""
    model = {name: config["model"][name] for name in ("encoder", "target")}
    return {**config, "model": model, "objective": {}}


def _by_split(records):
    """The records of each split, in the order of their first."""
    return {split: [r for r in records if r["split"] == split] for split in dict.fromkeys(r["split"] for r in records)}


def curve_pictures(series: Mapping[str, Sequence[Mapping]]) -> list[dict]:
    """A picture of each quantity of CURVES in the records of `series`, with one curve for each of these."""
    pictures = []
    for name, (title, unit) in CURVES.items():
        points = {}
        for label, records in series.items():
            steps = [record["step"] for record in records if name in record]
            if steps:
                points[label] = (steps, [record[name] for record in records if name in record])
        if points:
            last = ", ".join(f"{label} {number(values[-1])}" for label, (_, values) in points.items())
            alt = f"{title} over the training steps; last values: {last}."
            pictures.append({"src": _svg_uri(figures.curves(title, unit, points)), "alt": alt})
    return pictures


def read_meta(folder: Path) -> dict | None:
    """What meta.json of a study says; None where the study has not been made."""
    path = folder / "meta.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _data(folder):
    """What the summary of the data says, with its pictures; None if there is none."""
    meta = read_meta(folder)
    if meta is None:
        return None
    pictures = {alt: folder / f"{name}.png" for name, alt in DATA_PICTURES.items()}
    return {
        "facts": facts(meta),
        "tables": tables(meta),
        "pictures": [
            {"src": picture_uri(path.read_bytes()), "alt": alt} for alt, path in pictures.items() if path.exists()
        ],
    }


def _evaluation(folder):
    """meta.json of the evaluation, with its pictures; None if there was none."""
    meta = read_meta(folder)
    if meta is None:
        return None
    with np.load(folder / "arrays.npz") as arrays:
        meta["kl_bars"] = meta["pairs"] = None
        meta["corrupted"] = "seen" in arrays
        if "kl_per_dimension" in arrays:
            meta["kl_bars"] = _svg_uri(figures.kl_bars(arrays["kl_per_dimension"]))
        if "originals" in arrays and grids.showable(arrays["originals"].shape[1:]):
            names = [name for name in ("originals", "seen", "reconstructions") if name in arrays]
            pictures = {name: arrays[name][: SHOWN // 2] for name in names}
            meta["pairs"] = _png(grids.comparison(**pictures, columns=COLUMNS), pictures["originals"])
    return meta


def read_samples(folder: Path, *, shown: int = SHOWN) -> dict | None:
    """meta.json of the samples, with a picture of the first (None for vectors); None if none were drawn."""
    meta = read_meta(folder)
    if meta is None:
        return None
    with np.load(folder / "arrays.npz") as arrays:
        samples = arrays["samples"][:shown]
    meta["shown"] = len(samples)
    meta["picture"] = _png(grids.grid(samples, COLUMNS), samples) if grids.showable(samples.shape[1:]) else None
    return meta


def _command(mode, workdir):
    return f"python -m vae_jax.main --mode={mode} --workdir={shlex.quote(str(workdir))}"


def _png(array, images):
    """A grid, uint8 [h,w,3], for an <img>; `images` [N,H,W,C] are what it shows."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, format="PNG", optimize=True)
    return {
        "src": picture_uri(file.getvalue()),
        "width": array.shape[1],
        "height": array.shape[0],
        "enlarged": min(images.shape[1:3]) < SMALL,
    }


def _svg_uri(svg):
    return uri("image/svg+xml", svg.encode())

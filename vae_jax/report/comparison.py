"""One static HTML page that compares runs: a row each, their curves in one figure, their samples."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from vae_jax.report import page
from vae_jax.writer import read_metrics

SHOWN = 8  # samples of each run, one row
COMPARED = (
    "elbo",
    "bernoulli_bound",
    "nll",
    "importance_bound",
    "reconstruction",
    "kl",
    "mse",
)  # of these, those that all have


def write_comparison(workdir: Path, runs: Mapping[str, Mapping], *, name: str, in_one_program: bool = True) -> Path:
    """Writes workdir/report/index.html, and returns its path; `runs` holds by name what differs in each.

    The name of a run is that of its run folder in `workdir`; what one doesn't hold yet is left out. `name` is that of
    all together.
    """
    rows = [_row(workdir, name) for name in runs]
    evaluations = [row["evaluation"] for row in rows if row["evaluation"]]
    html = page.render(
        "comparison.html",
        title=name,
        in_one_program=in_one_program,
        fields=list(next(iter(runs.values()))),
        rows=rows,
        measured=evaluations[0] if evaluations else None,
        labels=_labels(evaluations),
        curves=page.curve_pictures(_held_out(workdir, runs)),
        pictures=_pictures(workdir, runs),
    )
    return page.write_page(workdir, html)


def _row(workdir: Path, name: str) -> dict:
    link = os.path.relpath(workdir / name / "report" / "index.html", workdir / "report")
    return {
        "name": name,
        "link": quote(link),
        "evaluation": page.read_meta(workdir / name / "studies" / "evaluation"),
    }


def _labels(evaluations: Sequence[Mapping]) -> dict[str, str]:
    """The label of each figure to compare."""
    names = [name for name in COMPARED if evaluations and all(name in each["figures"] for each in evaluations)]
    return {name: evaluations[0]["figures"][name]["label"] for name in names}


def _held_out(workdir: Path, runs: Mapping) -> dict[str, list[dict]]:
    """The held-out records of each run."""
    return {
        name: [record for record in read_metrics(workdir / name) if record["split"] == "validation"] for name in runs
    }


def _pictures(workdir: Path, runs: Mapping) -> dict[str, dict]:
    """The first samples of each run that has drawn some."""
    samples = {name: page.read_samples(workdir / name / "studies" / "sample", shown=SHOWN) for name in runs}
    return {name: meta["picture"] for name, meta in samples.items() if meta and meta["picture"]}

"""The plots of a data set that are no pictures of it: attributes as bars, vectors as scatter plots; PNG files."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from vae_jax.data.source import Source
from vae_jax.disk import written_aside
from vae_jax.report.figures import BLUE, STYLE

AXES = 4  # of a vector's entries are shown at most, each against each
DPI = 120


def save_attribute_bars(path: Path, shares: Mapping[str, float], *, title: str) -> None:
    """The share of the examples that have each attribute, as horizontal bars in the order given."""
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "x"}):
        figure = Figure(figsize=(7, 1.2 + 0.24 * len(shares)), layout="constrained")
        axes = figure.add_subplot()
        places = range(len(shares))
        axes.barh(places, list(shares.values()), color=BLUE, height=0.7)
        axes.bar_label(axes.containers[0], [f"{share:.1%}" for share in shares.values()], padding=3, fontsize=9)
        axes.set_yticks(places, list(shares), fontsize=9)
        axes.set(title=title, xlim=(0, 1.05), ylim=(len(shares) - 0.5, -0.5), xlabel="share that have the attribute")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params(axis="y", length=0)
        with written_aside(path) as aside:
            figure.savefig(aside, format="png", dpi=DPI)


def save_scatter(path: Path, source: Source, count: int, *, title: str) -> None:
    """The first entries of evenly spaced vectors of `source`, each against each, in the colours of their labels."""
    indices = np.linspace(0, len(source) - 1, min(count, len(source))).astype(np.int64)
    vectors = source.read(indices)["image"][:, :AXES]  # [n, D]
    labels = source.columns["label"][indices] if "label" in source.columns else np.zeros(len(indices), np.int32)
    colours = matplotlib.colormaps["tab10"](labels % 10)
    dimensions = vectors.shape[1]
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(2.6 * dimensions, 2.6 * dimensions), layout="constrained")
        coloured = ", coloured by label" if "label" in source.columns else ""
        figure.suptitle(f"{title}: {len(indices):,} of {len(source):,}{coloured}", fontweight="bold", fontsize=12)
        grid = figure.subplots(dimensions, dimensions, squeeze=False, sharex="col")
        for row, column in np.ndindex(dimensions, dimensions):
            axes = grid[row, column]
            if row == column:
                axes.hist(vectors[:, row], bins=40, color=BLUE)
                axes.set_ylabel("count")
            else:
                axes.scatter(vectors[:, column], vectors[:, row], s=4, c=colours, linewidths=0)
                axes.set_ylabel(f"entry {row}")
            if row == dimensions - 1:
                axes.set_xlabel(f"entry {column}")
        with written_aside(path) as aside:
            figure.savefig(aside, format="png", dpi=DPI)

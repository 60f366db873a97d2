"""The plots of a report, as SVG text; each is drawn on a Figure of its own, without pyplot."""

import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

# Okabe and Ito's colours, told apart with any colour vision; the markers tell the splits apart without colour.
BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5f6368"
SPLITS = {"train": (BLUE, ""), "validation": (VERMILLION, "o"), "test": (GREEN, "s")}
OTHERS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of curves that are no splits
MARKERS = "os^Dv<>P"
STYLE = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#202124",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e3e5e8",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.hashsalt": "vae_jax",
}
WARM_UP = 0.05  # the part of the run whose large first losses don't set the scale of a curve
NAMED = 20  # more bars than these go without the numbers of their dimensions


def curves(title: str, unit: str, points: Mapping[str, tuple[Sequence[int], Sequence[float]]]) -> str:
    """One quantity over training steps as SVG: `points` holds (steps, values) of each split, or of each run."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5, 3.1 + 0.2 * len(points)), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, (steps, values)) in enumerate(points.items()):
            other = OTHERS[number % len(OTHERS)], MARKERS[number % len(MARKERS)]
            color, marker = SPLITS.get(name, other)
            axes.plot(steps, values, color=color, marker=marker, markersize=4, linewidth=1.6, label=name)
        axes.set(title=title, xlabel="step", ylabel=unit, ylim=_limits(points))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        figure.legend(loc="outside lower center")  # where it hides no curve, however long the names
        return _svg(figure)


def kl_bars(kl_per_dimension: np.ndarray) -> str:
    """KL of each latent dimension [Z] in nats, the largest first, as SVG; up to NAMED bars carry their number."""
    order = np.argsort(-kl_per_dimension, kind="stable")
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.3), layout="constrained")
        axes = figure.add_subplot()
        ranks = np.arange(1, len(order) + 1)
        few = len(order) <= NAMED
        axes.bar(ranks, kl_per_dimension[order], color=BLUE, width=0.7 if few else 1.0, edgecolor=BLUE, linewidth=0.4)
        axes.set(ylabel="nats per example", xlabel="latent dimension" if few else "rank of the latent dimension")
        axes.margins(x=0.02)
        if few:
            axes.set_xticks(ranks, [str(i) for i in order])
        axes.tick_params(axis="x", length=0 if few else 3)
        return _svg(figure)


def _limits(points):
    """(low, high) that show every curve's values but those of the first WARM_UP of the steps."""
    last = max(max(steps) for steps, _ in points.values())
    settled = [
        v for steps, values in points.values() for s, v in zip(steps, values, strict=True) if s >= WARM_UP * last
    ]
    low, high = min(settled), max(settled)
    margin = 0.06 * (high - low) or 0.5
    return low - margin, high + margin


def _svg(figure):
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()

"""Plots as pictures, to stand beside grids of them."""

import contextlib
from collections.abc import Iterator

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vae_jax.report.figures import STYLE

DPI = 100
# Paul Tol's "muted" colours and black, told apart with any colour vision.
CLASSES = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499"),
    "#000000",
)
HEAT = "viridis"  # for any colour vision, and in grey


class Plot:
    """A figure of one row of axes that becomes `pixels` uint8 [h, w, 3] when it is drawn."""

    def __init__(self, width: float, height: float):
        self.figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
        self.pixels: np.ndarray | None = None


@contextlib.contextmanager
def plotted(*, width: float, height: float, columns: int = 1, **options) -> Iterator[tuple[Plot, list[Axes]]]:
    """A plot of `columns` axes, `width` × `height` in hundreds of pixels, to draw on; it has its pixels afterwards."""
    with matplotlib.rc_context(STYLE):
        plot = Plot(width, height)
        axes = plot.figure.subplots(1, columns, squeeze=False, **options)[0]
        yield plot, list(axes)
        canvas = FigureCanvasAgg(plot.figure)
        canvas.draw()
        plot.pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()


def heat_map(values: np.ndarray, *, highest: float) -> np.ndarray:
    """Values [B, H, W] from 0 to `highest` as colours [B, H, W, 3] in [0, 1]."""
    return matplotlib.colormaps[HEAT](values / (highest or 1))[..., :3]

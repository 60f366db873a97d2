"""Points of a known mixture: real ones beside sampled ones, and how many components are there again."""

from collections.abc import Sequence

import numpy as np

from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.report.figures import BLUE, VERMILLION
from vae_jax.studies import draws, nets
from vae_jax.studies.plots import CLASSES, plotted
from vae_jax.studies.study import Picture, Result, Setting, Study

POINTS = 2000
FAR = 99  # per cent of the real points have a nearer neighbour than a sample that belongs nowhere
NOWHERE = "#bbbbbb"  # a sample that belongs to no component
RECOVERED = 0.25  # of its true share that a component must have among the samples


def vectors(
    model: Model,
    points: np.ndarray,
    labels: np.ndarray,
    *,
    told: Sequence[float] | None = None,
    count: int = POINTS,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Samples of a run on vectors beside real points [N, D] of the components `labels` [N].

    A sample belongs to the component of its nearest real point, or to none (−1) where that is farther than FAR per cent
    of the real points are from theirs. A conditional model is told `told` [n] of all samples, or what training examples
    have. Arrays: `latents` [K, Z], `samples` [K, D], `component` [K], and for M components `true_share` and `share` [M]
    of all samples.
    """
    from sklearn.neighbors import NearestNeighbors

    latents = draws.of_the_prior(model, 0, count, seed=seed)
    samples = nets.decode(model, latents, draws.conditions(model, 0, count, seed=seed, cond=told))
    among = NearestNeighbors().fit(points)
    own = among.kneighbors(points, 2)[0][:, 1]  # the nearest one is the point itself
    distance, nearest = (found[:, 0] for found in among.kneighbors(samples, 1))
    component = np.where(distance > np.percentile(own, FAR), -1, labels[nearest])
    size = labels.max() + 1
    return {
        "latents": latents,
        "samples": samples,
        "component": component,
        "true_share": np.bincount(labels, minlength=size) / len(labels),
        "share": np.bincount(component[component >= 0], minlength=size) / count,
    }


def _run(setting: Setting) -> Result:
    examples = setting.examples("test")
    points, labels = examples.pixels, examples.columns["label"]
    arrays = vectors(setting.model, points, labels, told=setting.told, seed=setting.options.seed)
    true, share = arrays["true_share"], arrays["share"]
    recovered = share >= RECOVERED * true
    figures = {"nowhere": figure(arrays["component"] == -1, "Share of the samples that belong to no component")}
    notes = (
        f"{int(recovered.sum())} of {len(true)} components are recovered: among {POINTS:,} samples they have at least "
        f"{RECOVERED:g} of their true share.",
        "The decoder's mean is drawn, without the noise of the likelihood.",
    )
    scatter, densities = _scatter(points, labels, arrays), _densities(points, arrays["samples"])
    pixels = grids.stacked(scatter, densities, _shares(true, share))
    alt = (
        "Held-out points (left) and samples (right) coloured by component, grey where they belong to none; the density "
        "along each axis; and the share of each component."
    )
    return Result(arrays, {"vectors": Picture(pixels, alt)}, figures, notes)


def _scatter(points, labels, arrays):
    """The first three coordinates (all two of two) of the real and of the sampled points."""
    dimensions = min(points.shape[1], 3)
    space = {"subplot_kw": {"projection": "3d"}} if dimensions == 3 else {}
    with plotted(width=10, height=4.6, columns=2, **space) as (plot, axes):
        real, sampled = (points[:POINTS], labels[:POINTS]), (arrays["samples"], arrays["component"])
        both = {"held-out points": real, "samples": sampled}
        for ax, (title, (values, which)) in zip(axes, both.items(), strict=True):
            for component in np.unique([-1, *labels]):  # the same names beside both
                name, color = (component, _color(component)) if component >= 0 else ("none", NOWHERE)
                ax.scatter(*values[which == component, :dimensions].T, color=color, s=4, label=name)
            low, high = points.min(axis=0), points.max(axis=0)
            for d, axis in enumerate("xyz"[:dimensions]):
                ax.set(**{f"{axis}lim": (low[d], high[d]), f"{axis}label": f"axis {d + 1}"})
            ax.set(title=title)
            if dimensions == 3:
                ax.set_box_aspect(None, zoom=0.88)  # leaves the third axis room for its name
                ax.locator_params(nbins=4)
        handles = axes[-1].get_legend_handles_labels()
        plot.figure.legend(*handles, loc="outside right center", title="component", markerscale=4)
    return plot.pixels


def _densities(points, samples):
    columns = min(points.shape[1], 3)
    with plotted(width=10, height=2.6, columns=columns) as (plot, axes):
        for d, ax in enumerate(axes):
            bins = np.linspace(points[:, d].min(), points[:, d].max(), 60)
            ax.hist(points[:, d], bins, density=True, histtype="step", color=BLUE, label="held out")
            ax.hist(samples[:, d], bins, density=True, histtype="step", color=VERMILLION, label="samples")
            ax.set(title=f"density along axis {d + 1}")
        axes[-1].legend()
    return plot.pixels


def _shares(true, share):
    """In the colours of the components, which the samples fill."""
    places = np.arange(len(true))
    colors = [_color(component) for component in places]
    with plotted(width=10, height=2.6) as (plot, (ax,)):
        ax.bar(places - 0.2, true, 0.36, facecolor="none", edgecolor=colors, linewidth=1.6)
        ax.bar(places + 0.2, share, 0.36, facecolor=colors, edgecolor=colors, linewidth=1.6)
        ax.set_xticks(places)
        ax.set(title="share of each component: held out (outlined) and of the samples (filled)", xlabel="component")
    return plot.pixels


def _color(component):
    return CLASSES[component % len(CLASSES)]


def _check(setting: Setting) -> None:
    if len(setting.model.shape) != 1:
        raise UserError("The study vectors is for runs on vectors, and this run is on pictures; take sample.")
    if "label" not in setting.splits["test"].columns:
        raise UserError("The study vectors needs points that are labelled by component, and these are not.")


STUDY = Study(
    name="vectors",
    title="Sampled points beside real ones",
    chapter=story.MADE_FROM_IT,
    function=vectors,
    run=_run,
    inputs=0,
    vectors=True,
    check=_check,
)

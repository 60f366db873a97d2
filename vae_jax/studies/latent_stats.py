"""The latents of held-out examples against the prior: histograms, KL, active units, correlations."""

import numpy as np
from jax.scipy.stats import norm
from matplotlib.colors import Normalize

from vae_jax.evaluation.evaluate import ACTIVE_VARIANCE
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.report.figures import BLUE, GREY, VERMILLION
from vae_jax.studies import draws, nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.plots import plotted
from vae_jax.studies.study import Picture, Result, Setting, Study

SHOWN = 12  # histograms
COLUMNS = 6
REACH = 4.5  # of a histogram, to either side


def latent_stats(
    model: Model, images: np.ndarray, *, cond: np.ndarray | None = None, seed: int = 0, noise: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The aggregate posterior of images [N, H, W, C]: one draw of q(z|x) for each, and its moments.

    Arrays: `noise` [1, N, Z], `latent_mean`, `latent_stddev`, `latents` [N, Z], `aggregate_mean` [Z] and
    `aggregate_covariance` [Z, Z] (exact, E[Var] + Var[E]), `kl` [Z] nats, `active` [Z] (variance of the mean above
    0.01: Burda et al., 2016) and `correlation` [Z, Z] of the means.
    """
    q = nets.encode(model, images, cond)
    epsilon = draws.normal(images, q.mean.shape[1:], count=1, seed=seed, name="latent stats", noise=noise)
    covariance = np.atleast_2d(np.cov(q.mean, rowvar=False))  # [Z, Z]
    stddev = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    return {
        "noise": epsilon,
        "latent_mean": q.mean,
        "latent_stddev": q.stddev,
        "latents": q.mean + q.stddev * epsilon[0],
        "aggregate_mean": q.mean.mean(axis=0),
        "aggregate_covariance": covariance + np.diag(np.square(q.stddev).mean(axis=0)),
        "kl": q.kl.mean(axis=0),
        "active": np.diag(covariance) > ACTIVE_VARIANCE,
        "correlation": covariance / np.outer(stddev, stddev),
    }


def _run(setting: Setting) -> Result:
    options = setting.options
    examples = _examples(setting)
    images = as_the_net_takes_them(examples, setting.config.data)
    arrays = latent_stats(setting.model, images, cond=examples.cond, seed=options.seed, noise=setting.noise)
    order = np.argsort(-arrays["kl"], kind="stable")
    pixels = grids.stacked(_histograms(arrays, order[:SHOWN]), _overview(arrays, order))
    away = np.abs(arrays["aggregate_mean"])
    off = np.abs(arrays["correlation"] - np.eye(len(away)))
    notes = (
        f"{len(images):,} examples of the test split; {int(arrays['active'].sum())} of {len(away)} dimensions are "
        f"active, and the KL is {arrays['kl'].sum():.2f} nats in all.",
        f"The aggregate posterior's mean is at most {away.max():.2f} from 0 in any dimension, its variance runs from "
        f"{np.diag(arrays['aggregate_covariance']).min():.2f} to {np.diag(arrays['aggregate_covariance']).max():.2f} "
        f"(the prior's is 1), and the largest correlation of two dimensions is {off.max():.2f}.",
    )
    alt = (
        "Histograms of draws from the aggregate posterior in the dimensions of largest KL with the prior's density "
        "(line), the KL of each dimension, and the correlations of the posterior means."
    )
    return Result(arrays, {"latent_stats": Picture(pixels, alt)}, notes=notes)


def _examples(setting):
    return setting.examples("test", limit=setting.options.examples)


def _histograms(arrays, order):
    columns = min(COLUMNS, len(order))
    line = np.linspace(-REACH, REACH, 200)
    rows = []
    for start in range(0, len(order), columns):
        with plotted(width=1.9 * columns, height=1.9, columns=columns, sharey=True) as (plot, axes):
            for ax in axes[len(order[start : start + columns]) :]:
                ax.set_axis_off()
            for ax, d in zip(axes, order[start : start + columns], strict=False):
                ax.hist(arrays["latents"][:, d], bins=40, range=(-REACH, REACH), density=True, color=BLUE)
                ax.plot(line, norm.pdf(line), color=VERMILLION, linewidth=1.5)
                ax.set_title(f"z{d}, KL {arrays['kl'][d]:.2f}", fontsize=10)
        rows.append(plot.pixels)
    return grids.stacked(*rows)


def _overview(arrays, order):
    with plotted(width=11.4, height=3.8, columns=2) as (plot, (bars, matrix)):
        ranks = np.arange(1, len(order) + 1)
        bars.bar(ranks, arrays["kl"][order], color=np.where(arrays["active"][order], BLUE, GREY), width=0.8)
        bars.set(title="KL of each dimension (grey: not active)", xlabel="rank", ylabel="nats")
        correlation = arrays["correlation"][np.ix_(order, order)]
        image = matrix.imshow(correlation, cmap="PuOr", norm=Normalize(-1, 1), interpolation="nearest")
        matrix.set(title="Correlation of the means, by rank")
        matrix.grid(False)
        plot.figure.colorbar(image, ax=matrix)
    return plot.pixels


STUDY = Study(
    name="latent_stats",
    title="The latents against the prior",
    chapter=story.LATENT_SPACE,
    function=latent_stats,
    run=_run,
    noise=lambda setting: (
        1,
        len(setting.examples("test", limit=setting.options.examples)),
        setting.config.model.latent,
    ),
    inputs=0,
    vectors=True,
)

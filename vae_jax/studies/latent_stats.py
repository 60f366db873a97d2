"""The latents of held-out examples against the prior: histograms, KL, active units, correlations."""

import math

import numpy as np
from jax.scipy.special import digamma
from jax.scipy.stats import norm
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from vae_jax.evaluation.evaluate import ACTIVE_VARIANCE
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.report.figures import BLUE, GREY, VERMILLION
from vae_jax.studies import draws, nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.plots import plotted
from vae_jax.studies.study import NO_PRIOR, Picture, Result, Setting, Study

SHOWN = 12  # histograms
COLUMNS = 6
REACH = 4.5  # of a histogram, to either side


def latent_stats(
    model: Model, images: np.ndarray, *, cond: np.ndarray | None = None, seed: int = 0, noise: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The aggregate posterior of images [N, H, W, C]: one draw of q(z|x) for each, and its moments.

    Arrays: `noise` [1, N, Z], `latent_mean`, `latent_stddev`, `latents` [N, Z], `aggregate_mean` [Z] and
    `aggregate_covariance` [Z, Z] (exact, E[Var] + Var[E]), `aggregate_kl` of the normal distribution of these moments
    from the prior, nats, `kl` [Z] nats, `active` [Z] (variance of the mean above 0.01: Burda et al., 2016) and
    `correlation` [Z, Z] of the means. Of an autoencoder, `latents` are the means, and there is neither noise nor a
    standard deviation, no KL and nothing active.
    """
    q = nets.encode(model, images, cond)
    covariance = np.atleast_2d(np.cov(q.mean, rowvar=False))  # [Z, Z]
    stddev = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    moments = {
        "latent_mean": q.mean,
        "aggregate_mean": q.mean.mean(axis=0),
        "aggregate_covariance": covariance + np.diag(np.square(q.stddev).mean(axis=0)),
        "correlation": covariance / np.outer(stddev, stddev),
    }
    if q.deterministic:
        return {**moments, "latents": q.mean}
    epsilon = draws.normal(images, q.mean.shape[1:], count=1, seed=seed, name="latent stats", noise=noise)
    return {
        **moments,
        "noise": epsilon,
        "latent_stddev": q.stddev,
        "latents": q.mean + q.stddev * epsilon[0],
        "aggregate_kl": _kl_from_prior(moments["aggregate_mean"], moments["aggregate_covariance"]),
        "kl": q.kl.mean(axis=0),
        "active": np.diag(covariance) > ACTIVE_VARIANCE,
    }


def _kl_from_prior(mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """KL(N(μ, Σ) ‖ N(0, I)) = ½(tr Σ + |μ|² − Z − log det Σ), nats; of N images' moments too large: see `by_chance`."""
    return 0.5 * (np.trace(covariance) + np.square(mean).sum() - len(mean) - np.linalg.slogdet(covariance)[1])


def by_chance(count: int, latent: int) -> float:
    """What `aggregate_kl` is in the mean for `count` draws from the prior itself, nats; inf where they are too few.

    ½(Z/N − E log det S), where S = W/n is the covariance of N = n + 1 draws, W ~ Wishart(I, n), and so E log det S =
    Σᵢ ψ((n + 1 − i)/2) + Z log(2/n) over i = 1 ... Z (Bishop, 2006, B.81). An encoder's own variance, which is exact,
    makes it less.
    """
    n = count - 1
    if n < latent:
        return math.inf
    halves = (n + 1 - np.arange(1, latent + 1)) / 2
    log_det = np.asarray(digamma(halves)).sum(dtype=np.float64) + latent * math.log(2 / n)
    return 0.5 * (latent / count - log_det)


def _run(setting: Setting) -> Result:
    options = setting.options
    examples = _examples(setting)
    images = as_the_net_takes_them(examples, setting.config.data)
    arrays = latent_stats(setting.model, images, cond=examples.cond, seed=options.seed, noise=setting.noise)
    by = arrays.get("kl", np.diag(arrays["aggregate_covariance"]))  # an autoencoder has no KL
    order = np.argsort(-by, kind="stable")
    pixels = grids.stacked(_histograms(arrays, order[:SHOWN]), _overview(arrays, order))
    if "kl" in arrays:
        alt = (
            "Histograms of draws from the aggregate posterior in the dimensions of largest KL with the prior's density "
            "(line), the KL of each dimension, and the correlations of the posterior means."
        )
    else:
        alt = "Histograms of the latents in the dimensions of largest variance, and the correlations of all of them."
    return Result(arrays, {"latent_stats": Picture(pixels, alt)}, notes=_notes(arrays))


def _notes(arrays):
    away, variance = np.abs(arrays["aggregate_mean"]), np.diag(arrays["aggregate_covariance"])
    off = np.abs(arrays["correlation"] - np.eye(len(away)))
    count = f"{len(arrays['latents']):,} examples of the test split"
    if "kl" in arrays:
        beside = " (the prior's is 1)"
        first = (
            f"{count}; {int(arrays['active'].sum())} of {len(away)} dimensions are active, and the KL is "
            f"{arrays['kl'].sum():.2f} nats in all."
        )
        chance = by_chance(*arrays["latents"].shape)
        if math.isfinite(chance):
            first += (
                f" The normal distribution of the latents' mean and covariance is {arrays['aggregate_kl']:.2f} nats "
                f"from the prior, of which up to {chance:.2f} come of so few examples."
            )
    else:
        beside = ""
        first = f"{count}. {NO_PRIOR}: there is no KL, and no dimension is active or not."
    return (
        first,
        f"The aggregate posterior's mean is at most {away.max():.2f} from 0 in any dimension, its variance runs from "
        f"{variance.min():.2f} to {variance.max():.2f}{beside}, and the largest "
        f"correlation of two dimensions is {off.max():.2f}.",
    )


def _examples(setting):
    return setting.examples("test", limit=setting.options.examples)


def _histograms(arrays, order):
    columns = min(COLUMNS, len(order))
    reach = REACH if "kl" in arrays else np.abs(arrays["latents"]).max()
    line = np.linspace(-reach, reach, 200)
    rows = []
    for start in range(0, len(order), columns):
        with plotted(width=1.9 * columns, height=1.9, columns=columns, sharey=True) as (plot, axes):
            for ax in axes[len(order[start : start + columns]) :]:
                ax.set_axis_off()
            for ax, d in zip(axes, order[start : start + columns], strict=False):
                ax.hist(arrays["latents"][:, d], bins=40, range=(-reach, reach), density=True, color=BLUE)
                if "kl" in arrays:
                    ax.plot(line, norm.pdf(line), color=VERMILLION, linewidth=1.5)
                ax.set_title(_name(arrays, d), fontsize=10)
        rows.append(plot.pixels)
    return grids.stacked(*rows)


def _name(arrays, d):
    if "kl" in arrays:
        return f"z{d}, KL {arrays['kl'][d]:.2f}"
    return f"z{d}, stddev {arrays['latents'][:, d].std():.2f}"


def _overview(arrays, order):
    columns = 2 if "kl" in arrays else 1
    with plotted(width=5.7 * columns, height=3.8, columns=columns) as (plot, (*bars, matrix)):
        ranks = np.arange(1, len(order) + 1)
        for ax in bars:
            ax.bar(ranks, arrays["kl"][order], color=np.where(arrays["active"][order], BLUE, GREY), width=0.8)
            ax.set(title="KL of each dimension (grey: not active)", xlabel="rank", ylabel="nats")
        correlation = arrays["correlation"][np.ix_(order, order)]
        last = len(order) + 0.5
        image = matrix.imshow(
            correlation, cmap="PuOr", norm=Normalize(-1, 1), interpolation="nearest", extent=(0.5, last, last, 0.5)
        )
        matrix.set(title="Correlation of the means", xlabel="rank", ylabel="rank")
        for axis in (*(ax.xaxis for ax in bars), matrix.xaxis, matrix.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
        matrix.grid(False)
        plot.figure.colorbar(image, ax=matrix)
    return plot.pixels


def _noise(setting: Setting) -> tuple[int, ...] | None:
    return None if setting.deterministic else (1, len(_examples(setting)), setting.config.model.latent)


STUDY = Study(
    name="latent_stats",
    title="How the latents lie",
    chapter=story.LATENT_SPACE,
    function=latent_stats,
    run=_run,
    noise=_noise,
    inputs=0,
    vectors=True,
)

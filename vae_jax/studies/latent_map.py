"""The held-out split in two dimensions of its latents: by class or attribute, and by the pictures themselves."""

import numpy as np

from vae_jax.data.fit import Fit
from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.plots import CLASSES, plotted
from vae_jax.studies.probes import FOLDS, NEIGHBOURS, probe
from vae_jax.studies.study import Picture, Result, Setting, Study
from vae_jax.study_options import numbers

PERPLEXITY = 30
CANVAS, THUMBNAIL = 1100, 40  # pixels of the map of pictures, and of one of them
LABEL = "label"
BESIDE = {"boxstyle": "round", "facecolor": "white", "alpha": 0.7}  # of a class's name on its points
DENSE = 10  # points of a class, in whose midst its name may stand
APART = 0.08  # of the width and height of a map, that names of classes are apart


def latent_map(
    model: Model,
    images: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    dimensions: tuple[int, int] | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Posterior means of images [N, H, W, C] in two dimensions.

    Arrays: `latents` [N, Z], `pca` and `tsne` [N, 2] (van der Maaten & Hinton, 2008), and with `dimensions`, the
    numbers of two latent dimensions, `chosen` [N, 2].
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    latents = nets.encode(model, images, cond).mean
    arrays = {"latents": latents}
    if latents.shape[1] > 2:
        arrays["pca"] = PCA(2, random_state=seed).fit_transform(latents)
    perplexity = min(PERPLEXITY, (len(latents) - 1) / 3)
    arrays["tsne"] = TSNE(2, perplexity=perplexity, init="random", random_state=seed).fit_transform(latents)
    if dimensions is not None:
        arrays["chosen"] = latents[:, list(dimensions)]
    return arrays


def _run(setting: Setting) -> Result:
    options = setting.options
    dimensions = _dimensions(setting)
    examples = setting.examples("test", limit=options.examples)
    images = as_the_net_takes_them(examples, setting.config.data)
    arrays = latent_map(setting.model, images, cond=examples.cond, dimensions=dimensions, seed=options.seed)
    titles = {"pca": "PCA", "tsne": "t-SNE"}
    if dimensions:
        titles["chosen"] = "z{} against z{}".format(*dimensions)
    titles = {name: title for name, title in titles.items() if name in arrays}
    color = _color(setting, examples.columns)
    figures, notes = {}, [f"{len(images):,} examples of the test split, by the means of their posteriors."]
    if color is not None:
        name, values, words = color
        arrays["color"] = values
        found = probe(arrays["latents"], values, groups=examples.columns.get("identity"), seed=options.seed)
        if found is None:
            notes.append(f"{name} is too rare here, or the same everywhere, to be predicted.")
        else:
            figures["knn"] = figure(found.knn, f"{name} from {NEIGHBOURS} nearest neighbours, accuracy")
            figures["linear"] = figure(found.linear, f"{name} by a linear probe, accuracy")
            people = ", with no person in two folds" if "identity" in examples.columns else ""
            notes.append(
                f"Accuracies are cross-validated in {FOLDS} folds{people}; always saying the most frequent of "
                f"these gives {found.majority:.3f}."
            )
    pictures = {"latent_map": _scatter(arrays, titles, color)}
    if grids.showable(setting.model.shape):
        pictures["pictures"] = _pictures(arrays["tsne"], images)
    return Result(arrays, pictures, figures, tuple(notes))


def _dimensions(setting):
    """The two dimensions to be drawn: those that are asked for, or both where there are only two."""
    latent, text = setting.config.model.latent, setting.options.dimensions
    if not text:
        return (0, 1) if latent == 2 else None
    chosen = numbers("study.dimensions", text, least=0)
    if len(chosen) != 2 or not all(number in range(latent) for number in chosen):
        raise UserError(f"study.dimensions is {text!r}; it must be two of the latent dimensions 0 to {latent - 1}.")
    return int(chosen[0]), int(chosen[1])


def _color(setting, columns):
    """The name of what colours the points, its value for each [N], and what the values mean; None where nothing is."""
    features, asked = setting.splits["test"].features, setting.options.color
    known = [*([LABEL] if LABEL in columns else []), *features.attributes]
    if asked and asked not in known:
        raise UserError(f"study.color is {asked!r}; the test split has {', '.join(known) or 'no labels'}.")
    if LABEL in columns and asked in ("", LABEL):
        classes = features.classes or tuple(map(str, range(columns[LABEL].max() + 1)))
        return "class", columns[LABEL], classes
    if "attributes" not in columns:
        return None
    shares = columns["attributes"].mean(axis=0)
    which = features.attributes.index(asked) if asked else int(np.abs(shares - 0.5).argmin())
    name = features.attributes[which]
    return name, columns["attributes"][:, which], (f"not {name}", name)


def _scatter(arrays, titles, color):
    with plotted(width=5.5 * len(titles), height=5, columns=len(titles)) as (plot, axes):
        for ax, (which, title) in zip(axes, titles.items(), strict=True):
            points = arrays[which]
            if color is None:
                ax.scatter(*points.T, s=6, color=CLASSES[0])
            else:
                _, values, words = color
                for value in np.unique(values):
                    ax.scatter(*points[values == value].T, s=7, color=CLASSES[value % len(CLASSES)], label=words[value])
                for value, place in name_places(points, values).items() if len(words) > 2 else ():
                    ax.text(*place, words[value], weight="bold", ha="center", va="center", bbox=BESIDE)
            ax.set(title=title)
            ax.grid(False)
        if color is not None:
            axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), markerscale=2.5)
    colored = f", coloured by {color[0]}" if color is not None else ""
    ways = " and ".join(titles.values())
    return Picture(plot.pixels, f"The latents of the test split in two dimensions by {ways}{colored}.")


def name_places(points: np.ndarray, values: np.ndarray) -> dict[int, np.ndarray]:
    """Where the name of each class of `values` [N] stands: at its densest point of [N, 2] that is apart from others."""
    from sklearn.neighbors import NearestNeighbors

    scaled, places = points / (np.ptp(points, axis=0) + 1e-12), {}
    for value in np.unique(values):
        own = np.flatnonzero(values == value)
        among = NearestNeighbors(n_neighbors=min(DENSE, len(own))).fit(scaled[own])
        densest = own[np.argsort(among.kneighbors(scaled[own])[0][:, -1], kind="stable")]
        taken = scaled[np.array(list(places.values()), int)]
        apart = np.linalg.norm(scaled[densest][:, None] - taken, axis=-1).min(axis=1, initial=APART)  # at most APART
        places[value] = densest[apart.argmax()]
    return {value: points[place] for value, place in places.items()}


def _pictures(points, images):
    """The pictures at their places; where two would overlap, the later is left out."""
    low, high = points.min(axis=0), points.max(axis=0)
    places = ((points - low) / (high - low + 1e-12) * (CANVAS - THUMBNAIL)).astype(int)
    cells, kept = set(), []
    for i, (x, y) in enumerate(places // THUMBNAIL):
        if (x, y) not in cells:
            cells.add((x, y))
            kept.append(i)
    fit = Fit("whole", (THUMBNAIL, THUMBNAIL), images.shape[-1])
    tiles = [np.broadcast_to(fit(grids.to_uint8(images[i])), (THUMBNAIL, THUMBNAIL, 3)) for i in kept]
    canvas = np.full((CANVAS, CANVAS, 3), grids.WHITE, np.uint8)
    for tile, (x, y) in zip(tiles, places[kept] // THUMBNAIL * THUMBNAIL, strict=True):
        top = CANVAS - THUMBNAIL - y
        canvas[top : top + THUMBNAIL, x : x + THUMBNAIL] = tile
    return Picture(canvas, f"The same t-SNE, drawn with {len(kept)} of the pictures themselves.")


def _check(setting: Setting) -> None:
    _dimensions(setting)
    if setting.options.color:
        _color(setting, setting.splits["test"].columns)


STUDY = Study(
    name="latent_map",
    title="A map of the latents",
    chapter=story.LATENT_SPACE,
    function=latent_map,
    run=_run,
    inputs=0,
    vectors=True,
    check=_check,
)

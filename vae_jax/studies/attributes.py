"""Attributes as directions of the latent space: added to a picture's latent, and taken from it."""

import difflib
from collections.abc import Sequence

import numpy as np

from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.studies import nets
from vae_jax.studies.classifier import UNJUDGED, check_classifier, read_judge
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.plots import CLASSES, plotted
from vae_jax.studies.study import Picture, Result, Setting, Study

STRENGTHS = (-2.0, -1.0, 0.0, 1.0, 2.0)
FITTED = 5000  # training examples that directions are found on
DEFAULT = 5  # attributes
WAYS = ("mean_difference", "logistic")
LEAST = 10  # training examples with an attribute, and without it, for a direction
SHOWN, SIDE = 3, 96  # inputs, and pixels of each
WORDS = {"mean_difference": "the difference of means", "logistic": "a logistic probe's normal"}


def attributes(
    model: Model,
    images: np.ndarray,
    *,
    examples: np.ndarray,
    labels: np.ndarray,
    cond: np.ndarray | None = None,
    examples_cond: np.ndarray | None = None,
    strength: Sequence[float] = STRENGTHS,
) -> dict[str, np.ndarray]:
    """Moves the posterior means of images [B, H, W, C] along the directions of G attributes, in two ways.

    The directions come from `examples` [N, ...] with `labels` [N, G] of 0 and 1: the difference of the means of those
    with and without the attribute, and the normal of a logistic probe, as long as that difference. Arrays, with S
    strengths: `strength` [S], `mean_difference_direction`, `logistic_direction` [G, Z], `..._latents` [G, S, B, Z] and
    `..._outputs` [G, S, B, ...].
    """
    from sklearn.linear_model import LogisticRegression

    latents = nets.encode(model, examples, examples_cond).mean
    own = nets.encode(model, images, cond).mean
    spread = latents.std(axis=0) + 1e-6
    directions = {way: [] for way in WAYS}
    for has in labels.astype(bool).T:
        difference = latents[has].mean(axis=0) - latents[~has].mean(axis=0)  # [Z]
        normal = LogisticRegression(max_iter=1000, C=0.1).fit(latents / spread, has).coef_[0] * spread
        directions["mean_difference"].append(difference)
        directions["logistic"].append(normal / np.linalg.norm(normal) * np.linalg.norm(difference))
    strengths = np.asarray(strength, np.float32)
    arrays = {"strength": strengths}
    for way, each in directions.items():
        along = np.stack(each).astype(np.float32)  # [G, Z]
        moved = own + strengths[:, None, None] * along[:, None, None]  # [G, S, B, Z]
        outputs = nets.decode(model, moved, cond)
        arrays |= {f"{way}_direction": along, f"{way}_latents": moved, f"{way}_outputs": outputs}
    return arrays


def _run(setting: Setting) -> Result:
    names, columns = _chosen(setting)
    known = setting.examples("train", limit=FITTED)
    labels = known.columns["attributes"][:, columns]
    examples = as_the_net_takes_them(known, setting.config.data)
    told = {"cond": setting.cond, "examples_cond": known.cond}
    arrays = attributes(setting.model, setting.images, examples=examples, labels=labels, **told)
    probabilities, figures, notes = _success(setting, names, arrays)
    pictures = {"success": _curves(names, arrays["strength"], probabilities)} if figures else {}
    pictures |= {way: _picture(setting, names, arrays, probabilities, way) for way in WAYS}
    return Result(arrays | probabilities, pictures, figures, notes)


def _chosen(setting):
    """The names of the attributes that are asked for, and their columns."""
    known = setting.splits["train"].features.attributes
    if not known or "attributes" not in setting.splits["train"].columns:
        raise UserError("The study attributes needs attributes, and the data of this run have none.")
    asked = [name.strip() for name in setting.options.attributes.split(",") if name.strip()]
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the data of this run have {', '.join(known)}."
            raise UserError(f"study.attributes names {name!r}; {hint}")
    if not asked:
        even = np.abs(setting.splits["train"].columns["attributes"].mean(axis=0) - 0.5)
        asked = [known[i] for i in np.argsort(even, kind="stable")[:DEFAULT]]
    columns = [known.index(name) for name in asked]
    labels = setting.splits["train"].columns["attributes"][:FITTED, columns]
    for name, count in zip(asked, labels.sum(axis=0), strict=True):
        if min(count, len(labels) - count) < LEAST:
            raise UserError(
                f"study.attributes names {name!r}, which {count:,} of {len(labels):,} training examples have: too "
                f"uneven for a direction, which takes {LEAST} with it and {LEAST} without."
            )
    return asked, columns


def _success(setting, names, arrays):
    """What the classifier says of inputs and outputs, how far that moves from least to greatest strength, and notes.

    Arrays of the probability of each attribute, NaN where it is not judged: `input_probability` [G, B] and
    `..._probability` [G, S, B].
    """
    judge = read_judge(setting)
    if judge is None:
        return {}, {}, ("Whether an attribute came or went was not judged: name a classifier with study.classifier.",)
    shape = arrays[f"{WAYS[0]}_outputs"].shape[:3]  # G, S, B
    probabilities = {"input_probability": np.full((shape[0], shape[2]), np.nan)}
    probabilities |= {f"{way}_probability": np.full(shape, np.nan) for way in WAYS}
    of_inputs = judge(setting.images)  # [B, A]
    figures, notes = {}, []
    for g, name in enumerate(names):
        a = judge.column(name)
        if a is None:
            notes.append(UNJUDGED.format(name))
            continue
        notes.append(
            f"{name}: the classifier is right in {judge.accuracy[a]:.3f} of held-out examples; always saying what is "
            f"more frequent among them is in {judge.majority[a]:.3f}."
        )
        probabilities["input_probability"][g] = of_inputs[:, a]
        for way in WAYS:
            found = judge(arrays[f"{way}_outputs"][g])[..., a]  # [S, B]
            probabilities[f"{way}_probability"][g] = found
            label = f"Probability of {name}, strength {STRENGTHS[-1]:g} less {STRENGTHS[0]:g}, {way.replace('_', ' ')}"
            figures[f"{name}_{way}"] = figure(found[-1] - found[0], label)
    return probabilities, figures, tuple(notes)


def _curves(names, strengths, probabilities):
    """The probability of each attribute that is judged at each strength, the mean over the inputs with its error."""
    with plotted(width=10, height=3.6, columns=len(WAYS), sharey=True) as (plot, axes):
        for ax, way in zip(axes, WAYS, strict=True):
            for g, name in enumerate(names):
                found = probabilities[f"{way}_probability"][g]  # [S, B]
                if not np.isnan(found).any():
                    error = found.std(axis=1, ddof=1) / np.sqrt(found.shape[1]) if found.shape[1] > 1 else None
                    look = {"color": CLASSES[2 * g % len(CLASSES)], "marker": "o", "markersize": 4, "capsize": 3}
                    ax.errorbar(strengths, found.mean(axis=1), error, label=name, **look)
            ax.set(title=f"by {WORDS[way]}", xlabel="strength", ylim=(0, 1))
        axes[0].set_ylabel("probability of the attribute")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    count = probabilities["input_probability"].shape[1]
    alt = (
        f"The classifier's probability of each attribute after moving along its direction, the mean over {count} "
        "inputs ± its standard error."
    )
    return Picture(plot.pixels, alt)


def _picture(setting, names, arrays, probabilities, way):
    """A row for each attribute and shown input, with what the classifier says, where it does, below each picture."""
    words = ["input", *(f"{strength:+g}" if strength else "decoded" for strength in arrays["strength"])]
    rows, captions = {}, []
    for g, name in enumerate(names):
        for b, example in enumerate(setting.inputs.names[:SHOWN]):
            rows[f"{name}, {example}"] = np.concatenate([setting.images[b : b + 1], arrays[f"{way}_outputs"][g, :, b]])
            said = [np.nan]
            if probabilities:
                said = [probabilities["input_probability"][g, b], *probabilities[f"{way}_probability"][g, :, b]]
            judged = not np.isnan(said).any()
            captions.append([f"{w}: {p:.2f}" for w, p in zip(words, said, strict=True)] if judged else words)
    pixels = grids.captioned_rows(rows, captions, min_side=SIDE)
    shown, count = min(SHOWN, len(setting.images)), len(setting.images)
    below = "; below each the strength and the classifier's probability of the attribute" if probabilities else ""
    alt = f"{shown} of {count} inputs moved along the direction of each attribute, by {WORDS[way]}{below}."
    return Picture(pixels, alt)


def _check(setting: Setting) -> None:
    _chosen(setting)
    check_classifier(setting)


STUDY = Study(
    name="attributes",
    title="Attributes added and taken away",
    chapter=story.MADE_FROM_IT,
    function=attributes,
    run=_run,
    check=_check,
)

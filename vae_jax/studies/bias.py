"""For whom it works worse: the held-out error by attribute or class, in pictures and in people."""

import jax
import numpy as np

from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.images.lettering import with_heading
from vae_jax.inference import Model
from vae_jax.nn.squeezenet import SqueezeNet
from vae_jax.objectives.feature_distance import feature_distance, open_squeezenet
from vae_jax.report import story
from vae_jax.report.figures import BLUE, GREY, VERMILLION
from vae_jax.studies import nets
from vae_jax.studies.groups import LEAST_PEOPLE, LEAST_PICTURES, RESAMPLES, Differences, differences
from vae_jax.studies.inputs import as_the_net_takes_them, read_split
from vae_jax.studies.label_files import read_column
from vae_jax.studies.measures import similarity
from vae_jax.studies.plots import plotted
from vae_jax.studies.study import Picture, Result, Setting, Study

SHOWN, SIDE = 8, 96  # of the worst pictures
CHUNK = 256  # pictures measured at once
SURE = 0.05
ERRORS = {  # what each is called, and which differences are to a group's cost
    "mse": ("Squared error per pixel", "above 0"),
    "ssim": ("SSIM", "below 0"),
    "feature_distance": ("Feature distance", "above 0"),
}


def bias(
    model: Model,
    images: np.ndarray,
    groups: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    people: np.ndarray | None = None,
    squeezenet: SqueezeNet | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The error of images [N, H, W, C], reconstructed from the mean, within each of the groups [N, G] and outside.

    `people` [N] says who is in each picture; without it each is taken as another's. Arrays: `reconstructions` [N, ...],
    `mse`, `ssim` and, by a `squeezenet`, `feature_distance` [N], and for each of these those of `groups.Differences`
    [G], as `mse_difference` and so on.
    """
    outputs = nets.reconstruct(model, images, cond)
    parts = [_errors(images[i : i + CHUNK], outputs[i : i + CHUNK], squeezenet) for i in range(0, len(images), CHUNK)]
    errors = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    arrays = {"reconstructions": outputs, **errors}
    people = np.arange(len(images)) if people is None else people
    for name in errors:
        found = differences(arrays[name], groups, people, seed=seed)
        arrays |= {f"{name}_{field}": values for field, values in vars(found).items()}
    return arrays


def _errors(images, outputs, squeezenet):
    """Each of ERRORS [n] that can be measured."""
    errors = {name: values for name, values in similarity(images, outputs).items() if name in ERRORS}
    if squeezenet is not None:
        errors["feature_distance"] = np.asarray(_feature_distance(squeezenet, images, outputs))
    return errors


def _run(setting: Setting) -> Result:
    places, names, groups = _groups(setting)
    examples = read_split(setting.splits["test"], "test", places)
    images = as_the_net_takes_them(examples, setting.config.data)
    people = examples.columns.get("identity")
    arrays = bias(
        setting.model,
        images,
        groups,
        cond=examples.cond,
        people=people,
        squeezenet=_squeezenet(setting),
        seed=setting.options.seed,
    )
    found = Differences(**{name: arrays[f"mse_{name}"] for name in Differences.__dataclass_fields__})
    order = [g for g in np.argsort(-found.difference) if found.judged[g]]
    figures = {}
    for name, (label, worse) in ERRORS.items():
        for g in order if name in arrays else ():
            figures[f"{name}_{names[g]}"] = {
                "mean": float(arrays[f"{name}_difference"][g]),
                "stderr": float(arrays[f"{name}_stderr"][g]),
                "low": float(arrays[f"{name}_low"][g]),
                "high": float(arrays[f"{name}_high"][g]),
                "p": float(arrays[f"{name}_p"][g]),
                "label": f"{label}: {names[g]} less the others (worse where {worse})",
                "unit": "",
            }
    pictures = {}
    if order:
        pictures["groups"] = _forest(names, found, order, people)
        within = np.flatnonzero(groups[:, order[0]])
        what = f"{names[order[0]]}, the worst of the groups that are judged"
        pictures["worst_group"] = _worst(examples.names, images, arrays, within, what)
    pictures["worst"] = _worst(examples.names, images, arrays, np.arange(len(images)), "All held-out pictures")
    arrays["groups"] = groups
    notes = _notes(names, found, order, people, len(images))
    if len(images) < len(setting.splits["test"]):
        notes += (f"Of {len(setting.splits['test']):,} pictures these have a label in {setting.options.groups}.",)
    return Result(arrays, pictures, figures, notes)


def _groups(setting):
    """The places of N examples in the test split, the names of the groups, and who belongs to each [N, G].

    Groups are the values of the user's own column; else the attributes, where there are any, or the classes.
    """
    source = setting.splits["test"]
    if setting.options.groups:
        own = read_column(setting.options.groups, source)
        return own.examples, own.groups, own.within
    features, columns, places = source.features, source.columns, np.arange(len(source))
    if features.attributes and "attributes" in columns:
        return places, features.attributes, columns["attributes"]
    if "label" not in columns:
        raise UserError(
            "The study bias needs attributes or classes, and the data of this run have neither; name groups of your "
            "own with study.groups=FILE.csv:COLUMN."
        )
    classes = features.classes or tuple(map(str, range(columns["label"].max() + 1)))
    return places, classes, (columns["label"][:, None] == np.arange(len(classes))).astype(np.uint8)


def _squeezenet(setting):
    return open_squeezenet(setting.config.eval.features, setting.model.shape)


def _notes(names, found, order, people, count):
    who = f"{len(np.unique(people))} people" if people is not None else "who is in them is not known"
    unit = "people" if people is not None else "pictures"
    sure = [g for g in order if found.p[g] < SURE]
    worse, better = ([names[g] for g in sure if sign * found.difference[g] > 0] for sign in (1, -1))
    small = [f"{names[g]} ({found.pictures[g]}, {found.people[g]})" for g in np.flatnonzero(~found.judged)]
    said = [
        f"{count:,} pictures of the test split; {who}. Intervals (95%) and standard errors are from {RESAMPLES:,} "
        f"resamples of {unit}; p values are corrected by Holm's method over the {len(order)} groups that are judged.",
        f"Groups whose squared error differs (p < {SURE} after correction). Worse than the others: "
        f"{', '.join(worse) or 'none'}. Better: {', '.join(better) or 'none'}.",
    ]
    if small:
        said.append(
            f"Not judged, with fewer than {LEAST_PEOPLE} {unit} or {LEAST_PICTURES} pictures within or outside "
            f"(pictures, {unit} within): {', '.join(small)}."
        )
    return tuple(said)


def _forest(names, found, order, people):
    """The difference of each judged group with its interval, the worst above."""
    counted = ("pictures",) if people is None else ("pictures", "people")
    colors = [GREY if found.p[g] >= SURE else VERMILLION if found.difference[g] > 0 else BLUE for g in order]
    with plotted(width=9, height=1 + 0.26 * len(order)) as (plot, (ax,)):
        for place, (g, color) in enumerate(zip(reversed(order), reversed(colors), strict=True)):
            ax.plot([found.low[g], found.high[g]], [place, place], color=color, linewidth=1.6)
            ax.plot(found.difference[g], place, color=color, marker="o" if found.p[g] < SURE else "|", markersize=6)
        labels = [f"{names[g]} ({', '.join(str(vars(found)[each][g]) for each in counted)})" for g in reversed(order)]
        ax.set_yticks(range(len(order)), labels, fontsize=9)
        ax.axvline(0, color=GREY, linewidth=1)
        ax.grid(False)
        ax.set_xlabel("squared error per pixel, those within less the others (← better, worse →)")
        ax.set_ylim(-0.7, len(order) - 0.3)
    alt = (
        f"The difference in squared error of each group ({', '.join(counted)} within) from the others with its 95% "
        f"interval; a dot marks a difference with p < {SURE} after Holm's correction, red where it is worse for the "
        "group, blue where better."
    )
    return Picture(plot.pixels, alt)


def _worst(names, images, arrays, within, what):
    """Of the pictures `within` [n], those with the largest error."""
    worst = within[np.argsort(-arrays["mse"][within])][:SHOWN]
    captions = [f"{names[i]}: {arrays['mse'][i]:.3f}" for i in worst]
    rows = {"input": images[worst], "z = mean": arrays["reconstructions"][worst]}
    pixels = grids.named_rows(rows, SHOWN, captions=captions, captioned="squared error", min_side=SIDE)
    alt = f"{what}: those with the largest squared error per pixel, which stands below them."
    return Picture(with_heading(pixels, alt), alt)


def _check(setting: Setting) -> None:
    _groups(setting)
    _squeezenet(setting)


_feature_distance = jax.jit(feature_distance)

STUDY = Study(
    name="bias",
    title="For whom it works worse",
    chapter=story.FAILS,
    function=bias,
    run=_run,
    inputs=0,
    check=_check,
)

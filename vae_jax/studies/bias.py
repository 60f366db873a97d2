"""For whom it works worse: the held-out error by attribute or class, in pictures and in people."""

import numpy as np

from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.report.figures import BLUE, GREY, VERMILLION
from vae_jax.studies import nets
from vae_jax.studies.groups import LEAST_PEOPLE, LEAST_PICTURES, RESAMPLES, Differences, differences
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.measures import similarity
from vae_jax.studies.plots import plotted
from vae_jax.studies.study import Picture, Result, Setting, Study

SHOWN, SIDE = 8, 96  # of the worst pictures
CHUNK = 256  # pictures measured at once
SURE = 0.05


def bias(
    model: Model,
    images: np.ndarray,
    groups: np.ndarray,
    *,
    cond: np.ndarray | None = None,
    people: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The error of images [N, H, W, C], reconstructed from the mean, within each of the groups [N, G] and outside.

    `people` [N] says who is in each picture; without it each is taken as another's. Arrays: `reconstructions` [N, ...],
    `mse`, `ssim` [N], and for either those of `groups.Differences` [G], as `mse_difference` and so on.
    """
    outputs = nets.reconstruct(model, images, cond)
    parts = [similarity(images[i : i + CHUNK], outputs[i : i + CHUNK]) for i in range(0, len(images), CHUNK)]
    arrays = {"reconstructions": outputs}
    arrays |= {name: np.concatenate([part[name] for part in parts]) for name in ("mse", "ssim")}
    people = np.arange(len(images)) if people is None else people
    for name in ("mse", "ssim"):
        found = differences(arrays[name], groups, people, seed=seed)
        arrays |= {f"{name}_{field}": values for field, values in vars(found).items()}
    return arrays


def _run(setting: Setting) -> Result:
    examples = setting.examples("test")
    names, groups = _groups(setting, examples.columns)
    images = as_the_net_takes_them(examples, setting.config.data)
    people = examples.columns.get("identity")
    arrays = bias(setting.model, images, groups, cond=examples.cond, people=people, seed=setting.options.seed)
    found = Differences(**{name: arrays[f"mse_{name}"] for name in Differences.__dataclass_fields__})
    order = [g for g in np.argsort(-found.difference) if found.judged[g]]
    figures = {}
    for name, label in {"mse": "Squared error per pixel", "ssim": "SSIM"}.items():
        for g in order:
            figures[f"{name}_{names[g]}"] = {
                "mean": float(arrays[f"{name}_difference"][g]),
                "stderr": float(arrays[f"{name}_stderr"][g]),
                "low": float(arrays[f"{name}_low"][g]),
                "high": float(arrays[f"{name}_high"][g]),
                "p": float(arrays[f"{name}_p"][g]),
                "label": f"{label}: {names[g]} less the others",
                "unit": "",
            }
    pictures = {"groups": _forest(names, found, order)} if order else {}
    pictures["worst"] = _worst(examples.names, images, arrays)
    arrays["groups"] = groups
    return Result(arrays, pictures, figures, _notes(names, found, order, people, len(images)))


def _groups(setting, columns):
    """The names of the groups and who belongs to each [N, G]: attributes where there are any, else the classes."""
    features = setting.splits["test"].features
    if features.attributes and "attributes" in columns:
        return features.attributes, columns["attributes"]
    if "label" not in columns:
        raise UserError("The study bias needs attributes or classes, and the data of this run have neither.")
    classes = features.classes or tuple(map(str, range(columns["label"].max() + 1)))
    return classes, (columns["label"][:, None] == np.arange(len(classes))).astype(np.uint8)


def _notes(names, found, order, people, count):
    who = f"{len(np.unique(people))} people" if people is not None else "who is in them is not known"
    unit = "people" if people is not None else "pictures"
    sure = [names[g] for g in order if found.p[g] < SURE]
    small = [f"{names[g]} ({found.pictures[g]}, {found.people[g]})" for g in np.flatnonzero(~found.judged)]
    said = [
        f"{count:,} pictures of the test split; {who}. Intervals (95%) and standard errors are from {RESAMPLES:,} "
        f"resamples of {unit}; p values are corrected by Holm's method over the {len(order)} groups that are judged.",
        f"Groups whose squared error differs (p < {SURE} after correction): {', '.join(sure) or 'none'}.",
    ]
    if small:
        said.append(
            f"Not judged, with fewer than {LEAST_PEOPLE} {unit} or {LEAST_PICTURES} pictures within or outside "
            f"(pictures, {unit} within): {', '.join(small)}."
        )
    return tuple(said)


def _forest(names, found, order):
    """The difference of each judged group with its interval, the worst above."""
    with plotted(width=9, height=1 + 0.26 * len(order)) as (plot, (ax,)):
        for place, g in enumerate(reversed(order)):
            color = VERMILLION if found.p[g] < SURE else BLUE
            ax.plot([found.low[g], found.high[g]], [place, place], color=color, linewidth=1.6)
            ax.plot(found.difference[g], place, color=color, marker="o" if found.p[g] < SURE else "|", markersize=6)
        labels = [f"{names[g]} ({found.pictures[g]}, {found.people[g]})" for g in reversed(order)]
        ax.set_yticks(range(len(order)), labels, fontsize=9)
        ax.axvline(0, color=GREY, linewidth=1)
        ax.grid(False)
        ax.set(xlabel="squared error per pixel, those within less the others", ylim=(-0.7, len(order) - 0.3))
    alt = (
        "The difference in squared error of each group (pictures, people within) from the others with its 95% "
        f"interval; a dot marks a difference with p < {SURE} after Holm's correction."
    )
    return Picture(plot.pixels, alt)


def _worst(names, images, arrays):
    worst = np.argsort(-arrays["mse"])[:SHOWN]
    captions = [f"{names[i]}: {arrays['mse'][i]:.3f}" for i in worst]
    rows = {"input": images[worst], "z = mean": arrays["reconstructions"][worst]}
    pixels = grids.named_rows(rows, SHOWN, captions=captions, min_side=SIDE)
    return Picture(pixels, "The held-out pictures with the largest squared error per pixel, which stands below them.")


def _check(setting: Setting) -> None:
    _groups(setting, setting.splits["test"].columns)


STUDY = Study(
    name="bias",
    title="For whom it works worse",
    chapter=story.FAILS,
    function=bias,
    run=_run,
    inputs=0,
    check=_check,
)

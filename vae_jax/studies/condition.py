"""The same picture under another condition: what one latent decodes to when the model is told otherwise."""

from collections.abc import Sequence

import numpy as np

from vae_jax.data.named import exclusive, named_columns
from vae_jax.data.source import Source
from vae_jax.errors import UserError
from vae_jax.evaluation.figures import figure, people_note
from vae_jax.images import grids
from vae_jax.inference import Model
from vae_jax.report import story
from vae_jax.report.figures import GREY
from vae_jax.studies import draws, nets
from vae_jax.studies.classifier import UNJUDGED, check_classifier, read_judge
from vae_jax.studies.flips import flips
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.plots import CLASSES, plotted
from vae_jax.studies.study import Picture, Result, Setting, Study, check_size
from vae_jax.study_options import numbers

SHOWN, SIDE = 8, 112  # inputs, and pixels of each
ALIKE = 0.5  # the correlation from which on two attributes go together, so that neither drifts where the other is told


def condition(
    model: Model, images: np.ndarray, *, cond: np.ndarray, emphasis: float | Sequence[float] = 1.0
) -> dict[str, np.ndarray]:
    """Decodes the posterior means of images [B, H, W, C] under their own condition `cond` [B, n], and under n others.

    Of attributes, each in turn is told the other way round; of classes, all are told to be of each class in turn. They
    are told own + emphasis·(other − own), which beyond 1 is more than any example was told. Arrays, with S emphases:
    `emphasis` [S], `cond` [B, n], `latents` [B, Z], `reconstructions` [B, ...], `told` [S, n, B, n] and `outputs`
    [S, n, B, ...].
    """
    names, emphases = model.config.model.cond, draws.strengths(emphasis, field="emphasis")
    own = np.broadcast_to(np.float32(cond), (len(images), len(names)))
    others = np.tile(own, (len(names), 1, 1))
    for which in range(len(names)):
        if exclusive(names):
            others[which] = np.eye(len(names))[which]
        else:
            others[which, :, which] = 1 - own[:, which]
    told = own + emphases[:, None, None, None] * (others - own)
    z = nets.encode(model, images, own).mean
    return {
        "emphasis": emphases,
        "cond": own,
        "latents": z,
        "reconstructions": nets.decode(model, z, own),
        "told": told,
        "outputs": nets.decode(model, np.broadcast_to(z, (*told.shape[:2], *z.shape)), told),
    }


def _run(setting: Setting) -> Result:
    emphases = numbers("study.emphasis", setting.options.emphasis)
    arrays = condition(setting.model, setting.images, cond=setting.cond, emphasis=emphases)
    pictures = {f"condition_{each:g}": _picture(setting, arrays, s) for s, each in enumerate(emphases)}
    judge = read_judge(setting)
    if judge is None:
        note = "Whether pictures become what they are told was not judged: name a classifier (study.classifier)."
        return Result(arrays, pictures, {}, (note,))
    names, figures, apart = setting.config.model.cond, {}, {}
    examples = setting.examples("test", limit=setting.options.examples)
    images, people = as_the_net_takes_them(examples, setting.config.data), examples.columns.get("identity")
    for each in emphases:
        made = condition(setting.model, images, cond=examples.cond, emphasis=each)
        found = flips(judge, images, made, names=names)
        for name, verdicts in found.items():
            apart[name] = companions(setting.splits["train"], name, verdicts.others)
            figures |= _figures(name, verdicts, each, people, apart[name])
        if drifting := {name: verdicts for name, verdicts in found.items() if verdicts.drift.size}:
            pictures[f"drift_{each:g}"] = _drift(drifting, each)
    unjudged = (UNJUDGED.format(name) for name in names if name not in found)
    note = (
        f"Shares are of those among {len(images)} held-out pictures whose original the classifier judges right. Drift "
        "is the mean change of the probabilities of the other attributes that it can tell."
    )
    together = (
        f"{' and '.join(others)} count not as drift from {name}, as they go with it among the training examples "
        f"(a correlation of {ALIKE} or more)."
        for name, others in apart.items()
        if others
    )
    notes = (*unjudged, note, *together, people_note(people, "here"))
    return Result(arrays, pictures, figures, tuple(note for note in notes if note))


def companions(source: Source, name: str, others: Sequence[str]) -> tuple[str, ...]:
    """Those of `others` that go with the attribute `name` in `source`: a correlation of at least ALIKE, or −ALIKE."""
    columns = named_columns(source, (name, *others)).astype(np.float64)  # [N, 1 + O]
    with np.errstate(invalid="ignore", divide="ignore"):  # of an attribute that all have, or none
        correlation = np.atleast_2d(np.corrcoef(columns, rowvar=False))[0, 1:]
    return tuple(other for other, each in zip(others, correlation, strict=True) if abs(each) >= ALIKE)


def _figures(name, found, emphasis, people, apart):
    """The shares and the drift of one condition, as far as there are pictures for them."""
    far, every = f"emphasis {emphasis:g}", np.ones_like(found.asked)
    measured = [  # what, of which pictures
        (f"kept_{name}", found.kept, every, f"{name}: plain reconstruction judged as the original (share)"),
        (f"flips_{name}_{emphasis:g}", found.flipped, every, f"{name}: told otherwise, judged as told (share), {far}"),
        (f"flips_{name}_on_{emphasis:g}", found.flipped, found.asked, f"{name}: put on (share), {far}"),
        (f"flips_{name}_off_{emphasis:g}", found.flipped, ~found.asked, f"{name}: taken off (share), {far}"),
    ]
    counted = [other not in apart for other in found.others]
    if any(counted):
        drift = f"{name}: drift of the other attributes from the"
        plain, after, told = (
            each[:, counted].mean(axis=1) for each in (found.plain_drift, found.drift, found.told_drift)
        )
        measured += [
            (f"drift_{name}_plain", plain, every, f"{drift} original, plain reconstruction"),
            (f"drift_{name}_{emphasis:g}", after, every, f"{drift} original, told otherwise, {far}"),
            (f"told_drift_{name}_{emphasis:g}", told, every, f"{drift} plain reconstruction, told otherwise, {far}"),
        ]
    who = None if people is None else people[found.seen]
    return {
        key: figure(values[which], label, people=None if who is None else who[which])
        for key, values, which, label in measured
        if which.any()
    }


def _picture(setting, arrays, s):
    """A row for each input: itself, decoded as it is, and under each other condition."""
    names, emphasis, tiles, captions = setting.config.model.cond, arrays["emphasis"][s], [], []
    for b, name in enumerate(setting.inputs.names[:SHOWN]):
        tiles += [setting.images[b], arrays["reconstructions"][b], *arrays["outputs"][s, :, b]]
        told = zip(names, arrays["cond"][b], strict=True)
        captions += [name, "decoded", *(_caption(*each, emphasis) for each in told)]
    pixels = grids.grid(np.stack(tiles), len(names) + 2, captions=captions, min_side=SIDE)
    how = "as each class" if exclusive(names) else f"with one of {', '.join(names)} the other way round (+ on, − off)"
    alt = f"Inputs, what they decode to under their own condition, and {how}, emphasis {emphasis:g}."
    return Picture(pixels, alt)


def _caption(name, value, emphasis):
    sign = "" if exclusive([name]) else "−" if value > 0.5 else "+"
    return f"{sign}{name}{_times(emphasis)}"


def _times(emphasis):
    return "" if emphasis == 1 else f" ×{emphasis:g}"


def _drift(found, emphasis):
    """The mean drift of each attribute that is told, under each condition and in the plain reconstruction."""
    shown = sorted({other for each in found.values() for other in each.others})
    place = {name: y for y, name in enumerate(reversed(shown))}
    with plotted(width=9, height=1.2 + 0.24 * len(shown)) as (plot, (ax,)):
        for number, (name, each) in enumerate(found.items()):
            y = [place[other] for other in each.others]
            color, label = CLASSES[2 * number % len(CLASSES)], f"{name} told otherwise{_times(emphasis)}"
            ax.plot(each.drift.mean(axis=0), y, "o", color=color, markersize=5, label=label)
            plain = "plain reconstruction" if number == 0 else None
            ax.plot(each.plain_drift.mean(axis=0), y, "|", color=GREY, markersize=11, markeredgewidth=2, label=plain)
        ax.set_yticks(range(len(shown)), reversed(shown), fontsize=9)
        ax.set(xlabel="mean change of the probability from the original", ylim=(-0.7, len(shown) - 0.3))
        ax.set_xlim(left=0)
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    what = "How far the classifier's probability of each other attribute moves from the original"
    return Picture(plot.pixels, f"{what}, under each condition told, emphasis {emphasis:g}, and plainly reconstructed.")


def _check(setting: Setting) -> None:
    if not setting.config.model.cond:
        raise UserError("The study condition needs a run that is told conditions, and model.cond of this one is ().")
    check_classifier(setting)
    if setting.options.classifier:
        judged = min(setting.options.examples, len(setting.splits["test"]))
        check_size(setting, len(setting.config.model.cond) * judged, field="study.examples")


STUDY = Study(
    name="condition",
    title="The same picture under another condition",
    chapter=story.MADE_FROM_IT,
    function=condition,
    run=_run,
    check=_check,
)

"""Whether pictures decoded under another condition show it, and what else changed, by the verdicts of a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vae_jax.data.named import exclusive
from vae_jax.studies.classifier import Judge


@dataclass(frozen=True)
class Flips:
    """Of the N pictures that were told another value of one condition, and whose own value the judge sees.

    Drift is the absolute change of a probability, of the O other attributes that the judge can tell and that nobody
    was told otherwise.
    """

    seen: np.ndarray  # [B] bool: which of the given pictures they are
    asked: np.ndarray  # [N] bool: what they were told
    flipped: np.ndarray  # [N] bool: whether they are judged so
    kept: np.ndarray  # [N] bool: whether their plain reconstructions are judged as the originals: of the same class
    others: tuple[str, ...]  # [O]
    plain_drift: np.ndarray  # [N, O] from the original to the plain reconstruction
    drift: np.ndarray  # [N, O] from the original to what was told otherwise
    told_drift: np.ndarray  # [N, O] from the plain reconstruction to what was told otherwise


def flips(
    judge: Judge, images: np.ndarray, made: Mapping[str, np.ndarray], *, names: Sequence[str]
) -> dict[str, Flips]:
    """For each of the n conditions `names` that the judge can tell.

    `made` is what `condition` gives of the images with one emphasis.
    """
    (told_each,), (outputs,) = made["told"], made["outputs"]
    before, plain, after = judge(images), judge(made["reconstructions"]), judge(outputs)  # [..., B, A]
    found = {}
    for which, name in enumerate(names):
        a, told = judge.column(name), told_each[which]
        if a is None:
            continue
        further = told[:, which] - made["cond"][:, which]
        asked = further > 0
        seen = (further != 0) & _judged_as_they_are(judge, before, made["cond"], names, which)
        changed = {names[k] for k in np.flatnonzero((told != made["cond"]).any(axis=0))}
        others = [i for i, other in enumerate(judge.names) if judge.reliable[i] and other not in changed]
        found[name] = Flips(
            seen=seen,
            asked=asked[seen],
            flipped=(judge.verdicts(after[which])[:, a] == asked)[seen],
            kept=_judged_as_they_are(judge, plain, made["cond"], names, which)[seen],
            others=tuple(judge.names[i] for i in others),
            plain_drift=np.abs(plain - before)[seen][:, others],
            drift=np.abs(after[which] - before)[seen][:, others],
            told_drift=np.abs(after[which] - plain)[seen][:, others],
        )
    return found


def _judged_as_they_are(
    judge: Judge, probabilities: np.ndarray, cond: np.ndarray, names: Sequence[str], which: int
) -> np.ndarray:
    """Whether pictures are judged as number `which` of their conditions says, or as the class that they are: [B]."""
    concerned = range(len(names)) if exclusive(names) else (which,)
    places = {k: judge.names.index(names[k]) for k in concerned if names[k] in judge.names}
    return (judge.verdicts(probabilities)[:, list(places.values())] == (cond[:, list(places)] > 0.5)).all(axis=1)

"""Whether pictures decoded under another condition show it, and what else changed, by the verdicts of a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vae_jax.studies.classifier import Judge


@dataclass(frozen=True)
class Flips:
    """Of the N pictures that were told another value of one condition, and whose own value the judge sees.

    Drift is the absolute change of a probability from the original picture's, of the O other attributes that the judge
    can tell and that nobody was told otherwise.
    """

    asked: np.ndarray  # [N] bool: what they were told
    flipped: np.ndarray  # [N] bool: whether they are judged so
    kept: np.ndarray  # [N] bool: whether their plain reconstructions are judged as the originals
    others: tuple[str, ...]  # [O]
    drift: np.ndarray  # [N, O] of what was told otherwise
    plain_drift: np.ndarray  # [N, O] of the plain reconstruction


def flips(
    judge: Judge, images: np.ndarray, made: Mapping[str, np.ndarray], *, names: Sequence[str]
) -> dict[str, Flips]:
    """For each of the n conditions `names` that the judge can tell; `made` is what `condition` gives of the images."""
    before, plain, after = judge(images), judge(made["reconstructions"]), judge(made["outputs"])  # [..., B, A]
    found = {}
    for which, name in enumerate(names):
        if name not in judge.names or not judge.reliable[judge.names.index(name)]:
            continue
        a, told = judge.names.index(name), made["told"][which]
        asked, own = told[:, which] > 0.5, made["cond"][:, which] > 0.5
        seen = (asked != own) & (judge.verdicts(before)[:, a] == own)
        changed = {names[k] for k in np.flatnonzero((told != made["cond"]).any(axis=0))}
        others = [i for i, other in enumerate(judge.names) if judge.reliable[i] and other not in changed]
        found[name] = Flips(
            asked=asked[seen],
            flipped=(judge.verdicts(after[which])[:, a] == asked)[seen],
            kept=(judge.verdicts(plain)[:, a] == own)[seen],
            others=tuple(judge.names[i] for i in others),
            drift=np.abs(after[which] - before)[seen][:, others],
            plain_drift=np.abs(plain - before)[seen][:, others],
        )
    return found

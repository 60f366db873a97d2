"""Whether an error differs between groups of examples: intervals that resample people, and Holm's correction."""

from dataclasses import dataclass

import numpy as np
from jax.scipy.special import betainc

RESAMPLES = 2000
LEAST_PEOPLE, LEAST_PICTURES = 5, 20  # in a group, and outside of it, to be judged
COVERED = (2.5, 97.5)  # per cent: the ends of the interval


@dataclass(frozen=True)
class Differences:
    """For G groups: the mean error of those within less that of the others, and how sure that is."""

    difference: np.ndarray  # [G]
    low: np.ndarray  # [G], of the 95% interval
    high: np.ndarray  # [G]
    stderr: np.ndarray  # [G]
    p: np.ndarray  # [G], after Holm's correction over the groups that are judged; NaN for the others
    pictures: np.ndarray  # [G] within
    people: np.ndarray  # [G] within
    judged: np.ndarray  # [G] bool


def differences(errors: np.ndarray, within: np.ndarray, people: np.ndarray, *, seed: int = 0) -> Differences:
    """Compares errors [N] within and outside of groups [N, G] of 0 and 1; `people` [N] says who is in each picture.

    The interval is a bootstrap over people (pictures of one person are not independent), and p is two-sided from its
    standard error by Student's t with two degrees of freedom fewer than there are people. A group of too few people or
    pictures, or with too few outside of it, is not judged.
    """
    _, person = np.unique(people, return_inverse=True)
    inside = within.astype(np.float64)
    count = person.max() + 1
    sizes, sums = np.zeros((2, count, inside.shape[1])), np.zeros((2, count, inside.shape[1]))
    for side, members in enumerate((1 - inside, inside)):
        np.add.at(sizes[side], person, members)
        np.add.at(sums[side], person, members * errors[:, None])
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)  # [R, people]
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample without anyone of a group is left out
        means = (drawn @ sums) / (drawn @ sizes)  # [2, R, G]
        difference = np.diff(sums.sum(axis=1) / sizes.sum(axis=1), axis=0)[0]
    resampled = means[1] - means[0]
    has_people, has_pictures = (sizes > 0).sum(axis=1), sizes.sum(axis=1)  # [2, G]
    judged = (has_people.min(axis=0) >= LEAST_PEOPLE) & (has_pictures.min(axis=0) >= LEAST_PICTURES)
    low, high, stderr = (np.full(len(judged), np.nan) for _ in range(3))
    if judged.any():
        low[judged], high[judged] = np.nanpercentile(resampled[:, judged], COVERED, axis=0)
        stderr[judged] = np.nanstd(resampled[:, judged], axis=0)
    p = np.full(len(judged), np.nan)
    p[judged] = holm(two_sided_p(difference[judged] / stderr[judged], freedom=count - 2))
    return Differences(difference, low, high, stderr, p, has_pictures[1].astype(int), has_people[1].astype(int), judged)


def two_sided_p(t: np.ndarray, *, freedom: int) -> np.ndarray:
    """P(|T| ≥ |t|) for Student's T with `freedom` degrees of freedom, by the incomplete beta function."""
    return np.asarray(betainc(freedom / 2, 0.5, freedom / (freedom + np.square(t))), np.float64)


def holm(p: np.ndarray) -> np.ndarray:
    """p values [T] corrected for T tests (Holm, 1979): the k-th smallest times T − k + 1, never falling, at most 1."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1)
    return corrected

"""How much of a label the latents tell: k nearest neighbours and a linear probe, cross-validated."""

from dataclasses import dataclass

import numpy as np

NEIGHBOURS, FOLDS = 5, 5


@dataclass(frozen=True)
class Probed:
    """Whether each of N examples was told right by each way, and the share of the most frequent label."""

    knn: np.ndarray  # [N] 0 or 1
    linear: np.ndarray  # [N] 0 or 1
    majority: float


def probe(latents: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0) -> Probed | None:
    """Predicts labels [N] from latents [N, Z] in FOLDS folds; with `groups` [N] (people) none is in two folds.

    None where a label is too rare to be in every fold, or there is but one (of the people that are learnt from).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or counts.min() < FOLDS:
        return None
    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    folds = list(kind(FOLDS, shuffle=True, random_state=seed).split(latents, labels, groups))
    if any(len(np.unique(labels[train])) < 2 for train, _ in folds):
        return None
    right = [
        (cross_val_predict(model, latents, labels, cv=folds) == labels).astype(np.float64)
        for model in (
            KNeighborsClassifier(NEIGHBOURS),
            make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        )
    ]
    return Probed(*right, majority=counts.max() / len(labels))

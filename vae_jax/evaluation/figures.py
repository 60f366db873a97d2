"""A figure: the mean of per-example values with its standard error, and how a reader should read it."""

import math

import numpy as np


def figure(values: np.ndarray, label: str, unit: str = "", *, people: np.ndarray | None = None) -> dict:
    """The mean of [N] values in float64 and its standard error (0 where there is one value, or one person).

    Where `people` [N] says who is in each picture, those of one person are taken together, as they are not independent:
    √(G/(G − 1) Σ_g (Σ_{i∈g} xᵢ − mean)²)/N over G people (Liang & Zeger, 1986). That is s/√N if everyone is there once.
    """
    values = values.astype(np.float64)
    people = np.arange(len(values)) if people is None else people
    _, person = np.unique(people, return_inverse=True)
    count, mean = person.max() + 1, float(values.mean())
    spread = math.sqrt(count / (count - 1) * np.square(np.bincount(person, values - mean)).sum()) if count > 1 else 0.0
    return {"mean": mean, "stderr": spread / len(values), "examples": len(values), "label": label, "unit": unit}


def people_note(people: np.ndarray | None, where: str) -> str:
    """What a reader must know of such standard errors `where` they are; "" if nobody knows who is in the pictures."""
    if people is None:
        return ""
    return (
        f"Standard errors {where} take the pictures of one person together: there are {len(np.unique(people))} people."
    )

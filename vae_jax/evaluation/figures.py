"""A figure: the mean of per-example values with its standard error, and how a reader should read it."""

import math

import numpy as np


def figure(values: np.ndarray, label: str, unit: str = "") -> dict:
    """The mean of [N] values in float64 and its standard error s/√N (0 for one value)."""
    spread = float(values.std(ddof=1, dtype=np.float64)) if len(values) > 1 else 0.0
    return {
        "mean": float(values.mean(dtype=np.float64)),
        "stderr": spread / math.sqrt(len(values)),
        "examples": len(values),
        "label": label,
        "unit": unit,
    }

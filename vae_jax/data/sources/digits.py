"""The 1,797 handwritten digits of 8×8 pixels that come with scikit-learn."""

import numpy as np
from ml_collections import ConfigDict
from sklearn.datasets import load_digits

from vae_jax.data.source import ArraySource


def open_splits(config: ConfigDict) -> dict[str, ArraySource]:
    """All of them as "train", float32 [1797, 8, 8, 1]: scikit-learn names no test split."""
    digits = load_digits()
    images = digits.images[..., None].astype(np.float32) / 16
    return {"train": ArraySource(images, digits.target, tuple(map(str, digits.target_names)))}

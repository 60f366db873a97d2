"""The training example nearest to a picture, by squared distance over the pixels, over a training set of any size."""

from dataclasses import dataclass

import numpy as np

from vae_jax.studies.inputs import as_the_net_takes_them, read_split
from vae_jax.studies.study import Setting

CHUNK = 4096  # training examples held at once


@dataclass(frozen=True)
class Nearest:
    """Of N pictures: the number of the nearest training example, its pixels, and the squared distance per pixel."""

    index: np.ndarray  # [N]
    images: np.ndarray  # [N, ...]
    distance: np.ndarray  # [N]


def nearest(setting: Setting, images: np.ndarray) -> Nearest:
    """The training examples nearest to images [N, ...]."""
    source, flat = setting.splits["train"], images.reshape(len(images), -1)
    index, distance, found = np.zeros(len(flat), int), np.full(len(flat), np.inf), np.zeros_like(images)
    for start in range(0, len(source), CHUNK):
        chunk = read_split(source, "train", np.arange(start, min(start + CHUNK, len(source))))
        known = as_the_net_takes_them(chunk, setting.config.data)
        each = known.reshape(len(known), -1)
        squares = np.square(flat).sum(1)[:, None] + np.square(each).sum(1) - 2 * flat @ each.T  # [N, chunk]
        best = squares.argmin(axis=1)
        lowest = squares[np.arange(len(flat)), best]
        nearer = lowest < distance
        index[nearer], distance[nearer] = start + best[nearer], lowest[nearer]
        found[nearer] = known[best[nearer]]
    return Nearest(index, found, np.maximum(distance, 0) / flat.shape[1])

"""Whether a picture that was filled in shows its class again, as told by its nearest neighbours in training."""

from dataclasses import dataclass

import numpy as np

from vae_jax.report.figures import GREY
from vae_jax.studies.inputs import as_the_net_takes_them, read_split
from vae_jax.studies.plots import HEAT, plotted
from vae_jax.studies.study import Picture, Setting

NEIGHBOURS, REFERENCE = 5, 10_000  # training pictures that classes are told by


@dataclass(frozen=True)
class Restored:
    """For N pictures: whether the class is told right after filling in, and before hiding; [true, told] counts."""

    right: np.ndarray  # [N] 0 or 1
    right_before: np.ndarray  # [N] 0 or 1
    confusion: np.ndarray  # [classes, classes], of the filled-in pictures


def restored_classes(setting: Setting, images: np.ndarray, filled: np.ndarray, labels: np.ndarray) -> Restored:
    """The classes of whole and filled-in pictures [N, ...], told by training pictures after the first `study.examples`.

    Those before them may be the very pictures that are looked at.
    """
    from sklearn.neighbors import KNeighborsClassifier

    source = setting.splits["train"]
    first = min(setting.options.examples, len(source) // 2)
    reference = read_split(source, "train", np.arange(first, min(first + REFERENCE, len(source))))
    known = as_the_net_takes_them(reference, setting.config.data)
    classifier = KNeighborsClassifier(NEIGHBOURS).fit(known.reshape(len(known), -1), reference.columns["label"])
    before, after = (classifier.predict(each.reshape(len(each), -1)) for each in (images, filled))
    size = int(source.columns["label"].max()) + 1
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (labels, after), 1)
    return Restored((after == labels).astype(np.float64), (before == labels).astype(np.float64), counts)


def confusion(found: Restored, classes: tuple[str, ...]) -> Picture:
    """The confusion as a heat map of shares within each true class, with the counts written in."""
    counts = found.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = classes or tuple(map(str, range(len(counts))))
    with plotted(width=7, height=6.2) as (plot, (ax,)):
        ax.imshow(shares, cmap=HEAT, vmin=0, vmax=1)
        for true, row in enumerate(counts):
            for told, count in enumerate(row):
                if count:
                    color = "black" if shares[true, told] > 0.6 else "white"
                    ax.text(told, true, str(count), ha="center", va="center", color=color, fontsize=9)
        ax.set_xticks(range(len(names)), names)
        ax.set_yticks(range(len(names)), names)
        ax.set(title="Test pictures, filled in", xlabel="told as", ylabel="true class")
        ax.tick_params(color=GREY)
        ax.grid(False)
    alt = "Confusion of the classes of filled-in test pictures: the true class down, the class they are told as across."
    return Picture(plot.pixels, alt)

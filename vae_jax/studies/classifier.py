"""A trained classifier of attributes as a judge of pictures, who does not judge what it can't tell."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_jax.errors import UserError
from vae_jax.inference import load_model
from vae_jax.studies.study import Setting

CHUNK = 64
MARGIN = 0.02  # that its accuracy must have above that of the majority class


@dataclass(frozen=True)
class Judge:
    """A classifier with what it is worth on held-out examples, for its A attributes."""

    classifier: object  # predict(images [B, H, W, C]) -> probabilities [B, A]; names [A]
    accuracy: np.ndarray  # [A]
    majority: np.ndarray  # [A]: the accuracy of always saying what is more frequent

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.classifier.names)

    @property
    def reliable(self) -> np.ndarray:
        """Which attributes it can tell, bool [A]."""
        return self.accuracy > self.majority + MARGIN

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The probability of each attribute for images [..., H, W, C] in [0, 1]: [..., A]."""
        return predict(self.classifier, images)


def predict(classifier, images: np.ndarray) -> np.ndarray:
    """What `classifier` says of images [..., H, W, C]: [..., A], in chunks."""
    flat = images.reshape(-1, *images.shape[-3:])
    told = [np.asarray(classifier.predict(flat[i : i + CHUNK])) for i in range(0, len(flat), CHUNK)]
    return np.concatenate(told).reshape(*images.shape[:-3], -1)


def read_classifier(workdir: str):
    """The classifier whose run folder `study.classifier` names; UserError where it is none."""
    try:
        classifier = load_model(Path(workdir))
    except UserError as error:
        raise UserError(f"study.classifier is {workdir!r}: {error}") from error
    if not hasattr(classifier, "predict"):
        raise UserError(f"study.classifier is {workdir!r}, which is no run of a classifier; train one of attributes.")
    return classifier


def read_judge(setting: Setting) -> Judge | None:
    """The judge that `study.classifier` names, tried on the test split; None where it names none."""
    if not setting.options.classifier:
        return None
    classifier = read_classifier(setting.options.classifier)
    examples, known = setting.examples("test", limit=setting.options.examples), setting.splits["test"].features
    told = predict(classifier, examples.pixels) > 0.5
    columns = [known.attributes.index(name) for name in classifier.names]
    true = examples.columns["attributes"][:, columns].astype(bool)
    share = true.mean(axis=0)
    return Judge(classifier, (told == true).mean(axis=0), np.maximum(share, 1 - share))


def check_classifier(setting: Setting) -> None:
    """UserError where `study.classifier` names what can't judge this run's pictures."""
    if not setting.options.classifier:
        return
    classifier = read_classifier(setting.options.classifier)
    known = setting.splits["test"].features.attributes
    missing = [name for name in classifier.names if name not in known]
    if missing:
        raise UserError(
            f"study.classifier is {setting.options.classifier!r}, which tells {missing[0]!r}, and the data of this run "
            f"have no such attribute to try it on (known: {', '.join(known) or 'none'})."
        )

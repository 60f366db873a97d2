"""A trained classifier of attributes or classes as a judge of pictures, who does not judge what it can't tell."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_jax.data.named import known_names, named_columns
from vae_jax.errors import UserError
from vae_jax.evaluation.classification import decided, tell
from vae_jax.inference import load_model
from vae_jax.studies.inputs import as_the_net_takes_them
from vae_jax.studies.study import Setting

CHUNK = 64
UNJUDGED = "{} is not judged: the classifier does not know it, or no better than always saying what is more frequent."


@dataclass(frozen=True)
class Judge:
    """A classifier with what it is worth on held-out examples, for its A attributes."""

    classifier: object  # predict(images [B, H, W, C]) -> probabilities [B, A]; names [A]
    accuracy: np.ndarray  # [A]
    majority: np.ndarray  # [A]: the accuracy of the better constant answer on the same examples
    reliable: np.ndarray  # [A] bool: which it can tell, as `evaluation.classification.tell` has it

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.classifier.names)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """The probability of each attribute for images [..., H, W, C] in [0, 1]: [..., A]."""
        return predict(self.classifier, images)

    def column(self, name: str) -> int | None:
        """The place of a name among the A; None for what it can't tell."""
        place = self.names.index(name) if name in self.names else None
        return place if place is not None and self.reliable[place] else None

    def verdicts(self, probabilities: np.ndarray) -> np.ndarray:
        """What probabilities [N, A] come to, bool [N, A]."""
        return decided(probabilities, names=self.names)


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
    examples, names = setting.examples("test", limit=setting.options.examples), tuple(classifier.names)
    true = named_columns(setting.splits["test"], names)[: len(examples)] > 0
    images = as_the_net_takes_them(examples, setting.config.data)
    people = examples.columns.get("identity")
    told = tell(true, decided(predict(classifier, images), names=names), names=names, people=people)
    accuracy, majority, reliable = (
        np.array([target[key] for target in told]) for key in ("accuracy", "majority", "told")
    )
    return Judge(classifier, accuracy, majority, reliable)


def check_classifier(setting: Setting) -> None:
    """UserError where `study.classifier` names what can't judge this run's pictures."""
    if not setting.options.classifier:
        return
    classifier = read_classifier(setting.options.classifier)
    if classifier.shape != setting.model.shape:
        raise UserError(
            f"study.classifier is {setting.options.classifier!r}, which judges examples of {classifier.shape}; this "
            f"run's are {setting.model.shape}."
        )
    known = known_names(setting.splits["test"])
    missing = [name for name in classifier.names if name not in known]
    if missing:
        raise UserError(
            f"study.classifier is {setting.options.classifier!r}, which tells {missing[0]!r}, and the data of this run "
            f"have no such thing to try it on (known: {', '.join(known) or 'none'})."
        )

"""The evaluation of a classifier on one split: how often each target is told right, beside a constant answer."""

import numpy as np

from vae_jax import cluster
from vae_jax.data.named import exclusive
from vae_jax.evaluation.figures import figure
from vae_jax.evaluation.held_out import over_split
from vae_jax.run import Run, write_json
from vae_jax.state import Variables

SURE = 2  # standard errors by which a target must be told better than by the majority, for it to count as told


def evaluate_classifier(run: Run, variables: Variables, about: dict) -> dict:
    """Evaluates the split of `about` and writes studies/evaluation; returns what its meta.json holds, beside `about`.

    "targets" has an entry for each attribute or class: see `tell`.
    """
    config, source = run.config, run.splits[about["split"]]
    values = over_split(
        lambda batch: run.steps.evaluate(variables, batch, run.steps.weights),
        source,
        batch_size=config.eval.batch_size,
        mesh=run.mesh,
    )
    truth, people = source.columns["target"] > 0, source.columns.get("identity")  # [N, A], [N]
    said = decided(values["probabilities"], names=config.model.target)
    meta = {
        **about,
        "headline": ["accuracy", "majority", "loss"],
        "figures": {
            "accuracy": figure(values["accuracy"], "Accuracy", people=people),
            "majority": _majority(truth, people, names=config.model.target),
            "loss": figure(values["loss"], "Loss, as trained", "nats", people=people),
        },
        "targets": tell(truth, said, names=config.model.target, people=people),
    }
    if cluster.is_first():
        folder = run.study("evaluation")
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "arrays.npz", probabilities=values["probabilities"], target=truth)
        write_json(folder / "meta.json", meta)
    return meta


def _majority(truth, people, *, names):
    """The figure of the best answer that is the same for all examples of truth [N, A]."""
    agrees = truth == decided(truth.mean(axis=0)[None], names=names)
    if exclusive(names):
        label = "Accuracy of always saying this split's most frequent class"
        return figure(agrees.all(axis=1), label, people=people)
    label = "Accuracy of always saying of each what is more frequent in this split"
    return figure(agrees.mean(axis=1), label, people=people)


def decided(probabilities: np.ndarray, *, names: tuple[str, ...]) -> np.ndarray:
    """What probabilities [N, A] say: the likeliest class alone, or every attribute above a half: bool [N, A]."""
    if exclusive(names):
        return np.arange(len(names)) == probabilities.argmax(axis=1)[:, None]
    return probabilities > 0.5


def tell(
    truth: np.ndarray, said: np.ndarray, *, names: tuple[str, ...], people: np.ndarray | None = None
) -> list[dict]:
    """How each target is told, for truth and answers [N, A]; `people` [N] says who is in each picture.

    Of each: the "share" p of examples that have it, the "accuracy", that of the "majority" (the better of always yes
    and always no on these examples, max(p, 1 - p)), the "balanced_accuracy" (the mean over those that have it and those
    that don't; None where one of these is empty), and whether it is "told": more accurately than the majority by more
    than SURE standard errors of the difference (`figure`).
    """
    found = []
    for name, true, answer in zip(names, truth.T, said.T, strict=True):
        right, blind = true == answer, true == (true.mean() > 0.5)
        better = figure(right.astype(np.float64) - blind, "", people=people)
        groups = [right[true == value] for value in (False, True)]
        balanced = float(np.mean([group.mean() for group in groups])) if all(map(len, groups)) else None
        found.append(
            {
                "name": name,
                "share": float(true.mean()),
                "accuracy": float(right.mean()),
                "majority": float(blind.mean()),
                "balanced_accuracy": balanced,
                "told": better["mean"] > SURE * better["stderr"],
            }
        )
    return found

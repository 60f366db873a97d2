"""The evaluation of a run on one split: figures with standard errors, latent diagnostics, and pictures of it."""

import functools
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from vae_jax import cluster
from vae_jax.evaluation.classification import evaluate_classifier
from vae_jax.evaluation.figures import figure, people_note
from vae_jax.evaluation.held_out import evaluation_variables, over_split
from vae_jax.evaluation.images import image_metrics
from vae_jax.images import grids
from vae_jax.mesh import replicated
from vae_jax.objectives import objective
from vae_jax.objectives.feature_distance import feature_distance
from vae_jax.progress import say
from vae_jax.run import Run, write_json
from vae_jax.state import TrainState, Variables

ACTIVE_VARIANCE = 0.01  # of the posterior mean over the data: what makes a latent dimension active
UNREACHED = 0.1  # of the images' range, beyond which a decoder that never comes there is told of
SHOWN = 32
COLUMNS = 8
RANGES = ("reconstruction_low", "reconstruction_high", "image_low", "image_high")

BOUND_LABELS = {
    objective.ELBO: "ELBO",
    objective.BOUND: "Bound for dynamically binarised images, on grey ones",
}
IMPORTANCE_BOUND = "importance_bound"  # of grey images: a tighter bound of what their Bernoulli bound is one of
NOTES = {
    objective.ELBO: "The ELBO is a lower bound of log p(x), at β = 1 whatever the training's weights.",
    objective.BOUND: "Bernoulli on grey images is no density of them: the bound is one for their binarised draws.",
    objective.LOSS: "What is trained is no bound of a density of these data, so there is no ELBO.",
}
CORRUPTION_NOTES = {
    "none": "",
    "noise": "The net sees each picture under one seeded draw of noise; every figure is of the picture without it.",
    "box": "The net sees each picture with a box over it, one seeded draw; every figure is of the whole picture.",
    "patches": "The net sees some patches of each picture, one seeded draw; every figure is of the whole picture.",
}
OBJECTIVE_NOTE = "The objective weighs the reconstruction or names a perceptual net: its sum is a loss and no ELBO."
CONDITION_NOTE = "The model is told {} of each picture: bounds and likelihoods are of pictures given these."
WEIGHT_NOTE = "A masked pixel counts {} times in the reconstruction, so the sum is a loss and there is no ELBO."
RANGE_NOTE = (
    "No reconstructed pixel lies below {:.3f} or above {:.3f}, though the images run from {:.3f} to {:.3f}: either the "
    "decoder can't come there (has it an activation before its last one?) and all pictures have a cast, or it is "
    "hardly trained."
)
TRAINED_ON_NOTE = "The net was trained on these examples: no figure here is a held-out one."
BINARIZATION_NOTES = {
    "dynamic": "Held-out images are one seeded Bernoulli draw, which is what published figures are for.",
    "threshold": "Images are thresholded at 0.5: such figures don't compare with those on Bernoulli draws.",
    "none": "",
}


def held_out_means(run: Run, variables: Variables, split: str) -> dict[str, float]:
    """The means over `split` of the losses that training watches, at the objective's final weights."""
    values = over_split(
        lambda batch: run.steps.evaluate(variables, batch, run.steps.weights),
        run.splits[split],
        batch_size=run.config.eval.batch_size,
        mesh=run.mesh,
    )
    return {name: float(value.mean(dtype=np.float64)) for name, value in values.items() if value.ndim == 1}


def evaluate(run: Run, state: TrainState, *, split: str, checkpoint: str) -> dict:
    """Evaluates `split` and writes studies/evaluation; returns what its meta.json holds.

    Everything is a mean over examples with its standard error, which takes the pictures of one person together. Active
    units: Burda et al. (2016), the dimensions whose posterior mean has a variance above 0.01 over the data. A
    classifier has an evaluation of its own.
    """
    config, steps = run.config, run.steps
    variables = evaluation_variables(state, ema=config.eval.ema)
    options = {"batch_size": config.eval.batch_size, "mesh": run.mesh}
    source = run.splits[split]
    about = {
        **run.study_record(step=int(state.step), checkpoint=checkpoint, seed=config.seed),
        "split": split,
        "held_out": held_out(config, split),
        "examples": len(source),
        "notes": _notes(run, split),
        "warnings": [],
    }
    say(f"{run.name}: evaluating the {len(source):,} examples of the {split} split")
    if config.model.target:
        return evaluate_classifier(run, variables, about)
    values = over_split(lambda batch: steps.evaluate(variables, batch, steps.weights), source, **options)
    values |= over_split(_reconstruction_metrics(run, variables), source, **options)
    kl_per_dimension = values.pop("kl_per_dimension", None)
    latent_mean = values.pop("latent_mean")
    warnings = _range_warnings({name: values.pop(name) for name in RANGES if name in values})
    people = source.columns.get("identity")
    figures = {name: _figure(name, value, people) for name, value in values.items()}
    if config.eval.importance_samples:
        nll = over_split(
            lambda batch: {"nll": steps.importance(variables, batch, samples=config.eval.importance_samples)},
            source,
            limit=config.eval.importance_examples,
            **options,
        )["nll"]
        figures |= _importance(nll, steps.bound, people, config.eval.importance_samples, len(source))
    headline = [name for name in (steps.bound, "nll", IMPORTANCE_BOUND, "psnr", "mse", "kl") if name in figures][:3]
    meta = {
        **about,
        "headline": headline,
        "figures": figures,
        "active_units": int((latent_mean.var(axis=0) > ACTIVE_VARIANCE).sum()),
        "latent": config.model.latent,
        "notes": [*about["notes"], *warnings],
        "warnings": warnings,
    }
    pictures = reconstruction_grid(run, variables, split)
    if cluster.is_first():
        _write(run.study("evaluation"), meta, pictures, kl_per_dimension)
    return meta


def reconstruction_grid(run: Run, variables: Variables, split: str, *, count: int = SHOWN) -> dict[str, np.ndarray]:
    """What `Steps.reconstruct` gives of the first `count` examples: [n, ...] each."""
    return over_split(
        lambda batch: run.steps.reconstruct(variables, batch),
        run.splits[split],
        batch_size=run.config.eval.batch_size,
        mesh=run.mesh,
        limit=count,
    )


def _reconstruction_metrics(run: Run, variables: Variables):
    @functools.partial(jax.jit, out_shardings=replicated(run.mesh))
    def measure(squeezenet, x, reconstruction):
        measured = image_metrics(x, reconstruction) | _ranges(x, reconstruction)
        if squeezenet is not None:
            measured["feature_distance"] = feature_distance(squeezenet, x, reconstruction)
        return measured

    def metrics(batch):
        pictures = run.steps.reconstruct(variables, batch)
        return measure(run.squeezenet, pictures["originals"], pictures["reconstructions"])

    return metrics


def _ranges(x: jax.Array, reconstruction: jax.Array) -> dict[str, jax.Array]:
    """The lowest and the highest value of each picture [B, H, W, C] and of its reconstruction: [B] each."""
    if x.ndim != 4:
        return {}
    axes = (1, 2, 3)
    values = (reconstruction.min(axes), reconstruction.max(axes), x.min(axes), x.max(axes))
    return dict(zip(RANGES, values, strict=True))


def _range_warnings(ranges: dict[str, np.ndarray]) -> list[str]:
    """A sentence where the reconstructions stay away from an end of the images' range."""
    if not ranges:
        return []
    low, high, x_low, x_high = (
        float(values.min() if "low" in name else values.max()) for name, values in ranges.items()
    )
    far = UNREACHED * (x_high - x_low)
    return [RANGE_NOTE.format(low, high, x_low, x_high)] if low - x_low > far or x_high - high > far else []


def _write(folder: Path, meta: dict, pictures: dict[str, np.ndarray], kl_per_dimension: np.ndarray | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    kl = {} if kl_per_dimension is None else {"kl_per_dimension": kl_per_dimension.mean(axis=0)}
    np.savez(folder / "arrays.npz", **kl, **pictures)
    if grids.showable(pictures["originals"].shape[1:]):
        grids.save_png(folder / "reconstructions.png", grids.comparison(**pictures, columns=COLUMNS))
    write_json(folder / "meta.json", meta)


def held_out(config: ConfigDict, split: str) -> bool:
    """Whether nothing of `split` is trained on."""
    return split != "train" and config.data.train_on != "all"


def _notes(run: Run, split: str) -> list[str]:
    data, told = run.config.data, run.config.model.cond
    notes = (
        "" if held_out(run.config, split) else TRAINED_ON_NOTE,
        _bound_note(run),
        CONDITION_NOTE.format(", ".join(told)) if told else "",
        BINARIZATION_NOTES[data.binarization],
        CORRUPTION_NOTES[data.corrupt.kind],
        people_note(run.splits[split].columns.get("identity"), "of the evaluation"),
    )
    return [note for note in notes if note]


def _bound_note(run: Run) -> str:
    """What the figure named `run.steps.bound` is."""
    if run.config.model.target:
        return ""
    if run.config.data.corrupt.weight != 1:
        return WEIGHT_NOTE.format(run.config.data.corrupt.weight)
    return OBJECTIVE_NOTE if objective.is_reweighted(run.config) else NOTES[run.steps.bound]


def _importance(nll: np.ndarray, bound: str, people: np.ndarray | None, samples: int, examples: int) -> dict:
    """The figure of the importance-weighted estimate: −log p(x), or on grey images a bound, which is no density."""
    how = f"{samples} importance samples"
    if len(nll) < examples:
        how += f", first {len(nll):,} examples"
    who = people if people is None else people[: len(nll)]
    if bound == objective.BOUND:
        return {IMPORTANCE_BOUND: figure(-nll, f"{BOUND_LABELS[bound]}, {how}", "nats", people=who)}
    return {"nll": figure(nll, f"−log p(x), {how}", "nats", people=who)}


def _figure(name: str, values: np.ndarray, people: np.ndarray | None) -> dict:
    label, unit = {
        "loss": ("Loss, as trained", "nats"),
        "reconstruction": ("Reconstruction", "nats"),
        "kl": ("KL(q ‖ p)", "nats"),
        "perceptual": ("Perceptual distance", "squared features"),
        "mse": ("Mean squared error", ""),
        "psnr": ("PSNR", "dB"),
        "ssim": ("SSIM", ""),
        "feature_distance": ("Feature distance, by SqueezeNet", ""),
        "detail": ("Power above half the Nyquist frequency, share of the original's", ""),
        **{bound: (text, "nats") for bound, text in BOUND_LABELS.items()},
    }[name]
    return figure(values, label, unit, people=people)

"""A run folder: which run it is, where its parts lie, and what must be the same when it goes on."""

import dataclasses
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path

from jax.sharding import Mesh
from ml_collections import ConfigDict

from vae_jax import __version__
from vae_jax.classifier_steps import ClassifierSteps
from vae_jax.config import default_config, differences, resolve
from vae_jax.data.balance import strata
from vae_jax.data.content import fingerprint
from vae_jax.data.named import Conditions, check_condition, conditions_of, with_named
from vae_jax.data.order import Order
from vae_jax.data.source import Source
from vae_jax.data.splits import open_splits
from vae_jax.data.transforms import check_examples
from vae_jax.disk import written_aside
from vae_jax.errors import UserError
from vae_jax.mesh import check_batch_size, make_mesh
from vae_jax.nn.squeezenet import SqueezeNet
from vae_jax.nn.vgg import Vgg
from vae_jax.objectives.feature_distance import open_squeezenet
from vae_jax.objectives.objective import LOSS, bound_name, is_reweighted
from vae_jax.objectives.perceptual import open_features
from vae_jax.progress import say
from vae_jax.step_counts import fill_in_step_counts
from vae_jax.steps import Steps
from vae_jax.train_steps import TrainSteps
from vae_jax.validation import check_shape


@dataclasses.dataclass(frozen=True)
class Run:
    """What training, evaluation and sampling share: the resolved config, the data, the devices and the functions.

    `order` says which training examples make the batch of a step. `given` is the config before its step counts were
    filled in, but for those of the schedule: what config.json keeps, so that a resumed run can be given other epochs.
    By `squeezenet`, if `eval.features` names one, reconstructions are measured.
    """

    workdir: Path
    name: str
    config: ConfigDict
    given: ConfigDict
    splits: dict[str, Source]
    order: Order
    mesh: Mesh
    steps: TrainSteps
    squeezenet: SqueezeNet | None = None

    @property
    def checkpoints(self) -> Path:
        return self.workdir / "checkpoints"

    @property
    def conditions(self) -> Conditions | None:
        """The conditions of the training examples, where the model is told any."""
        return conditions_of(self.splits["train"])

    def study(self, name: str) -> Path:
        return self.workdir / "studies" / name

    def study_record(self, *, step: int, checkpoint: str, seed: int) -> dict:
        """What meta.json of every study begins with: what would make it again."""
        return made_with(self.config, self.mesh, step=step, checkpoint=checkpoint, seed=seed)


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run folder says of its run: the name, the config, the shape of an example, the splits.

    `data` has the size of each split, `content` a number that changes with its images; both are empty where the
    weights were imported, for which the data need not be there. `conditions` are those of the training examples, for a
    conditional model.
    """

    name: str
    config: ConfigDict
    shape: tuple[int, ...]
    data: dict[str, int] = dataclasses.field(default_factory=dict)
    content: dict[str, int] = dataclasses.field(default_factory=dict)
    conditions: Conditions | None = None


def made_with(config: ConfigDict, mesh: Mesh, *, step: int, checkpoint: str, seed: int) -> dict:
    """What meta.json says of how something was made."""
    return {
        "step": step,
        "checkpoint": checkpoint,
        "seed": seed,
        "config": config.to_dict(),
        "devices": [str(device.device_kind) for device in mesh.devices.flat],
        "versions": _versions(),
    }


def open_run(workdir: Path, name: str, config: ConfigDict) -> Run:
    """Opens the data and the devices of a config, checks that all fits together and fills in the step counts.

    UserError, before anything compiles, for what does not fit. Nothing is written.
    """
    splits = open_data(config)
    shape = splits["train"].features.shape
    check_shape(config, shape)
    _check_bound(config, shape)
    check_condition("sample.cond", config.sample.cond, config.model.cond)
    features = open_features(config.perceptual, shape)
    squeezenet = open_squeezenet(config.eval.features, shape)
    mesh = make_mesh(config.mesh.devices, fsdp=config.mesh.fsdp)
    for field in ("train", "eval"):
        check_batch_size(config[field].batch_size, mesh, field=f"{field}.batch_size")
    given = config.copy_and_resolve_references()
    examples = len(splits["train"])
    order = Order(examples, config.train.batch_size, config.seed, strata(splits["train"], config.data))
    fill_in_step_counts(config, examples)
    given.optimizer.decay_steps = config.optimizer.decay_steps  # another schedule would be another run
    steps = make_steps(config, shape, mesh, features=features)
    return Run(workdir, name, config, given, splits, order, mesh, steps, squeezenet)


def make_steps(config: ConfigDict, shape: tuple[int, ...], mesh: Mesh, *, features: Vgg | None = None) -> TrainSteps:
    """The compiled functions of the kind of model that the config describes."""
    if config.model.target:
        return ClassifierSteps(config, shape, mesh)
    return Steps(config, shape, mesh, features=features)


def open_data(config: ConfigDict) -> dict[str, Source]:
    """Checks every value of a config and opens its data; UserError for what does not fit them. See `open_run`."""
    resolve(config)
    splits = open_splits(config.data)
    check_examples(config.data, splits["train"].features)
    return with_named(splits, config.model)


def read_record(workdir: Path) -> Record | None:
    """What config.json of the run in `workdir` says, or None where there is no run."""
    path = workdir / "config.json"
    if not path.exists():
        return None
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if lacking := [field for field in ("name", "config", "shape", "data", "content") if field not in saved]:
            raise ValueError(f"it lacks {', '.join(lacking)}")
        config = default_config()
        _update(config, saved["config"])
        conditions = Conditions(**saved["conditions"]) if saved.get("conditions") else None
        return Record(saved["name"], config, tuple(saved["shape"]), saved["data"], saved["content"], conditions)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a run's config ({error}); name another --workdir.") from error


def check_same_run(run: Run) -> None:
    """Raises UserError where `workdir` holds a run whose model, data, objective, seed, optimiser or batch differ.

    As many pictures of other content are told of, not refused: another version of a decoder gives others, too.
    """
    saved = read_record(run.workdir)
    if saved is None:
        return
    resolve(saved.config)
    changed = differences(run.config, saved.config)
    sizes = _split_sizes(run.splits)
    if run.steps.shape != saved.shape or (saved.data and sizes != saved.data):
        changed.append(f"the data: {_counted(saved.data, saved.shape)} → {_counted(sizes, run.steps.shape)}")
    if changed:
        raise UserError(
            f"{run.workdir} holds a run that differs in {'; '.join(changed)}; name another --workdir, or take these "
            f"fields back to resume it."
        )
    others = [name for name, content in contents(run.splits).items() if saved.content.get(name, content) != content]
    if others:
        say(f"{run.workdir}: the run began with other examples of the split {' and '.join(others)} than there are now")


def write_config(run: Run, command: str) -> None:
    """Writes config.json: the resolved config, the versions, the commit of the working folder, and the commands."""
    now = Record(run.name, run.given, run.steps.shape, _split_sizes(run.splits), contents(run.splits), run.conditions)
    write_record(run.workdir, now, mesh=run.mesh, command=command)


def write_record(workdir: Path, run: Record, *, mesh: Mesh, command: str) -> None:
    """Writes config.json. A resumed run keeps the command that began it and adds its own."""
    path = workdir / "config.json"
    commands = json.loads(path.read_text(encoding="utf-8"))["commands"] if path.exists() else []
    record = {
        "name": run.name,
        "config": run.config.to_dict(),
        "command": [*commands, command][0],
        "commands": [*commands, command],
        "versions": _versions(),
        "git": _git_commit(),
        "shape": list(run.shape),
        "data": run.data,
        "content": run.content,
        "conditions": run.conditions and run.conditions.as_lists(),
        "devices": [str(device.device_kind) for device in mesh.devices.flat],
    }
    try:
        write_json(path, record)
    except OSError as error:
        raise UserError(f"--workdir is {str(workdir)!r}, where no run can be written ({error.strerror}).") from error


def write_json(path: Path, record: dict) -> None:
    """Writes `record`, in which no number may be infinite or NaN."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    own = {"python": platform.python_version(), "vae_jax": __version__}
    return own | {package: importlib.metadata.version(package) for package in packages}


def _split_sizes(splits: dict[str, Source]) -> dict[str, int]:
    return {name: len(split) for name, split in splits.items()}


def contents(splits: dict[str, Source]) -> dict[str, int]:
    """Of each split a number that changes with its images."""
    return {name: fingerprint(split) for name, split in splits.items()}


def _counted(sizes: dict[str, int], shape: tuple[int, ...]) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in sizes.items())
    return f"{counts} of {'×'.join(map(str, shape))}"


def _check_bound(config: ConfigDict, shape: tuple[int, ...]) -> None:
    if not config.eval.importance_samples or bound_name(config, shape) != LOSS:
        return
    if config.data.corrupt.weight != 1:
        raise UserError(
            f"eval.importance_samples is {config.eval.importance_samples}, but with data.corrupt.weight="
            f"{config.data.corrupt.weight} what is trained is no bound of a density; set one of them to its default."
        )
    if is_reweighted(config):
        raise UserError(
            f"eval.importance_samples is {config.eval.importance_samples}, but with objective.reconstruction="
            f"{config.objective.reconstruction} and perceptual.weights={config.perceptual.weights!r} what is trained "
            "is no bound of a density; set it to 0, or these to their defaults."
        )
    raise UserError(
        f"eval.importance_samples is {config.eval.importance_samples}, but with model.posterior="
        f"{config.model.posterior!r}, model.likelihood={config.model.likelihood!r} and data.binarization="
        f"{config.data.binarization!r} there is no density of the data to estimate; set it to 0, or take a "
        f"likelihood that fits the data (bernoulli for binarised images, gaussian or laplace for the others)."
    )


def _update(config: ConfigDict, saved: dict) -> None:
    for name, value in saved.items():
        if isinstance(value, dict) and name not in ("encoder", "decoder"):
            _update(config[name], value)
        else:
            config[name] = _tuples(value)


def _tuples(value):
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _git_commit() -> str | None:
    """The commit checked out in the working folder; None where there is no git or no repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None

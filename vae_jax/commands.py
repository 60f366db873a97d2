"""What the modes of the command line do, in the order that a run folder needs."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from vae_jax import cluster, exporting
from vae_jax.checkpoint import Checkpoints
from vae_jax.compilation import use_compilation_cache
from vae_jax.config import differences, resolve
from vae_jax.disk import locked
from vae_jax.errors import StoppedError, UserError
from vae_jax.evaluation.evaluate import evaluate as evaluate_split
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import sample as sample_prior
from vae_jax.importing import import_weights
from vae_jax.inference import load_model
from vae_jax.mesh import make_mesh
from vae_jax.progress import say
from vae_jax.replicas import Group, as_replica, open_group, replica_values
from vae_jax.report.comparison import write_comparison
from vae_jax.report.data_summary import summarise
from vae_jax.report.data_text import as_text
from vae_jax.report.page import write_report
from vae_jax.report.text import plus_minus
from vae_jax.run import Record, Run, check_same_run, contents, open_data, read_record, write_config
from vae_jax.state import TrainState
from vae_jax.studies.opening import Asked
from vae_jax.studies.running import Made, run_studies
from vae_jax.train import train_together
from vae_jax.writer import METRICS


def saved_record(workdir: Path) -> Record:
    """What config.json of the run in `workdir` says; UserError where there is none."""
    saved = read_record(workdir)
    if saved is None:
        raise UserError(f"--workdir is {str(workdir)!r}, which holds no run (no config.json); train one with --config.")
    return saved


def train(workdir: Path, name: str, config: ConfigDict, *, command: str) -> None:
    """Trains, or resumes; then evaluates the test split, draws samples and writes the report, of every replica."""
    use_compilation_cache()
    group = _open_checked(workdir, name, config)
    for run in group.runs:
        _check_goes_on(run)
    with _alone_in(workdir):
        if cluster.is_first():
            for run in group.folders:
                write_config(run, command)
        _check_shared(group.whole)
        trained = train_together(group.runs)
    if not all(each.finished for each in trained):
        step = int(trained[0].state.step)
        raise StoppedError(f"Stopped at step {step}, which is saved. The same command resumes it:\n  {command}")
    for run, each in zip(group.runs, trained, strict=True):
        meta = evaluate_split(run, each.state, split="test", checkpoint="newest")
        if not run.config.model.target:
            _sample(run, each.state, checkpoint="newest")
        _print_figures(run, meta)
    report(workdir)


def evaluate(workdir: Path, config: ConfigDict, *, split: str, checkpoint: str) -> None:
    """Evaluates a checkpoint on a split, of every replica, and renews the report."""
    for run in _open_saved(workdir, config):
        meta = evaluate_split(run, restore(run, checkpoint), split=split, checkpoint=checkpoint)
        _print_figures(run, meta)
    report(workdir)


def sample(workdir: Path, config: ConfigDict, *, checkpoint: str) -> None:
    """Draws samples from a checkpoint, of every replica, and renews the report."""
    if config.model.target:
        raise UserError(
            f"--mode=sample, but {workdir} holds a classifier, which draws nothing; --mode=eval tells of it."
        )
    for run in _open_saved(workdir, config):
        _sample(run, restore(run, checkpoint), checkpoint=checkpoint)
        print(f"{config.sample.count} samples: {run.study('sample')}")
    report(workdir)


def study(workdir: Path, config: ConfigDict, asked: Asked, *, checkpoint: str, command: str) -> None:
    """Makes the studies that are asked for of a checkpoint, of every replica, and renews the report."""
    resolve(config)
    replicas = replica_values(saved_record(workdir).config)
    own = {workdir / name: as_replica(config, values) for name, values in replicas.items()} or {workdir: config}
    for folder, settings in own.items():
        run_studies(asked, folder, settings, made=Made(checkpoint, command))
    report(workdir)


def import_(
    workdir: Path, name: str, config: ConfigDict, weights: Sequence[str], *, partial: bool, command: str
) -> None:
    """Makes a run of weight files of another framework, and its report; see `import_weights`."""
    use_compilation_cache()
    import_weights(workdir, name, config, weights, partial=partial, command=command)
    report(workdir)


def export(workdir: Path, *, kind: str, checkpoint: str) -> None:
    """Writes the model of a checkpoint, of every replica, for others; see `exporting.export`."""
    exporting.check_format(kind)
    for folder in [workdir / replica for replica in replica_values(saved_record(workdir).config)] or [workdir]:
        for path in exporting.export(load_model(folder, checkpoint=checkpoint), folder, kind=kind):
            print(path)


def data(workdir: Path, name: str, config: ConfigDict) -> None:
    """Prints and draws what a config trains on, into studies/data; the model is not made.

    UserError where `workdir` holds a run of other data, whose report would then show these.
    """
    use_compilation_cache()
    saved = read_record(workdir)
    if saved:
        _check_same_data(workdir, config, saved)
    splits = open_data(config)
    folder = workdir / "studies" / "data"
    _make(workdir, folder)
    meta = summarise(folder, config, splits, make_mesh(config.mesh.devices), name=name)
    print(as_text(meta), end="\n\n")
    for path in sorted(folder.iterdir()):
        print(path)
    if saved:
        report(workdir)


def report(workdir: Path) -> None:
    """Writes the report of what the run folder holds; where it has replicas, one of each and one of all of them."""
    if not cluster.is_first():
        return
    saved = saved_record(workdir)
    replicas = replica_values(saved.config)
    for replica in replicas:
        write_report(workdir / replica)
    print(f"Report: {write_comparison(workdir, replicas, name=saved.name) if replicas else write_report(workdir)}")


def restore(run: Run, checkpoint: str) -> TrainState:
    """The state of the checkpoint "newest", "best" or a step."""
    with Checkpoints(run.checkpoints, say=say) as checkpoints:
        return checkpoints.restore(run.steps.abstract_state(), checkpoint).tree


@contextlib.contextmanager
def _alone_in(workdir: Path) -> Iterator[None]:
    """Keeps a second training of the same run folder out, whose checkpoints would mix with these."""
    _make(workdir, workdir)
    with locked(workdir) if cluster.is_first() else contextlib.nullcontext(True) as got_it:
        if not cluster.all_say(got_it):
            raise UserError(f"--workdir is {str(workdir)!r}, where another process is training; name another.")
        yield


def _check_shared(run: Run) -> None:
    """Raises UserError where a process sees other files than the first one, which has written config.json."""
    cluster.wait_for_all("config written")
    saved = read_record(run.workdir)
    if not cluster.all_say(saved is not None):
        raise UserError(f"--workdir is {str(run.workdir)!r}, which not all processes see; name a folder they share.")
    if cluster.is_together() and not cluster.all_say(saved.content == contents(run.splits)):
        raise UserError(f"data.dir is {run.config.data.dir!r}, where not all processes see the same examples.")


def _make(workdir: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir is {str(workdir)!r}, where nothing can be written ({error.strerror}).") from error


def _open_saved(workdir: Path, config: ConfigDict) -> tuple[Run, ...]:
    use_compilation_cache()
    return _open_checked(workdir, saved_record(workdir).name, config).runs


def _open_checked(workdir: Path, name: str, config: ConfigDict) -> Group:
    group = open_group(workdir, name, config)
    for run in group.folders:
        check_same_run(run)
    return group


def _check_goes_on(run: Run) -> None:
    """Raises UserError where training has lost its checkpoints, or is further than it is asked to go."""
    if not run.checkpoints.is_dir():
        if (run.workdir / METRICS).exists():
            raise UserError(
                f"{run.workdir} has the {METRICS} of a training but not its folder {run.checkpoints.name}; put that "
                f"back, or train again in another --workdir or after removing {run.workdir}."
            )
        return
    with Checkpoints(run.checkpoints, say=say) as checkpoints:
        checkpoints.check_none_lost()
        reached = max(checkpoints.steps(), default=0)
    began = read_record(run.workdir) or run
    rounding = began.config.train.steps_per_call  # of the steps that epochs came to
    if reached - rounding >= run.config.train.steps:
        raise UserError(
            f"train.steps comes to {run.config.train.steps}, but {run.workdir} is at step {reached}; give it as many "
            "or more, or name another --workdir."
        )


def _check_same_data(workdir: Path, config: ConfigDict, saved: Record) -> None:
    resolve(config)
    resolve(saved.config)
    changed = [field for field in differences(config, saved.config) if field.startswith("data.")]
    if changed:
        raise UserError(
            f"{workdir} holds a run of other data ({'; '.join(changed)}); name another --workdir to look at these."
        )


def _sample(run: Run, state: TrainState, *, checkpoint: str) -> None:
    variables = evaluation_variables(state, ema=run.config.eval.ema)
    sample_prior(run, variables, step=int(state.step), checkpoint=checkpoint)


def _print_figures(run: Run, meta: dict) -> None:
    trained_on = "" if meta["held_out"] else ", trained on"
    print(f"{run.name}, step {meta['step']}, {meta['split']} split ({meta['examples']} examples{trained_on}):")
    for name in meta["headline"]:
        figure = meta["figures"][name]
        mean, stderr = plus_minus(figure["mean"], figure["stderr"])
        print(f"  {figure['label']}: {mean} ± {stderr} {figure['unit']}".rstrip())
    for warning in meta["warnings"]:
        print(f"  {warning}")

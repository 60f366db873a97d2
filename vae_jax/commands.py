"""What the modes of the command line do, in the order that a run folder needs."""

import sys
from pathlib import Path

from ml_collections import ConfigDict

from vae_jax.checkpoint import Checkpoints
from vae_jax.compilation import use_compilation_cache
from vae_jax.errors import UserError
from vae_jax.evaluation.evaluate import evaluate as evaluate_split
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import sample as sample_prior
from vae_jax.report.page import write_report
from vae_jax.report.text import plus_minus
from vae_jax.run import Record, Run, check_same_run, open_run, read_record, write_config
from vae_jax.state import TrainState
from vae_jax.train import train as train_run


def saved_record(workdir: Path) -> Record:
    """What config.json of the run in `workdir` says; UserError where there is none."""
    saved = read_record(workdir)
    if saved is None:
        raise UserError(f"--workdir is {str(workdir)!r}, which holds no run (no config.json); train one with --config.")
    return saved


def train(workdir: Path, name: str, config: ConfigDict, *, command: str) -> None:
    """Trains, or resumes; then evaluates the test split, draws samples and writes the report."""
    use_compilation_cache()
    run = open_run(workdir, name, config)
    check_same_run(run)
    write_config(run, command)
    trained = train_run(run)
    if not trained.finished:
        print(f"Stopped at step {int(trained.state.step)}, which is saved. The same command resumes it:\n  {command}")
        return
    meta = evaluate_split(run, trained.state, split="test", checkpoint="newest")
    _sample(run, trained.state, checkpoint="newest")
    _print_figures(run, meta)
    print(f"Report: {write_report(workdir)}")


def evaluate(workdir: Path, config: ConfigDict, *, split: str, checkpoint: str) -> None:
    """Evaluates a checkpoint on a split and renews the report."""
    run, state = _open_saved(workdir, config, checkpoint)
    meta = evaluate_split(run, state, split=split, checkpoint=checkpoint)
    _print_figures(run, meta)
    print(f"Report: {write_report(workdir)}")


def sample(workdir: Path, config: ConfigDict, *, checkpoint: str) -> None:
    """Draws samples from a checkpoint and renews the report."""
    run, state = _open_saved(workdir, config, checkpoint)
    _sample(run, state, checkpoint=checkpoint)
    print(f"{config.sample.count} samples: {run.study('sample')}")
    print(f"Report: {write_report(workdir)}")


def report(workdir: Path) -> None:
    """Writes the report of what the run folder holds."""
    print(f"Report: {write_report(workdir)}")


def restore(run: Run, checkpoint: str) -> TrainState:
    """The state of the checkpoint "newest", "best" or a step."""
    with Checkpoints(run.checkpoints, say=lambda text: print(text, file=sys.stderr)) as checkpoints:
        return checkpoints.restore(run.steps.abstract_state(), checkpoint).tree


def _open_saved(workdir: Path, config: ConfigDict, checkpoint: str) -> tuple[Run, TrainState]:
    use_compilation_cache()
    run = open_run(workdir, saved_record(workdir).name, config)
    check_same_run(run)
    return run, restore(run, checkpoint)


def _sample(run: Run, state: TrainState, *, checkpoint: str) -> None:
    variables = evaluation_variables(state, ema=run.config.eval.ema)
    sample_prior(run, variables, step=int(state.step), checkpoint=checkpoint)


def _print_figures(run: Run, meta: dict) -> None:
    print(f"{run.name}, step {meta['step']}, {meta['split']} split ({meta['examples']} examples):")
    for name in meta["headline"]:
        figure = meta["figures"][name]
        mean, stderr = plus_minus(figure["mean"], figure["stderr"])
        print(f"  {figure['label']}: {mean} ± {stderr} {figure['unit']}".rstrip())

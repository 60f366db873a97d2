"""What a reader of any study of a run must know, whichever study it is."""

from pathlib import Path

from vae_jax.evaluation.evaluate import held_out
from vae_jax.run import read_record
from vae_jax.step_counts import fill_in_step_counts
from vae_jax.studies.study import Setting

TRAINED_ON_ALL = (
    "The net was trained on all examples (data.train_on=all), those of the test split too: no figure here is a "
    "held-out one, whatever it is called."
)


def cautions(setting: Setting) -> tuple[str, ...]:
    """The sentences for all studies in `setting`."""
    said = [] if held_out(setting.config, "test") else [TRAINED_ON_ALL]
    steps = _planned_steps(setting.workdir)
    if steps is not None and setting.model.step < steps:
        said.append(f"This is the net after {setting.model.step:,} of the {steps:,} steps of its training.")
    return tuple(said)


def _planned_steps(workdir: Path) -> int | None:
    """How many steps the run in `workdir` was to be trained for; None where its weights were imported."""
    record = read_record(workdir)
    if not record.data:
        return None
    fill_in_step_counts(record.config, record.data["train"])
    return record.config.train.steps

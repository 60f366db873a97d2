"""Makes studies of a run: checks that they can be made, makes them, and writes what they give into the run folder."""

import dataclasses
import difflib
import sys
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from vae_jax import studies
from vae_jax.disk import folder_written_aside
from vae_jax.errors import UserError
from vae_jax.images import grids
from vae_jax.images.animation import save_gif
from vae_jax.images.lettering import with_heading
from vae_jax.inference import load_model
from vae_jax.report.text import run_title
from vae_jax.run import made_with, write_json
from vae_jax.studies.cautions import cautions
from vae_jax.studies.framing import framing_warnings
from vae_jax.studies.opening import Asked, open_setting
from vae_jax.studies.study import Setting, Study

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Made:
    """What a study's meta.json says of the command that made it."""

    checkpoint: str
    command: str


def run_studies(asked: Asked, workdir: Path, config: ConfigDict, *, made: Made) -> None:
    """Makes the studies that are asked for of the run in `workdir`, each into its folder studies/NAME.

    `config` has `study.*`, and where the run's data lie now. UserError, before anything is computed, where a study
    can't be made; of "all", those are left out, which is said.
    """
    asked_for = named(asked.studies)
    if config.model.target:
        raise UserError(f"{workdir} holds a classifier, of which there are no studies; --mode=eval tells of it.")
    model = load_model(workdir, checkpoint=made.checkpoint)
    setting = open_setting(asked, workdir, model, config, needs_inputs=any(study.inputs for study in asked_for))
    possible = _possible(asked_for, setting, strict=ALL not in asked.studies.split(","))
    if setting.inputs is not None and setting.inputs.foreign:
        setting = _with_notes(setting)
    for number, study in enumerate(possible, 1):
        print(f"study {number} of {len(possible)}: {study.name}", file=sys.stderr, flush=True)
        _make(study, setting, workdir / "studies" / study.name, made=made)


def named(names: str | None) -> list[Study]:
    """The studies of `--study`: names with commas between; all of them where "all" is one of these."""
    known = f"known: {', '.join(studies.STUDIES)}; or {ALL}."
    if not names:
        raise UserError(f"--study names no study; {known}")
    asked_for = names.split(",")
    for name in asked_for:
        if name not in (*studies.STUDIES, ALL):
            near = difflib.get_close_matches(name, studies.STUDIES, n=1)
            hint = f"did you mean {near[0]}?" if near else known
            raise UserError(f"--study is {names!r}, and there is no study {name!r}; {hint}")
    return [study for name, study in studies.STUDIES.items() if ALL in asked_for or name in asked_for]


def _possible(asked_for, setting, *, strict):
    kept = []
    for study in asked_for:
        try:
            _check(study, setting)
        except UserError as error:
            if strict:
                raise
            print(f"{study.name} is left out: {error}", flush=True)
        else:
            kept.append(study)
    return kept


def _make(study: Study, setting: Setting, folder: Path, *, made: Made) -> None:
    """Makes a study and writes it as `folder`, whole, in the place of an earlier one."""
    start = time.monotonic()
    result = study.run(setting)
    step, seed = setting.model.step, setting.options.seed
    heading = f"{run_title(setting.workdir, setting.model.name)}, step {step}, seed {seed}: {study.title}"
    record = made_with(setting.config, setting.model.mesh, step=step, checkpoint=made.checkpoint, seed=seed)
    with folder_written_aside(folder) as aside:
        np.savez(aside / "arrays.npz", seed=seed, **_with_inputs(study, setting, result))
        for name, picture in result.pictures.items():
            _save(aside / _file_name(name, picture), picture, heading)
        write_json(aside / "meta.json", record | _meta(study, setting, result, made))
    print(f"{study.name}: {folder} ({time.monotonic() - start:.1f} s)", flush=True)


def _check(study, setting):
    if not study.vectors and not grids.showable(setting.model.shape):
        raise UserError(
            f"The study {study.name} is for runs on pictures, grey or RGB, and an example of this run is "
            f"{setting.model.shape}."
        )
    if study.inputs:
        count = len(setting.inputs)
        if count < study.inputs:
            raise UserError(f"The study {study.name} needs {study.inputs} inputs or more, and --input names {count}.")
    study.check(setting)
    if setting.noise is not None:
        _check_noise(study, setting)


def _check_noise(study, setting):
    needed = study.noise(setting)
    if needed is None:
        raise UserError(f"--noise is given, but the study {study.name}, as it is asked for, draws none.")
    if setting.noise.shape != needed:
        raise UserError(f"--noise has the shape {setting.noise.shape}; this study of these inputs needs {needed}.")


def _with_notes(setting):
    """The setting with what is to be said of inputs from picture files, which is printed too."""
    inputs = dataclasses.replace(setting.inputs, warnings=framing_warnings(setting))
    print(*inputs.notes, *inputs.warnings, sep="\n", flush=True)
    return dataclasses.replace(setting, inputs=inputs)


def _with_inputs(study, setting, result):
    if not study.inputs:
        return result.arrays
    told = {} if setting.cond is None else {"inputs_cond": setting.cond}
    return {"inputs": setting.images, "inputs_name": np.array(setting.inputs.names), **told, **result.arrays}


def _meta(study, setting, result, made):
    return {
        "study": study.name,
        "title": study.title,
        "chapter": study.chapter,
        "command": made.command,
        "inputs": list(setting.inputs.names) if study.inputs else [],
        "input_notes": list(setting.inputs.notes) if study.inputs else [],
        "notes": [*cautions(setting), *(setting.inputs.warnings if study.inputs else ()), *result.notes],
        "figures": result.figures,
        "pictures": [
            {"file": _file_name(name, picture), "alt": picture.alt} for name, picture in result.pictures.items()
        ],
    }


def _file_name(name, picture):
    return f"{name}.gif" if picture.pixels.ndim == 4 else f"{name}.png"


def _save(path, picture, heading):
    if picture.pixels.ndim == 4:
        save_gif(path, np.stack([with_heading(frame, heading) for frame in picture.pixels]))
    else:
        grids.save_png(path, with_heading(picture.pixels, heading))

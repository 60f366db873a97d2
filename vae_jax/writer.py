"""What a run records while it trains: metrics.jsonl and TensorBoard."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter

from vae_jax.disk import written_aside
from vae_jax.errors import UserError

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class Writer:
    """A context manager that records a run from `start_step` on; on resume, `cut_back` comes first."""

    def __init__(self, workdir: str | os.PathLike, *, start_step: int = 0):
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        self._metrics = open(workdir / METRICS, "a")  # noqa: SIM115 (closed in __exit__)
        # TensorBoard hides what earlier files hold from purge_step on; the suffix keeps the files apart.
        self._tensorboard = SummaryWriter(
            str(workdir / TENSORBOARD), purge_step=start_step + 1, filename_suffix=f".{start_step}"
        )

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception) -> None:
        self._tensorboard.close()
        self._metrics.close()

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Appends one line to metrics.jsonl, and `split/name` of each value to TensorBoard; all must be finite."""
        values = {name: float(value) for name, value in values.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"{split}/{name} is {value} at step {step}; only finite numbers are recorded")
        self._metrics.write(json.dumps({"step": int(step), "split": split, **values}) + "\n")
        self._metrics.flush()
        for name, value in values.items():
            self._tensorboard.add_scalar(f"{split}/{name}", value, int(step))

    def images(self, step: int, name: str, array: np.ndarray) -> None:
        """Adds a picture, uint8 [h,w,3], to TensorBoard."""
        self._tensorboard.add_image(name, array, int(step), dataformats="HWC")


class NoWriter:
    """The writer of a process that isn't the first of several: what it has to say, the first one records."""

    def scalars(self, step: int, split: str, values: Mapping[str, float]) -> None:
        pass

    def images(self, step: int, name: str, array: np.ndarray) -> None:
        pass


def read_metrics(workdir: str | os.PathLike) -> list[dict]:
    """The lines of metrics.jsonl in order, none if there is no file; a last line torn by a kill is left out."""
    return [record for _, record in _lines(Path(workdir) / METRICS)]


def cut_back(workdir: str | os.PathLike, step: int, *, eval_every: int = 1) -> None:
    """Keeps only the lines of metrics.jsonl up to and with `step`, so that a resumed run says nothing twice.

    A held-out line that is not at a multiple of `eval_every` was the end of a shorter run; it goes too.
    """
    path = Path(workdir) / METRICS
    if not path.exists():
        return

    def kept(record):
        return record["step"] <= step and (record["split"] == "train" or record["step"] % eval_every == 0)

    with written_aside(path) as aside:
        aside.write_text("".join(f"{line}\n" for line, record in _lines(path) if kept(record)))


def _lines(path):
    """(text, object) of each line of a file of JSON objects; the last line may be torn and is then dropped."""
    lines = path.read_text().splitlines() if path.exists() else []
    parsed = []
    for number, line in enumerate(lines, start=1):
        try:
            parsed.append((line, json.loads(line)))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UserError(f"Line {number} of {path} is not a JSON object; mend or remove it.") from error
    return parsed

"""What a run says while it trains: metrics.jsonl, TensorBoard, and its progress on the terminal."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from vae_jax.errors import UserError

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
SECONDS_BETWEEN_LINES = 10
BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [ETA {remaining}{postfix}]"


class Writer:
    """A context manager that records a run from `start_step` on; on resume, `cut_back` comes first.

    On a terminal, progress is a bar; elsewhere (a log file, a cluster job) it is a plain line now and then.
    """

    def __init__(self, workdir: str | os.PathLike, *, total_steps: int, start_step: int = 0):
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        self._metrics = open(workdir / METRICS, "a")  # noqa: SIM115 (closed in __exit__)
        # TensorBoard hides what earlier files hold from purge_step on; the suffix keeps the files apart.
        self._tensorboard = SummaryWriter(
            str(workdir / TENSORBOARD), purge_step=start_step + 1, filename_suffix=f".{start_step}"
        )
        self._total_steps = total_steps
        self._first = None  # (step, time) of the first progress: what came before it was compilation
        self._last_line = -math.inf
        self._bar = None
        if sys.stderr.isatty():
            # Some terminals (in containers) say their size is 0 x 0, where tqdm would draw nothing; this says 80 x 24.
            columns, rows = shutil.get_terminal_size()
            self._bar = tqdm(total=total_steps, initial=start_step, bar_format=BAR, ncols=columns, nrows=rows)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.close()
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

    def progress(self, step: int, *, loss: float, images_per_second: float) -> None:
        """Shows how far the run is: on a terminal at once, elsewhere every ten seconds and at the last step.

        A rate of 0 is one that is not measured yet.
        """
        figures = f"loss {loss:.5g}" + (f", {images_per_second:,.0f} images/s" if images_per_second else "")
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now - self._last_line >= SECONDS_BETWEEN_LINES or step >= self._total_steps:
            self._last_line = now
            self.message(f"step {step}/{self._total_steps}, {figures}, ETA {self._eta(step, now)}")

    def message(self, text: str) -> None:
        """Prints a line to stderr, above the bar if there is one."""
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def _eta(self, step, now):
        first_step, first_time = self._first
        if step == first_step < self._total_steps:
            return "unknown yet"
        seconds_per_step = (now - first_time) / max(step - first_step, 1)
        return tqdm.format_interval((self._total_steps - step) * seconds_per_step)


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

    aside = path.with_name(path.name + ".part")
    aside.write_text("".join(f"{line}\n" for line, record in _lines(path) if kept(record)))
    os.replace(aside, path)


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

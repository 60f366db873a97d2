"""What a run keeps of its training: checkpoints, metrics, held-out figures and pictures; and how it tells a failure."""

import contextlib
import math

import numpy as np

from vae_jax import cluster
from vae_jax.checkpoint import Checkpoints
from vae_jax.errors import DivergedError
from vae_jax.evaluation.evaluate import held_out_means, reconstruction_grid
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import draw, told
from vae_jax.images import grids
from vae_jax.progress import say
from vae_jax.run import Run
from vae_jax.state import TrainState
from vae_jax.writer import NoWriter, Writer, cut_back

PICTURES = 32
COLUMNS = 8


class Recorder:
    """One run's checkpoints, metrics and pictures; all are closed with `stack`."""

    def __init__(self, run: Run, stack: contextlib.ExitStack):
        self.run = run
        self.checkpoints = stack.enter_context(Checkpoints(run.checkpoints, say=self._say, clean=True))

    def start(self, step: int, stack: contextlib.ExitStack) -> None:
        """Readies what is kept for what comes after `step`."""
        self.checkpoints.set_aside_after(step)
        if cluster.is_first():
            cut_back(self.run.workdir, step, eval_every=self.run.config.train.eval_every)
            self.writer = stack.enter_context(Writer(self.run.workdir, start_step=step))
        else:
            self.writer = NoWriter()
        best = self.checkpoints.best()
        self.best_loss = best[1] if best else math.inf

    def check(self, report: dict) -> None:
        """Raises DivergedError where the report is of a step that was not finite."""
        if not report["ok"]:
            raise DivergedError(self._divergence(int(report["step"]), report["failed"], self.means(report)))

    def means(self, report: dict) -> dict[str, float]:
        """The means since the last logged step."""
        count = float(report["window"]["count"])
        return {name: float(report["window"][name]) / count for name in self.run.steps.metrics if count}

    def log(self, step: int, report: dict, images_per_second: float) -> None:
        """Records the means; a rate of 0 is one that is not measured yet."""
        values = {**self.means(report), "learning_rate": float(report["learning_rate"])}
        rate = {"images_per_second": images_per_second} if images_per_second else {}
        self.writer.scalars(step, "train", values | rate)

    def evaluate(self, state: TrainState, step: int) -> float:
        """Records how the state does on the validation split, and returns its loss."""
        run = self.run
        variables = evaluation_variables(state, ema=run.config.eval.ema)
        means = held_out_means(run, variables, "validation")
        self.writer.scalars(step, "validation", {name: v for name, v in means.items() if math.isfinite(v)})
        if grids.showable(run.steps.shape) and not run.config.model.target:
            pictures = reconstruction_grid(run, variables, "validation", count=PICTURES)
            batch_size, cond = run.config.eval.batch_size, told(run.conditions, np.arange(PICTURES), seed=0)
            samples = draw(run.steps, variables, PICTURES, seed=0, batch_size=batch_size, cond=cond)["samples"]
            self.writer.images(step, "reconstructions", grids.comparison(**pictures, columns=COLUMNS))
            self.writer.images(step, "samples", grids.grid(samples, COLUMNS))
        return means["loss"]

    def improves(self, held_out_loss: float | None) -> bool:
        """Whether this is the lowest held-out loss so far, which it then is."""
        improved = held_out_loss is not None and held_out_loss < self.best_loss
        if improved:
            self.best_loss = held_out_loss
        return improved

    def _divergence(self, step: int, failed: dict, means: dict) -> str:
        bad = ", ".join(f"{name} {float(value)}" for name, value in failed.items() if not math.isfinite(value))
        good = ", ".join(f"{name} {value:.6g}" for name, value in means.items()) or "none since the last log"
        steps = self.checkpoints.steps()
        kept = f"{self.run.checkpoints / str(steps[-1])}" if steps else "there is none"
        return (
            f"Training of {self.run.name} stopped: step {step + 1} was not finite "
            f"({bad or 'loss, gradient or parameters'}). "
            f"Means up to step {step}: {good}. Last good checkpoint: {kept}. "
            "A lower optimizer.learning_rate or optimizer.clip_norm=1, in a new "
            f"--workdir, may help."
        )

    def _say(self, text: str) -> None:
        say(f"{self.run.name}: {text}")

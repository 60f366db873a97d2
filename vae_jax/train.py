"""The training loop, and only the loop."""

import contextlib
import dataclasses
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator

import jax

from vae_jax.checkpoint import Checkpoints
from vae_jax.data.order import Order
from vae_jax.data.pipeline import choose_delivery, train_batches
from vae_jax.errors import DivergedError
from vae_jax.evaluation.evaluate import held_out_means, reconstruction_grid
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import draw
from vae_jax.images import grids
from vae_jax.run import Run
from vae_jax.state import TrainState
from vae_jax.writer import Writer, cut_back

PICTURES = 32
COLUMNS = 8


@dataclasses.dataclass(frozen=True)
class Trained:
    """The state training ended with; `finished` is False where a signal ended it before the last step."""

    state: TrainState
    finished: bool


def train(run: Run) -> Trained:
    """Trains until `train.steps`, from the newest checkpoint if there is one.

    Raises DivergedError at the first step that is not finite; the checkpoints before it stay as they are.
    """
    total = run.config.train.steps
    with Checkpoints(run.checkpoints, say=_say, clean=True) as checkpoints, _stop_signals() as stop:
        state = _first_state(run, checkpoints)
        step = int(state.step)
        if step >= total:
            return Trained(state, True)
        cut_back(run.workdir, step, eval_every=run.config.train.eval_every)
        delivery = choose_delivery(run.splits["train"], run.config.data.delivery, run.mesh)
        _say(
            f"training steps {step} to {total}; data on the {delivery.name} ({delivery.reason}); "
            f"convolutions: {run.steps.lowering}"
        )
        with (
            Writer(run.workdir, total_steps=total, start_step=step) as writer,
            contextlib.closing(_batches(run, step)) as batches,
        ):
            loop = _Loop(run, checkpoints, writer)
            pending = None
            while step < total and not stop.is_set():
                call = next(batches)
                state, report = run.steps.train(state, call, run.steps.weights)
                step += len(call["mask"])
                # Read one call late: the devices already work on the next call, and the host never waits for them.
                if pending is not None:
                    loop.read(pending)
                pending = report
                if loop.is_due(step):
                    # A state is evaluated and saved only after its own report was found finite.
                    loop.read(pending)
                    pending = None
                    loop.evaluate_and_save(state, step)
            # Here, and not in the loop: a signal may come at any moment, between two calls or during an evaluation.
            if pending is not None:
                loop.read(pending)
            checkpoints.save(step, state)
    return Trained(state, step >= total and not stop.is_set())


class _Loop:
    """What happens between the calls: reading reports, evaluating, saving; and the clock that leaves these out."""

    def __init__(self, run: Run, checkpoints: Checkpoints, writer: Writer):
        self.run, self.checkpoints, self.writer = run, checkpoints, writer
        best = checkpoints.best()
        self.best_loss = best[1] if best else math.inf
        self.clock, self.clock_step = None, 0

    def is_due(self, step: int) -> bool:
        train = self.run.config.train
        return step % train.eval_every == 0 or step % train.checkpoint_every == 0 or step >= train.steps

    def read(self, report: dict) -> None:
        """Fetches a call's report, which waits for that call; raises DivergedError, logs and shows progress."""
        report = jax.device_get(report)
        step, window = int(report["step"]), report["window"]
        count = float(window["count"])
        means = {name: float(window[name]) / count for name in self.run.steps.metrics if count}
        if not report["ok"]:
            raise DivergedError(self._divergence(step, report["failed"], means))
        rate = self._images_per_second(step)
        if step % self.run.config.train.log_every == 0:
            values = {**means, "learning_rate": float(report["learning_rate"])}
            self.writer.scalars(step, "train", values | ({"images_per_second": rate} if rate else {}))
        self.writer.progress(step, loss=means["loss"], images_per_second=rate)

    def evaluate_and_save(self, state: TrainState, step: int) -> None:
        """Evaluates at the evaluation steps, and saves at the checkpoint steps, at a new best and at the end."""
        train, held_out_loss = self.run.config.train, None
        if step % train.eval_every == 0 or step >= train.steps:
            held_out_loss = self._evaluate(state, step)
        improved = held_out_loss is not None and held_out_loss < self.best_loss
        if improved:
            self.best_loss = held_out_loss
        if improved or step >= train.steps or step % train.checkpoint_every == 0:
            self.checkpoints.save(step, state, held_out_loss=held_out_loss)
        self.clock = None

    def _evaluate(self, state: TrainState, step: int) -> float:
        run = self.run
        variables = evaluation_variables(state, ema=run.config.eval.ema)
        means = held_out_means(run, variables, "validation")
        self.writer.scalars(step, "validation", {name: v for name, v in means.items() if math.isfinite(v)})
        if grids.showable(run.steps.shape):
            pictures = reconstruction_grid(run, variables, "validation", count=PICTURES)
            samples = draw(run.steps, variables, PICTURES, seed=0, batch_size=run.config.eval.batch_size)["samples"]
            self.writer.images(step, "reconstructions", grids.pairs(**pictures, columns=COLUMNS))
            self.writer.images(step, "samples", grids.grid(samples, COLUMNS))
        return means["loss"]

    def _images_per_second(self, step: int) -> float:
        """Since the first report after the last pause; 0 until there is a second one."""
        now = time.perf_counter()
        if self.clock is None:
            self.clock, self.clock_step = now, step
            return 0.0
        return (step - self.clock_step) * self.run.config.train.batch_size / (now - self.clock)

    def _divergence(self, step: int, failed: dict, means: dict) -> str:
        bad = ", ".join(f"{name} {float(value)}" for name, value in failed.items() if not math.isfinite(value))
        good = ", ".join(f"{name} {value:.6g}" for name, value in means.items()) or "none since the last log"
        steps = self.checkpoints.steps()
        kept = f"{self.run.checkpoints / str(steps[-1])}" if steps else "there is none"
        return (
            f"Training stopped: step {step + 1} was not finite ({bad or 'loss, gradient or parameters'}). "
            f"Means up to step {step}: {good}. Last good checkpoint: {kept}. "
            "A lower optimizer.learning_rate or optimizer.clip_norm=1, in a new "
            f"--workdir, may help."
        )


def _first_state(run: Run, checkpoints: Checkpoints) -> TrainState:
    if not checkpoints.steps():
        return run.steps.init()
    restored = checkpoints.restore(run.steps.abstract_state(), "newest", discard=True)
    _say(f"resuming at step {restored.step}")
    return restored.tree


def _batches(run: Run, step: int) -> Iterator[dict]:
    """Calls from `step` on; a first short one where a run of another K was stopped between this K's boundaries."""
    per_call = run.config.train.steps_per_call
    short = -step % per_call
    if short:
        with contextlib.closing(_batches_of(run, step, short)) as batches:
            yield next(batches)
    with contextlib.closing(_batches_of(run, step + short, per_call)) as batches:
        yield from batches


def _batches_of(run: Run, step: int, steps_per_call: int) -> Iterator[dict]:
    config = run.config
    return train_batches(
        run.splits["train"],
        Order(len(run.splits["train"]), config.train.batch_size, config.seed),
        mesh=run.mesh,
        steps_per_call=steps_per_call,
        start_step=step,
        delivery=config.data.delivery,
        workers=config.data.workers,
    )


@contextlib.contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one acts as it would without this."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may take signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask_to_stop(number, _):
        stop.set()
        signal.signal(number, before[number])
        _say("stopping after this call; a second signal ends at once")

    for number in before:
        signal.signal(number, ask_to_stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

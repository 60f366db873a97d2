"""The training loop, and only the loop."""

import contextlib
import dataclasses
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import jax

from vae_jax.checkpoint import Checkpoints
from vae_jax.data.order import Order, Orders
from vae_jax.data.pipeline import choose_delivery, train_batches
from vae_jax.errors import DivergedError, UserError
from vae_jax.evaluation.evaluate import held_out_means, reconstruction_grid
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import draw
from vae_jax.images import grids
from vae_jax.progress import Progress
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
    """Trains one run, a group of one: see `train_together`."""
    return train_together((run,))[0]


def train_together(runs: Sequence[Run]) -> tuple[Trained, ...]:
    """Trains until `train.steps`, from the newest checkpoint that all runs have, if there is one.

    The runs differ in seed and weights alone and share their compiled functions (`Steps.for_replica`). Raises
    DivergedError at the first step of any of them that is not finite; the checkpoints before it stay as they are.
    """
    config, steps, total = runs[0].config, runs[0].steps, runs[0].config.train.steps
    with contextlib.ExitStack() as stack:
        replicas = [_Replica(run, stack) for run in runs]
        stop = stack.enter_context(_stop_signals())
        states = _first_states(replicas)
        step = int(states[0].step)
        if step >= total:
            return tuple(Trained(state, True) for state in states)
        delivery = choose_delivery(runs[0].splits["train"], config.data.delivery, runs[0].mesh)
        _say(f"training steps {step} to {total}; data on the {delivery.name} ({delivery.reason})")
        for replica in replicas:
            replica.start(step, stack)
        with (
            Progress(total, start=step) as progress,
            contextlib.closing(_batches(runs, step)) as batches,
        ):
            loop = _Loop(replicas, progress)
            weights = tuple(run.steps.weights for run in runs)
            pending = None
            while step < total and not stop.is_set():
                call = next(batches)
                states, reports = zip(*steps.train_together(states, call, weights), strict=True)
                step += len(call["mask"])
                # Read one call late: the devices already work on the next call, and the host never waits for them.
                if pending is not None:
                    loop.read(pending)
                pending = reports
                if loop.is_due(step):
                    # A state is evaluated and saved only after its own report was found finite.
                    loop.read(pending)
                    pending = None
                    loop.evaluate_and_save(states, step)
            # Here, and not in the loop: a signal may come at any moment, between two calls or during an evaluation.
            if pending is not None:
                loop.read(pending)
            for replica, state in zip(replicas, states, strict=True):
                replica.checkpoints.save(step, state)
    return tuple(Trained(state, step >= total and not stop.is_set()) for state in states)


class _Replica:
    """One run's part in the loop: its checkpoints and what it records; both are closed with `stack`."""

    def __init__(self, run: Run, stack: contextlib.ExitStack):
        self.run = run
        self.checkpoints = stack.enter_context(Checkpoints(run.checkpoints, say=self._say, clean=True))

    def start(self, step: int, stack: contextlib.ExitStack) -> None:
        """Readies the records for what comes after `step`."""
        cut_back(self.run.workdir, step, eval_every=self.run.config.train.eval_every)
        self.writer = stack.enter_context(Writer(self.run.workdir, start_step=step))
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
        if grids.showable(run.steps.shape):
            pictures = reconstruction_grid(run, variables, "validation", count=PICTURES)
            samples = draw(run.steps, variables, PICTURES, seed=0, batch_size=run.config.eval.batch_size)["samples"]
            self.writer.images(step, "reconstructions", grids.pairs(**pictures, columns=COLUMNS))
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
        _say(f"{self.run.name}: {text}")


class _Loop:
    """What happens between the calls: reading reports, evaluating, saving; and the clock that leaves these out."""

    def __init__(self, replicas: Sequence[_Replica], progress: Progress):
        self.replicas, self.progress, self.train = replicas, progress, replicas[0].run.config.train
        self.clock, self.clock_step = None, 0

    def is_due(self, step: int) -> bool:
        train = self.train
        return step % train.eval_every == 0 or step % train.checkpoint_every == 0 or step >= train.steps

    def read(self, reports: Sequence[dict]) -> None:
        """Fetches a call's reports, which waits for that call; raises DivergedError, logs and shows progress."""
        reports = jax.device_get(reports)
        for replica, report in zip(self.replicas, reports, strict=True):
            replica.check(report)
        step = int(reports[0]["step"])
        rate = self._images_per_second(step)
        if step % self.train.log_every == 0:
            for replica, report in zip(self.replicas, reports, strict=True):
                replica.log(step, report, rate)
        losses = [replica.means(report)["loss"] for replica, report in zip(self.replicas, reports, strict=True)]
        shown = f", {len(losses) * rate:,.0f} images/s" if rate else ""
        self.progress.update(step, f"loss {' '.join(f'{loss:.5g}' for loss in losses)}{shown}")

    def evaluate_and_save(self, states: Sequence[TrainState], step: int) -> None:
        """Evaluates at the evaluation steps, and saves at the checkpoint steps, at a new best and at the end.

        All replicas save where one does, so that they always have a step in common to resume from.
        """
        train, losses = self.train, [None] * len(states)
        if step % train.eval_every == 0 or step >= train.steps:
            losses = [replica.evaluate(state, step) for replica, state in zip(self.replicas, states, strict=True)]
        improved = [replica.improves(loss) for replica, loss in zip(self.replicas, losses, strict=True)]
        if any(improved) or step >= train.steps or step % train.checkpoint_every == 0:
            for replica, state, loss in zip(self.replicas, states, losses, strict=True):
                replica.checkpoints.save(step, state, held_out_loss=loss)
        self.clock = None

    def _images_per_second(self, step: int) -> float:
        """Of each replica, since the first report after the last pause; 0 until there is a second one."""
        now = time.perf_counter()
        if self.clock is None:
            self.clock, self.clock_step = now, step
            return 0.0
        return (step - self.clock_step) * self.train.batch_size / (now - self.clock)


def _first_states(replicas: Sequence[_Replica]) -> tuple[TrainState, ...]:
    """The states of the newest step of which all replicas have a good checkpoint, else those before the first step."""
    steps = [replica.checkpoints.steps() for replica in replicas]
    common = set.intersection(*map(set, steps))
    while common:
        abstract, newest = replicas[0].run.steps.abstract_state(), str(max(common))
        restored = [replica.checkpoints.restore(abstract, newest) for replica in replicas]
        oldest = min(each.step for each in restored)
        if all(each.step == oldest for each in restored):
            _say(f"resuming at step {oldest}")
            _set_aside_after(oldest, replicas)
            return tuple(each.tree for each in restored)
        common = {step for step in common if step <= oldest}  # one was broken: none may be ahead of it
    if all(steps):
        had = "; ".join(f"{r.run.name}: {', '.join(map(str, s))}" for r, s in zip(replicas, steps, strict=True))
        raise UserError(
            f"The replicas have no step in common of which all have a good checkpoint ({had}); resume each alone, with "
            f"--workdir={replicas[0].run.workdir} and so on, or train again in another --workdir."
        )
    _set_aside_after(0, replicas)  # what some had saved when the others were stopped in their first save
    return tuple(replica.run.steps.init() for replica in replicas)


def _set_aside_after(step: int, replicas: Sequence[_Replica]) -> None:
    for replica in replicas:
        replica.checkpoints.set_aside_after(step)


def _batches(runs: Sequence[Run], step: int) -> Iterator[dict]:
    """Calls [K, R, B, ...] from `step` on; a first short one where a run of another K was stopped between this K's boundaries."""
    per_call = runs[0].config.train.steps_per_call
    short = -step % per_call
    if short:
        with contextlib.closing(_batches_of(runs, step, short)) as batches:
            yield next(batches)
    with contextlib.closing(_batches_of(runs, step + short, per_call)) as batches:
        yield from batches


def _batches_of(runs: Sequence[Run], step: int, steps_per_call: int) -> Iterator[dict]:
    source, config = runs[0].splits["train"], runs[0].config
    return train_batches(
        source,
        Orders(tuple(Order(len(source), config.train.batch_size, run.config.seed) for run in runs)),
        mesh=runs[0].mesh,
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

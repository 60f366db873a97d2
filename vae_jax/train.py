"""The training loop, and only the loop."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence

import jax

from vae_jax import cluster
from vae_jax.data.order import Orders
from vae_jax.data.pipeline import choose_delivery, train_batches
from vae_jax.errors import UserError
from vae_jax.profiling import Trace, profiled_steps
from vae_jax.progress import Progress, say
from vae_jax.recording import Recorder
from vae_jax.run import Run
from vae_jax.state import TrainState
from vae_jax.stopping import stop_signals


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
        recorders = [Recorder(run, stack) for run in runs]
        stop = stack.enter_context(stop_signals())
        states = _first_states(recorders)
        step = int(states[0].step)
        if step >= total:
            return tuple(Trained(state, True) for state in states)
        delivery = choose_delivery(runs[0].splits["train"], config.data.delivery, runs[0].mesh)
        examples = f"{len(runs[0].splits['train']):,} examples of {'×'.join(map(str, steps.shape))}"
        say(
            f"training steps {step} to {total} on {examples}, kept on the {delivery.name} ({delivery.reason}); "
            f"convolutions: {steps.lowering}"
        )
        for recorder in recorders:
            recorder.start(step, stack)
        with (
            Progress(total, start=step) as progress,
            contextlib.closing(_batches(runs, step)) as batches,
            contextlib.closing(_trace(runs[0])) as trace,
        ):
            loop = _Loop(recorders, progress)
            weights = tuple(run.steps.weights for run in runs)
            pending = None
            while step < total and not stop.asked():
                trace.before_call(step, states)
                call = next(batches)
                states, reports = zip(*steps.train_together(states, call, weights, steps.features), strict=True)
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
            for recorder, state in zip(recorders, states, strict=True):
                recorder.checkpoints.save(step, state)
        finished = step >= total and not stop.asked()
    return tuple(Trained(state, finished) for state in states)


class _Loop:
    """What happens between the calls: reading reports, evaluating, saving; and the clock that leaves these out."""

    def __init__(self, recorders: Sequence[Recorder], progress: Progress):
        self.recorders, self.progress, self.train = recorders, progress, recorders[0].run.config.train
        self.clock, self.clock_step = None, 0

    def is_due(self, step: int) -> bool:
        train = self.train
        return step % train.eval_every == 0 or step % train.checkpoint_every == 0 or step >= train.steps

    def read(self, reports: Sequence[dict]) -> None:
        """Fetches a call's reports, which waits for that call; raises DivergedError, logs and shows progress."""
        reports = jax.device_get(reports)
        for recorder, report in zip(self.recorders, reports, strict=True):
            recorder.check(report)
        step = int(reports[0]["step"])
        rate = self._images_per_second(step)
        if step % self.train.log_every == 0:
            for recorder, report in zip(self.recorders, reports, strict=True):
                recorder.log(step, report, rate)
        losses = [recorder.means(report)["loss"] for recorder, report in zip(self.recorders, reports, strict=True)]
        shown = f", {len(losses) * rate:,.0f} images/s" if rate else ""
        self.progress.update(step, f"loss {' '.join(f'{loss:.5g}' for loss in losses)}{shown}")

    def evaluate_and_save(self, states: Sequence[TrainState], step: int) -> None:
        """Evaluates at the evaluation steps, and saves at the checkpoint steps, at a new best and at the end.

        All runs save where one does, so that they always have a step in common to resume from.
        """
        train, losses = self.train, [None] * len(states)
        if step % train.eval_every == 0 or step >= train.steps:
            losses = [recorder.evaluate(state, step) for recorder, state in zip(self.recorders, states, strict=True)]
        improved = [recorder.improves(loss) for recorder, loss in zip(self.recorders, losses, strict=True)]
        if any(improved) or step >= train.steps or step % train.checkpoint_every == 0:
            for recorder, state, loss in zip(self.recorders, states, losses, strict=True):
                recorder.checkpoints.save(step, state, held_out_loss=loss)
        self.clock = None

    def _images_per_second(self, step: int) -> float:
        """Of each replica, since the first report after the last pause; 0 until there is a second one."""
        now = time.perf_counter()
        if self.clock is None:
            self.clock, self.clock_step = now, step
            return 0.0
        return (step - self.clock_step) * self.train.batch_size / (now - self.clock)


def _first_states(recorders: Sequence[Recorder]) -> tuple[TrainState, ...]:
    """The states of the newest step of which all runs have a good checkpoint, else those before the first step."""
    steps = [recorder.checkpoints.steps() for recorder in recorders]
    common = set.intersection(*map(set, steps))
    while common:
        abstract, newest = recorders[0].run.steps.abstract_state(), str(max(common))
        restored = [recorder.checkpoints.restore(abstract, newest) for recorder in recorders]
        oldest = min(each.step for each in restored)
        if all(each.step == oldest for each in restored):
            say(f"resuming at step {oldest}")
            return tuple(each.tree for each in restored)
        common = {step for step in common if step <= oldest}  # one was broken: none may be ahead of it
    # Where all others have one at most, those without were stopped in their first save.
    if all(steps) or max(map(len, steps)) > 1:
        had = "; ".join(
            f"{r.run.name}: {', '.join(map(str, s)) or 'none'}" for r, s in zip(recorders, steps, strict=True)
        )
        raise UserError(
            f"There is no step of which all replicas have a good checkpoint ({had}); resume each alone, with "
            f"--workdir={recorders[0].run.workdir} and so on, or train again in another --workdir."
        )
    return tuple(recorder.run.steps.init() for recorder in recorders)


def _batches(runs: Sequence[Run], step: int) -> Iterator[dict]:
    """Calls from `step` on; a first short one where a run of another K was stopped between this K's boundaries."""
    per_call = runs[0].config.train.steps_per_call
    short = -step % per_call
    if short:
        with contextlib.closing(_batches_of(runs, step, short)) as batches:
            yield next(batches)
    with contextlib.closing(_batches_of(runs, step + short, per_call)) as batches:
        yield from batches


def _batches_of(runs: Sequence[Run], step: int, steps_per_call: int) -> Iterator[dict]:
    config = runs[0].config
    return train_batches(
        runs[0].splits["train"],
        Orders(tuple(run.order for run in runs)),
        mesh=runs[0].mesh,
        steps_per_call=steps_per_call,
        start_step=step,
        delivery=config.data.delivery,
        workers=config.data.workers,
    )


def _trace(run: Run) -> Trace:
    steps, per_call = profiled_steps(run.config.profile if cluster.is_first() else ""), run.config.train.steps_per_call
    return Trace(steps, run.workdir / "profile", steps_per_call=per_call, say=say)

"""A trace of some training steps, for TensorBoard and Perfetto."""

import re
from collections.abc import Callable
from pathlib import Path

import jax

from vae_jax.errors import UserError


def profiled_steps(profile: str) -> range:
    """The steps of `profile`, "START:STOP" without STOP itself; none for "". UserError for any other text."""
    if not profile:
        return range(0)
    found = re.fullmatch(r"(\d+):(\d+)", profile)
    if not found or int(found[1]) >= int(found[2]):
        raise UserError(f"profile is {profile!r}; it must be START:STOP in steps, START below STOP, such as 10:20.")
    return range(int(found[1]), int(found[2]))


class Trace:
    """Traces the training calls that hold any of `steps`, whole calls at a time, into `folder`."""

    def __init__(self, steps: range, folder: Path, *, steps_per_call: int, say: Callable[[str], None]):
        self._steps, self._folder, self._steps_per_call, self._say = steps, folder, steps_per_call, say
        self._began = None  # the step at which the trace now under way began
        self._is_made = False

    def before_call(self, step: int, state) -> None:
        """Begins or ends the trace if the call from `step` on asks for it; an end waits for `state`."""
        if self._began is None and step < self._steps.stop and step + self._steps_per_call > self._steps.start:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # which would slow down what it measures
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
            self._began, self._is_made = step, True
        elif self._began is not None and step >= self._steps.stop:
            jax.block_until_ready(state)
            self._end(f"{self._began} to {step}")

    def close(self) -> None:
        """Ends the trace where training ended within it, and tells where it has met none of the steps."""
        if self._began is not None:
            self._end(f"{self._began} to the last")
        elif self._steps and not self._is_made:
            self._say(f"no trace: steps {self._steps.start} to {self._steps.stop} were not among those trained")

    def _end(self, steps: str) -> None:
        jax.profiler.stop_trace()
        self._began = None
        self._say(f"trace of steps {steps}: {self._folder} (TensorBoard, or perfetto_trace.json.gz on ui.perfetto.dev)")

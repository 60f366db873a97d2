"""When training is asked to stop: by Ctrl-C, by a scheduler's signal, and of many processes by all at the same step."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from jax.experimental import multihost_utils

from vae_jax import cluster
from vae_jax.progress import say

# A user's Ctrl-C, the end of a scheduler's patience (and of a machine in the cloud), Slurm's warning before it.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stop:
    """Whether training is to end; `asked` is called once between two calls, by all processes at the same ones."""

    def __init__(self):
        self.signalled = threading.Event()

    def asked(self) -> bool:
        return self.signalled.is_set()


class StopTogether(Stop):
    """The same of many processes, agreed by jax's preemption service: the first boundary that none has passed yet."""

    def __init__(self):
        super().__init__()
        self._boundary = 0

    def asked(self) -> bool:
        if not self.signalled.is_set():
            self._boundary += 1  # the service asks for whole numbers without a gap, which steps are not
            if multihost_utils.reached_preemption_sync_point(self._boundary):
                self.signalled.set()
        return self.signalled.is_set()


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
    """What the first of SIGNALS to come asks for; a second one acts as it would without this."""
    stop = StopTogether() if cluster.is_together() else Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may take signals
        return
    # SIGTERM to one of many is jax's service's, before and after training, too: then a process goes on to its end.
    taken = [number for number in SIGNALS if not (cluster.is_together() and number == signal.SIGTERM)]
    before = {number: signal.getsignal(number) for number in taken}

    def ask_to_stop(number, _):
        signal.signal(number, before[number])
        say("stopping after this call; a second signal ends at once")
        if cluster.is_together():
            os.kill(os.getpid(), signal.SIGTERM)  # which is what jax's service listens to
        else:
            stop.signalled.set()

    for number in taken:
        signal.signal(number, ask_to_stop)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

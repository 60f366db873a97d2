"""Many processes as one run: how they meet, which of them writes, and how all end where one is lost.

The engine is JAX's own multi-controller runtime under the cluster's scheduler. jax is imported only where processes
meet: the worker processes that decode pictures import this module, too, and not jax.
"""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from vae_jax.errors import UserError, first_line
from vae_jax.flags import FLAGS

MEETING_SECONDS = 300  # for which a process waits for the others: then the runtime ends it
HEARTBEAT_SECONDS = 30  # without a sign of life: then a process counts as lost, and the others end
PARTING_SECONDS = 20  # for which a process that ends waits for the others
MODES = ("train", "eval", "sample")  # what several processes can do


@dataclass(frozen=True)
class Here:
    """Which process this is, of how many."""

    index: int
    count: int


_here = Here(0, 1)


def meet(mode: str) -> None:
    """Meets the other processes, by the flags; nothing may have touched a device before.

    UserError where they are not all there, or where they are and would each train alone.
    """
    global _here
    promised = _promised(os.environ)
    given = {name: FLAGS[name].value for name in ("coordinator", "processes", "process_id")}
    if not FLAGS.multihost:
        for name, value in given.items():
            if value is not None:
                raise UserError(f"--{name} is {value!r}; it is for several processes, so add --multihost.")
        if promised > 1:
            raise UserError(
                f"The launcher started {promised} or more processes, each of which would train alone; add --multihost, "
                "or start one."
            )
        return
    if mode not in MODES:
        raise UserError(f"--mode is {mode!r} with --multihost, which is for {', '.join(MODES)}; start one process.")
    _check_place(**given)
    _initialize(given)
    _here = _met(max(promised, given["processes"] or 0))
    # They connect to each other here: CPU collectives (gloo) wait 30 seconds for the first time, and each process may
    # be minutes in reading its data.
    wait_for_all("met")
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for as long as the process lives)


def is_together() -> bool:
    """Whether this is one of several processes."""
    return _here.count > 1


def is_first() -> bool:
    """Whether this process is the one that writes and tells; where there is one, it is."""
    return _here.index == 0


def called() -> str:
    """What this process is called before a message: nothing where it is alone."""
    return f"process {_here.index} of {_here.count}: " if is_together() else ""


def wait_for_all(moment: str) -> None:
    """Waits until all processes have come to the `moment`."""
    if is_together():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(moment)


def all_say(yes: bool) -> bool:
    """Whether every process says yes; all get the same answer."""
    if not is_together():
        return yes
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(yes).all())


def part(code: int) -> None:
    """Ends one of several processes with its exit code; one process goes on.

    It waits for the others, which mostly come to the same: an end without them would end them by the runtime's code.
    """
    if is_together():
        import jax

        threading.Timer(PARTING_SECONDS, _exit, [code]).start()
        jax.distributed.shutdown()
        _exit(code)


def fail() -> None:
    """Ends one of several processes after an exception; that another one was lost is the usual reason.

    Only the runtime knows which: it ends this process with a message that names it once its heartbeats have stopped.
    """
    if is_together():
        traceback.print_exc()
        print(
            f"{called()}failed, see above; if because another process was lost, that is named within "
            f"{HEARTBEAT_SECONDS} seconds",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(HEARTBEAT_SECONDS + 5)
        _exit(1)


def _check_place(coordinator: str | None, processes: int | None, process_id: int | None) -> None:
    """Raises UserError for what the runtime would answer by a crash, or not for minutes."""
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UserError(f"--coordinator is {coordinator!r}; it must be HOST:PORT, as node0:7777.")
    if processes is not None and process_id is not None and process_id >= processes:
        raise UserError(f"--process_id is {process_id}; of {processes} processes it must be from 0 to {processes - 1}.")


def _initialize(given: Mapping) -> None:
    import jax

    if None not in given.values():  # else it is the launcher's to know
        said = "waiting up to {} s for all {processes} processes at {coordinator}"
        print(said.format(MEETING_SECONDS, **given), file=sys.stderr, flush=True)
    # The runtime waits outside Python, which so long could not act on a signal; SIGTERM its preemption service takes.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGUSR1)}
    try:
        jax.distributed.initialize(
            given["coordinator"],
            given["processes"],
            given["process_id"],
            initialization_timeout=MEETING_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            # Then the runtime ends the process by a code of its own; the heartbeats are to name a lost one before.
            shutdown_timeout_seconds=PARTING_SECONDS + 2 * HEARTBEAT_SECONDS,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--multihost: the processes don't find each other ({first_line(error)}); start them by srun, as a JobSet "
            "or on a Cloud TPU, or give all of --coordinator, --processes and --process_id."
        ) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _met(expected: int) -> Here:
    import jax

    here = Here(jax.process_index(), jax.process_count())
    if here.count < expected:
        raise UserError(f"--multihost: {here.count} processes have met, but {expected} were started.")
    return here


def _promised(environment: Mapping[str, str]) -> int:
    """How many processes the launcher started at least, by what it left in the environment."""
    if "SLURM_STEP_NUM_TASKS" in environment:  # of srun: a script that sbatch runs is one process, whatever its -n
        return int(environment["SLURM_STEP_NUM_TASKS"])
    if "TPU_WORKER_HOSTNAMES" in environment:  # of a TPU slice on Kubernetes
        hosts = len(environment["TPU_WORKER_HOSTNAMES"].split(","))
        return hosts * int(environment.get("MEGASCALE_NUM_SLICES", 1))
    return int(environment.get("JOB_COMPLETION_INDEX", 0)) + 1  # of a Kubernetes Job: this one and those before it


def _exit(code: int) -> None:
    """Ends the process without Python's own end, in which jax would wait for the others again."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

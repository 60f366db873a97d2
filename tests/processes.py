"""Several processes on this machine that make one run, for the tests."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Processes:
    """`count` processes of one device each, whose `arguments`, and then each one's `own`, follow python.

    What they say is in `log(i)`.
    """

    def __init__(self, count: int, *arguments: str, own: Mapping[int, list[str]] | None = None, logs: Path):
        self._logs, port = logs, free_port()
        logs.mkdir(exist_ok=True)
        self.each = []
        for number in range(count):
            place = ["--multihost", f"--coordinator=127.0.0.1:{port}", f"--processes={count}", f"--process_id={number}"]
            with open(self._log(number), "w") as log:
                command = [sys.executable, *arguments, *(own or {}).get(number, []), *(place if count > 1 else [])]
                options = {"stdout": log, "stderr": log, "cwd": ROOT, "env": {**os.environ, "XLA_FLAGS": ""}}
                self.each.append(subprocess.Popen(command, **options))

    def wait(self, *, seconds: float) -> list[int]:
        """The exit codes; TimeoutExpired, and no process left, where they take longer."""
        try:
            return [process.wait(timeout=seconds) for process in self.each]
        finally:
            for process in self.each:
                process.kill()
                process.wait()

    def log(self, number: int) -> str:
        """What the process has said so far."""
        return self._log(number).read_text()

    def names_lost(self, number: int, *, says: int) -> bool:
        """Whether process `says` names process `number` as lost; the runtime has several messages for it."""
        names = ["slice 0 task 0"] if number == 0 else []  # the leader
        names += [rf"stopped sending heartbeats\):\n{number}", f"Task {number} heartbeat timeout"]
        return re.search("|".join(names), self.log(says)) is not None

    def _log(self, number):
        return self._logs / f"{number}.log"


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]

"""How far a long piece of work is: a bar on a terminal, elsewhere (a log file, a cluster job) a line now and then."""

import math
import shutil
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10
BAR = "{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} [ETA {remaining}{postfix}]"


def say(text: str) -> None:
    """Tells, on stderr, what a user should know but did not ask for."""
    print(text, file=sys.stderr, flush=True)


class Progress:
    """A context manager that shows, on stderr, how many of `total` steps (or what `noun` says) are done."""

    def __init__(self, total: int, *, start: int = 0, noun: str = "step"):
        self._total, self._noun = total, noun
        self._first = None  # (done, time) of the first update: what came before it was compilation, or a start
        self._last_line = -math.inf
        self._bar = None
        if sys.stderr.isatty():
            # Some terminals (in containers) say their size is 0 x 0, where tqdm would draw nothing; this says 80 x 24.
            columns, rows = shutil.get_terminal_size()
            self._bar = tqdm(total=total, initial=start, bar_format=BAR, ncols=columns, nrows=rows)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, figures: str) -> None:
        """Shows `done` and the `figures` of now: on a terminal at once, elsewhere every ten seconds and at the end."""
        if self._bar is not None:
            self._bar.set_postfix_str(figures, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        self._first = self._first or (done, now)
        if now - self._last_line >= SECONDS_BETWEEN_LINES or done >= self._total:
            self._last_line = now
            self.message(f"{self._noun} {done}/{self._total}, {figures}, ETA {self._eta(done, now)}")

    def message(self, text: str) -> None:
        """Prints a line to stderr, above the bar if there is one."""
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def _eta(self, done, now):
        first_done, first_time = self._first
        if done == first_done < self._total:
            return "unknown yet"
        seconds_each = (now - first_time) / max(done - first_done, 1)
        return tqdm.format_interval((self._total - done) * seconds_each)

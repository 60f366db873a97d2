import io
import os
import pty
import subprocess
import sys

from vae_jax.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_away_from_a_terminal_a_line_comes_every_ten_seconds_and_at_the_end(monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with Progress(100) as progress:
        for step in range(20, 101, 10):
            progress.update(step, "loss 123.46")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 20/100", "step 50/100", "step 80/100", "step 100/100"]
    assert lines[0].endswith("ETA unknown yet")
    assert lines[1] == "step 50/100, loss 123.46, ETA 00:20"
    assert lines[-1].endswith("ETA 00:00")


def test_on_a_terminal_a_bar_shows_the_figures_and_messages_stand_on_their_own_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with Progress(100, start=40) as progress:
        progress.update(60, "loss 12.5")
        progress.message("checkpoint saved")
        progress.update(100, "loss 11.5")
    shown = terminal.getvalue()
    assert "40%" in shown and "100/100" in shown
    assert "loss 11.5" in shown
    assert "checkpoint saved\n" in shown


def test_a_terminal_that_does_not_know_its_size_has_a_bar_too():
    program = """
from vae_jax.progress import Progress
with Progress(10) as progress:
    progress.update(10, "loss 1.5")
"""
    parent, child = pty.openpty()  # a new pseudo-terminal is 0 x 0
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run([sys.executable, "-c", program], stdout=child, stderr=child, env=environment, check=True)
    assert "10/10 [ETA 00:00, loss 1.5]" in os.read(parent, 65536).decode()

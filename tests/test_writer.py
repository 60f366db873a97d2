import io
import json
import os
import pty
import struct
import subprocess
import sys

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from vae_jax import writer
from vae_jax.errors import UserError


def events(workdir):
    """Every event below workdir/tensorboard, read from the TFRecord framing: length, its crc, data, its crc."""
    found = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack_from("<Q", data)
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def record(workdir, steps, start_step=0):
    with writer.Writer(workdir, total_steps=100, start_step=start_step) as out:
        for step in steps:
            out.scalars(step, "train", {"loss": step / 2})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_each_line_is_on_disk_at_once_with_its_keys_in_the_order_given(tmp_path):
    with writer.Writer(tmp_path / "run", total_steps=10) as out:
        out.scalars(np.int64(5), "train", {"loss": np.float32(0.5), "kl": 2})
        line = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert line == '{"step": 5, "split": "train", "loss": 0.5, "kl": 2.0}\n'


def test_tensorboard_gets_the_scalars_by_split_and_the_pictures(tmp_path):
    with writer.Writer(tmp_path, total_steps=10) as out:
        out.scalars(5, "validation", {"elbo": -3.0})
        out.images(5, "reconstructions", np.zeros((4, 6, 3), np.uint8))
    values = {value.tag: (event.step, value) for event in events(tmp_path) for value in event.summary.value}
    assert values["validation/elbo"][0] == 5
    assert values["validation/elbo"][1].simple_value == -3.0
    assert (values["reconstructions"][1].image.height, values["reconstructions"][1].image.width) == (4, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_by_name_and_not_written(tmp_path, value):
    with writer.Writer(tmp_path, total_steps=10) as out, pytest.raises(ValueError, match="train/kl is .* at step 3"):
        out.scalars(3, "train", {"loss": 1.0, "kl": value})
    assert writer.read_metrics(tmp_path) == []


def test_cut_back_leaves_exactly_the_lines_up_to_the_step(tmp_path):
    record(tmp_path, [10, 20, 30, 40])
    before = (tmp_path / "metrics.jsonl").read_text().splitlines(keepends=True)
    writer.cut_back(tmp_path, 20)
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(before[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]


def test_a_run_resumed_after_a_kill_reads_like_an_undisturbed_one(tmp_path):
    record(tmp_path / "whole", [10, 20, 30])
    record(tmp_path / "killed", [10, 20, 30])
    with open(tmp_path / "killed" / "metrics.jsonl", "a") as metrics:
        metrics.write('{"step": 40, "spl')
    assert [line["step"] for line in writer.read_metrics(tmp_path / "killed")] == [10, 20, 30]
    writer.cut_back(tmp_path / "killed", 20)
    record(tmp_path / "killed", [30], start_step=20)
    assert (tmp_path / "killed" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_torn_line_alone_is_dropped_and_no_file_is_no_lines(tmp_path):
    writer.cut_back(tmp_path, 5)
    assert writer.read_metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1')
    writer.cut_back(tmp_path, 5)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_broken_line_that_is_not_the_last_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(UserError, match="Line 2 of .*metrics.jsonl"):
        writer.read_metrics(tmp_path)


def test_on_resume_tensorboard_drops_what_came_after_the_restored_step(tmp_path):
    record(tmp_path, [10, 20, 30])
    record(tmp_path, [30, 40], start_step=20)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2  # the second file did not overwrite the first
    purges = [event.step for event in events(tmp_path) if event.HasField("session_log")]
    assert purges == [1, 21]  # step 20 itself is kept


def test_away_from_a_terminal_a_line_comes_every_ten_seconds_and_at_the_end(tmp_path, monkeypatch, capsys):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    with writer.Writer(tmp_path, total_steps=100) as out:
        for step in range(20, 101, 10):
            out.progress(step, loss=123.456, images_per_second=54321.0)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 20/100", "step 50/100", "step 80/100", "step 100/100"]
    assert lines[0].endswith("ETA unknown yet")
    assert lines[1] == "step 50/100, loss 123.46, 54,321 images/s, ETA 00:20"
    assert lines[-1].endswith("ETA 00:00")


def test_on_a_terminal_a_bar_shows_the_figures_and_messages_stand_on_their_own_line(tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with writer.Writer(tmp_path, total_steps=100, start_step=40) as out:
        out.progress(60, loss=12.5, images_per_second=1000.0)
        out.message("checkpoint saved")
        out.progress(100, loss=11.5, images_per_second=1000.0)
    shown = terminal.getvalue()
    assert "40%" in shown and "100/100" in shown
    assert "loss 11.5, 1,000 images/s" in shown
    assert "checkpoint saved\n" in shown


def test_a_terminal_that_does_not_know_its_size_has_a_bar_too(tmp_path):
    program = f"""
from vae_jax.writer import Writer
with Writer({str(tmp_path)!r}, total_steps=10) as out:
    out.progress(10, loss=1.5, images_per_second=100.0)
"""
    parent, child = pty.openpty()  # a new pseudo-terminal is 0 x 0
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run([sys.executable, "-c", program], stdout=child, stderr=child, env=environment, check=True)
    assert "10/10 [ETA 00:00, loss 1.5, 100 images/s]" in os.read(parent, 65536).decode()


def test_a_failure_inside_still_closes_the_files(tmp_path):
    with pytest.raises(RuntimeError), writer.Writer(tmp_path, total_steps=10) as out:
        out.scalars(1, "train", {"loss": 1.0})
        raise RuntimeError
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == 1.0
    assert any(value.tag == "train/loss" for event in events(tmp_path) for value in event.summary.value)

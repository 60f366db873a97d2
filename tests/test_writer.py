import json
import struct

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
    with writer.Writer(workdir, start_step=start_step) as out:
        for step in steps:
            out.scalars(step, "train", {"loss": step / 2})


def test_each_line_is_on_disk_at_once_with_its_keys_in_the_order_given(tmp_path):
    with writer.Writer(tmp_path / "run") as out:
        out.scalars(np.int64(5), "train", {"loss": np.float32(0.5), "kl": 2})
        line = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert line == '{"step": 5, "split": "train", "loss": 0.5, "kl": 2.0}\n'


def test_tensorboard_gets_the_scalars_by_split_and_the_pictures(tmp_path):
    with writer.Writer(tmp_path) as out:
        out.scalars(5, "validation", {"elbo": -3.0})
        out.images(5, "reconstructions", np.zeros((4, 6, 3), np.uint8))
    values = {value.tag: (event.step, value) for event in events(tmp_path) for value in event.summary.value}
    assert values["validation/elbo"][0] == 5
    assert values["validation/elbo"][1].simple_value == -3.0
    assert (values["reconstructions"][1].image.height, values["reconstructions"][1].image.width) == (4, 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_refused_by_name_and_not_written(tmp_path, value):
    with writer.Writer(tmp_path) as out, pytest.raises(ValueError, match="train/kl is .* at step 3"):
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


def test_a_failure_inside_still_closes_the_files(tmp_path):
    with pytest.raises(RuntimeError), writer.Writer(tmp_path) as out:
        out.scalars(1, "train", {"loss": 1.0})
        raise RuntimeError
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == 1.0
    assert any(value.tag == "train/loss" for event in events(tmp_path) for value in event.summary.value)

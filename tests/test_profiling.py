"""`profile` writes a trace of the steps it names, rounded outwards to whole calls, and says where it is."""

import gzip
import json

import pytest

from vae_jax.config import default_config, differences
from vae_jax.run import open_run
from vae_jax.train import train


def config(profile):
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(8,))
    config.train.update(batch_size=64, steps=12, steps_per_call=4)
    config.mesh.devices = 1
    config.profile = profile
    return config


@pytest.mark.parametrize(("profile", "said"), [("5:7", "steps 4 to 8"), ("8:12", "steps 8 to the last")])
def test_the_trace_holds_events_of_the_calls_of_these_steps(tmp_path, capfd, profile, said):
    train(open_run(tmp_path, "test", config(profile)))
    line = next(line for line in capfd.readouterr().err.splitlines() if "trace of" in line)
    assert said in line
    assert str(tmp_path / "profile") in line
    (path,) = tmp_path.glob("profile/**/perfetto_trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    assert any(event.get("name") == "PjitFunction(_train_together)" for event in events)
    assert list(tmp_path.glob("profile/**/*.xplane.pb")), "what TensorBoard reads"


def test_a_run_without_a_profile_writes_no_trace(tmp_path, capfd):
    train(open_run(tmp_path, "test", config("")))
    assert not (tmp_path / "profile").exists()


def test_steps_that_a_resumed_run_has_behind_it_are_said_not_to_be_traced(tmp_path, capfd):
    train(open_run(tmp_path, "test", config("")))
    again = config("2:4")
    again.train.steps += again.train.steps_per_call
    train(open_run(tmp_path, "test", again))
    assert "no trace: steps 2 to 4" in capfd.readouterr().err
    assert not (tmp_path / "profile").exists()


def test_a_profile_does_not_make_it_another_run():
    assert differences(config("5:7"), config("")) == []

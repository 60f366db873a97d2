"""A user's mistake ends in one sentence with the field and the value, and exit code 2; nothing is compiled or left."""

import sys
from pathlib import Path

import jax
import pytest
from absl import flags

from vae_jax import main

_compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: _compilations.append(event) if "backend_compile" in event else None
)


@pytest.fixture(scope="session")
def digits() -> Path:
    """The config that a mistake is made in."""
    return Path(__file__).parents[2] / "configs" / "digits.py"


@pytest.fixture
def compilations() -> list[str]:
    """What jax has compiled since the test began."""
    _compilations.clear()
    return _compilations


@pytest.fixture
def mistake(monkeypatch, capfd, tmp_path, compilations):
    """Runs the command line in `tmp_path` and returns its one sentence, having checked all but what it says."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        before = _written(tmp_path)
        compilations.clear()
        flags.FLAGS.unparse_flags()
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capfd.readouterr()
        assert ended.value.code == 2, said.err
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        assert "Traceback" not in said.err
        assert compilations == []
        assert _written(tmp_path) == before, "something was left behind"
        return said.err

    yield run
    flags.FLAGS.unparse_flags()


@pytest.fixture
def file(tmp_path):
    """Writes a config file whose get_config changes the defaults by the given lines."""

    def write(*lines):
        path = tmp_path / "mine.py"
        body = ["config = default_config()", *lines, "return config"]
        path.write_text(
            "from vae_jax.config import default_config\n\n\ndef get_config():\n"
            + "".join(f"    {line}\n" for line in body)
        )
        return f"--config={path}"

    return write


def _written(folder):
    """Every path below `folder`, but for what Python keeps of a config that it has loaded."""
    return sorted(path for path in folder.rglob("*") if "__pycache__" not in path.parts)

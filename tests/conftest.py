"""What every test runs under: eight CPU devices, a compilation cache that outlives the run, key reuse as an error."""

import os
import tempfile
from pathlib import Path

import pytest

# Read when jax is first imported, which must come after this; subprocesses and xdist workers inherit all of it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"vae_jax_tests_{os.getuid()}"))
os.environ.setdefault("MPLCONFIGDIR", os.environ["JAX_COMPILATION_CACHE_DIR"] + "/matplotlib")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()


@pytest.fixture(scope="session", autouse=True)
def key_reuse_is_an_error() -> None:
    import jax

    jax.config.update("jax_debug_key_reuse", True)


@pytest.fixture(scope="session", autouse=True)
def cached_pictures_are_those_of_these_tests(tmp_path_factory) -> None:
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project, where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder of shared data at {folder}")
    return folder

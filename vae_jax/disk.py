"""Where this package keeps what it can make again, and how a file comes to its place whole."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder `name` of this package in the user's cache folder, $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vae_jax" / name


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which is renamed to `path` in the end.

    So whoever reads `path` meanwhile sees the old file or the new one, whole. Its folder is made where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    yield aside
    os.replace(aside, path)

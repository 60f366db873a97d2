"""Where this package keeps what it can make again, and how a file comes to its place whole."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from vae_jax.errors import UserError


def cache_folder(name: str) -> Path:
    """The folder `name` of this package in the user's cache folder, $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vae_jax" / name


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether this process alone holds `folder` meanwhile; the lock goes with its process, however that ends.

    On a file system without locks, as some that go over a network are, everyone is let in.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which is renamed to `path` in the end.

    So whoever reads `path` meanwhile sees the old file or the new one, whole. Its folder is made where there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    yield aside
    os.replace(aside, path)


@contextlib.contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """A new folder beside `path` to fill, which takes the place of `path` in the end; if that fails, it goes."""
    aside, old = path.with_name(path.name + ".part"), path.with_name(path.name + ".old")
    shutil.rmtree(aside, ignore_errors=True)  # what a killed process left behind
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{path} can't be made ({error.strerror}).") from error
    try:
        yield aside
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.rename(old)
        aside.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    return True

"""Compiled programs are kept between processes, so that a second start takes a fraction of the first."""

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator

import jax

from vae_jax.disk import cache_folder

LEAST_SECONDS = 0.5  # of compilation: what takes less is not worth a file
_ONE_AT_A_TIME = threading.RLock()  # what `nothing_kept` sets is the whole process's


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, or where JAX_COMPILATION_CACHE_DIR says."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder("xla")))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)


@contextlib.contextmanager
def nothing_kept() -> Iterator[None]:
    """No program that is compiled in here, by any thread, is kept."""
    with _ONE_AT_A_TIME:
        least = jax.config.jax_persistent_cache_min_compile_time_secs
        jax.config.update("jax_persistent_cache_min_compile_time_secs", math.inf)
        try:
            yield
        finally:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


class Unkept:
    """A jitted function whose programs are not kept; whoever compiles what `lower` returns does so in `nothing_kept`.

    For programs that call oneDNN: to write one, jaxlib reads memory that is not its own (seen with 0.11 and 0.12, as
    a MemoryError).
    """

    def __init__(self, jitted: Callable):
        self._jitted = jitted
        self.lower = jitted.lower

    def __call__(self, *args, **kwargs):
        with nothing_kept():
            return self._jitted(*args, **kwargs)

"""Compiled programs are kept between processes, so that a second start takes a fraction of the first."""

import os

import jax

from vae_jax.disk import cache_folder

LEAST_SECONDS = 0.5  # of compilation: what takes less is not worth a file


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, or where JAX_COMPILATION_CACHE_DIR says."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder("xla")))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)

"""Compiled programs are kept between processes, but for those of a function that says no."""

from pathlib import Path

import jax
import jax.numpy as jnp

from vae_jax.compilation import Unkept


def test_programs_of_an_unkept_function_are_not_written():
    def kept_one(x):
        return jnp.sin(x) + 1

    def unkept_one(x):
        return jnp.sin(x) + 2

    assert jax.jit(kept_one)(0.0) == 1 and Unkept(jax.jit(unkept_one))(0.0) == 2 and jax.jit(jnp.cos)(0.0) == 1
    folder = Path(jax.config.jax_compilation_cache_dir)
    assert list(folder.glob("jit_kept_one-*")) and not list(folder.glob("jit_unkept_one-*"))

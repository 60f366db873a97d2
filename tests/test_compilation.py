"""Compiled programs are kept between processes, but for those of an `Unkept` function."""

from pathlib import Path

import jax
import jax.numpy as jnp

from vae_jax.compilation import Unkept


def test_programs_of_an_unkept_function_are_not_written():
    def shifted_before(x):
        return jnp.sin(x) + 1

    def shifted_unkept(x):
        return jnp.sin(x) + 2

    def shifted_after(x):
        return jnp.sin(x) + 3

    folder = Path(jax.config.jax_compilation_cache_dir)
    for left in folder.glob("jit_shifted_*"):  # by an earlier run
        left.unlink()
    assert jax.jit(shifted_before)(0.0) == 1
    assert Unkept(jax.jit(shifted_unkept))(0.0) == 2
    assert jax.jit(shifted_after)(0.0) == 3
    assert {path.name.split("-")[0] for path in folder.glob("jit_shifted_*")} == {
        "jit_shifted_before",
        "jit_shifted_after",
    }

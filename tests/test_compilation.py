"""Compiled programs are kept between processes, but for those of an `Unkept` function."""

from pathlib import Path

import jax
import jax.numpy as jnp

from vae_jax.compilation import Unkept, nothing_kept
from vae_jax.config import default_config, resolve
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps


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


def test_no_function_of_a_model_keeps_programs_that_call_onednn():
    config = default_config()
    config.dtype = "bfloat16"
    config.model.encoder = dict(family="conv", channels=(16,))
    config.model.decoder = dict(family="conv", mirror=True)
    config.train.update(batch_size=4, steps_per_call=1, log_every=1)
    resolve(config)
    steps = Steps(config, (8, 8, 1), make_mesh(1))
    state, ids = steps.abstract_state(), jax.ShapeDtypeStruct((1, 4), jnp.uint32)
    batch = {
        "image": jax.ShapeDtypeStruct((1, 4, 8, 8, 1), jnp.uint8),
        "example_id": ids,
        "epoch": ids,
        "mask": jax.ShapeDtypeStruct((1, 4), jnp.float32),
    }
    x, z = (jax.ShapeDtypeStruct((4, *shape), jnp.float32) for shape in ((8, 8, 1), (config.model.latent,)))
    calls = {
        steps.train: (state, batch, steps.weights),
        steps.encode: (state.variables, x),
        steps.decode: (state.variables, z),
    }
    for function, arguments in calls.items():
        with nothing_kept():
            text = function.lower(*arguments).compile().as_text()
        assert "__onednn$" not in text or isinstance(function, Unkept)

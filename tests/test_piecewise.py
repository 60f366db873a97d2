"""On one CPU, encoding and decoding take large images piece by piece: the same comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import rng, steps
from vae_jax.config import default_config, resolve
from vae_jax.mesh import batch_sharding, make_mesh

SHAPE = (16, 16, 1)


def steps_of(cond=(), devices=1):
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(8, 16), kernel=4, stride=2)
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(cond=cond, latent=4)
    resolve(config)
    return steps.Steps(config, SHAPE, make_mesh(devices))


def few_pixels(monkeypatch):
    monkeypatch.setattr(steps, "PIXELS_AT_ONCE", 2 * SHAPE[0] * SHAPE[1])


@pytest.mark.parametrize(("names", "count", "pieces"), [((), 12, 6), ((), 13, 1), (("Smiling", "Young"), 15, 5)])
def test_pieces_give_what_the_whole_batch_gives(monkeypatch, names, count, pieces):
    draw = np.random.default_rng(0)
    x, z = jnp.float32(draw.random((count, *SHAPE))), jnp.float32(draw.normal(size=(count, 4)))
    cond = jnp.float32(draw.random((count, 2))) if names else None
    variables = steps_of(names).init().variables

    def everything():
        made, keys = steps_of(names), rng.per_example(rng.stream(0, "sample"), jnp.arange(count))
        calls = ((made.encode, x), (made.decode, z), (made.sample, keys))
        loops = [function.lower(variables, batch, cond).as_text().count("stablehlo.while") for function, batch in calls]
        return np.array(loops), jax.tree.leaves([function(variables, batch, cond) for function, batch in calls])

    loops, whole = everything()  # of `sample`, the draw from the prior is one
    few_pixels(monkeypatch)
    more, cut = everything()
    assert (more - loops == (pieces > 1)).all()
    for one, other in zip(cut, whole, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_batch_on_several_devices_is_not_cut(monkeypatch):
    few_pixels(monkeypatch)
    made = steps_of(devices=8)
    x = jax.ShapeDtypeStruct((16, *SHAPE), jnp.float32, sharding=batch_sharding(made.mesh))
    assert "stablehlo.while" not in made.encode.lower(made.abstract_state().variables, x).as_text()

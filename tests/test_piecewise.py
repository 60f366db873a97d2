"""Large images go through a net piece by piece on the CPU: the same comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax import rng, steps
from vae_jax.config import default_config, resolve
from vae_jax.mesh import make_mesh

SHAPE = (16, 16, 1)


def compiled(cond):
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(8, 16), kernel=4, stride=2)
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(cond=cond, latent=4)
    resolve(config)
    return steps.Steps(config, SHAPE, make_mesh(1))


@pytest.mark.parametrize("names", [(), ("Smiling", "Young")])
@pytest.mark.parametrize(("count", "pieces"), [(12, 6), (13, 1), (15, 5)])
def test_pieces_give_what_the_whole_batch_gives(monkeypatch, names, count, pieces):
    draw = np.random.default_rng(0)
    x, z = jnp.float32(draw.random((count, *SHAPE))), jnp.float32(draw.normal(size=(count, 4)))
    cond = jnp.float32(draw.random((count, 2))) if names else None
    variables = compiled(names).init().variables

    def everything():
        made, keys = compiled(names), rng.per_example(rng.stream(0, "sample"), jnp.arange(count))
        values = made.encode(variables, x, cond), made.decode(variables, z, cond), made.sample(variables, keys, cond)
        return made.encode.lower(variables, x, cond).as_text(), jax.tree.leaves(values)

    text, whole = everything()
    assert "while" not in text
    monkeypatch.setattr(steps, "PIXELS_AT_ONCE", 2 * 16 * 16)
    text, cut = everything()
    assert (f"tensor<{pieces}x{count // pieces}x16x16x1xf32>" in text) == (pieces > 1)
    for one, other in zip(cut, whole, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=1e-5)

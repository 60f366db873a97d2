"""`remat` changes what the backward pass keeps in memory, and nothing that a step computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.config import default_config, resolve
from vae_jax.mesh import make_mesh
from vae_jax.models.vae import VAE
from vae_jax.steps import Steps

SHAPE = (32, 32, 3)
BATCH = 8


def steps_of(norm, remat):
    config = default_config()
    config.data.image_size = SHAPE[:2]
    config.model.encoder = dict(family="conv", channels=(8, 16, 16), norm=norm)
    config.model.decoder = dict(family="conv", mirror=True)
    config.optimizer.update(name="sgd", learning_rate=1e-3)
    config.matmul_precision = "highest"
    config.train.update(batch_size=BATCH, log_every=1)
    config.remat = remat
    resolve(config)
    return Steps(config, SHAPE, make_mesh(1))


def batch():
    image = np.random.default_rng(0).integers(0, 256, (1, BATCH, *SHAPE), dtype=np.uint8)
    ids = np.arange(BATCH, dtype=np.uint32)[None]
    return {"image": image, "example_id": ids, "epoch": ids, "mask": np.ones((1, BATCH), np.float32)}


@pytest.fixture(scope="module", params=["none", "batch"])
def both(request):
    return [steps_of(request.param, remat) for remat in (False, True)]


def test_a_step_gives_the_same_loss_gradient_and_statistics(both):
    kept, again = (jax.device_get(steps.train(steps.init(), batch(), steps.weights)) for steps in both)
    for name, value in kept[1]["window"].items():
        assert again[1]["window"][name] == pytest.approx(value, rel=1e-5), name
    for a, b in zip(jax.tree.leaves(kept[0].variables), jax.tree.leaves(again[0].variables), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)  # parameters moved by the gradient; running statistics


@pytest.mark.skipif(
    jax.__version_info__ < (0, 12) and jax.default_backend() == "cpu",
    reason="XLA:CPU of this jax merges what is computed again with what was computed before",
)
def test_a_compiled_step_takes_less_memory(both):
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch())
    temporary = [
        steps.train.lower(steps.abstract_state(), shapes, steps.weights).compile().memory_analysis().temp_size_in_bytes
        for steps in both
    ]
    assert temporary[1] < 0.9 * temporary[0]


def test_the_backward_pass_keeps_less(both):
    """What `jax.vjp` hands from the forward to the backward pass, before any compiler has a say."""
    kept = []
    for steps in both:
        model = VAE(steps.config.model.to_dict(), SHAPE, dtype=jnp.float32, rngs=nnx.Rngs(0))
        model.set_attributes(remat=steps.config.remat)
        graph, params, rest = nnx.split(model, nnx.Param, ...)

        def likelihood(params, graph=graph, rest=rest):
            return nnx.merge(graph, params, rest, copy=True)(jnp.zeros((BATCH, *SHAPE)), jax.random.key(0)).likelihood

        backward = jax.eval_shape(lambda params, f=likelihood: jax.vjp(f, params)[1], params)
        kept.append(sum(leaf.size for leaf in jax.tree.leaves(backward)))
    assert kept[1] < 0.8 * kept[0]

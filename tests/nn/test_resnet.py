"""The residual family: sizes, what a new net computes, attention against its formula, remat, bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import softmax

from vae_jax.errors import UserError
from vae_jax.nn import resnet
from vae_jax.nn.layers import mirrored

LATENT = 3
OPTIONS = {**resnet.OPTIONS, "channels": (8, 16), "attention": 4}


def both(shape, options, dtype=jnp.float32):
    rngs = nnx.Rngs(0)
    encoder = resnet.Encoder(shape, options, dtype=dtype, rngs=rngs)
    return encoder, resnet.Decoder(LATENT, shape, mirrored(options), dtype=dtype, rngs=rngs)


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (13, 6), (1, 1), (218, 178)], ids=str)
def test_the_decoder_gives_back_exactly_the_size_of_the_image(size):
    def run():
        encoder, decoder = both((*size, 3), OPTIONS)
        return encoder(jnp.zeros((2, *size, 3))), decoder(jnp.zeros((2, LATENT)))

    h, image = nnx.eval_shape(run)
    height, width = (-(-side // 4) for side in size)
    assert h.shape == (2, height * width * 16) and image.shape == (2, *size, 3)


def test_attention_stands_after_each_block_of_the_small_maps_alone():
    encoder, decoder = nnx.eval_shape(lambda: both((16, 16, 3), {**OPTIONS, "blocks": 2}))
    kinds = [[type(block).__name__ for block in stage] for stage in encoder.stages]  # maps of 8 and of 4
    assert kinds == [["ResidualBlock"] * 2, ["ResidualBlock", "SelfAttention"] * 2]
    assert [[type(block).__name__ for block in stage] for stage in decoder.stages] == kinds[::-1]


@pytest.mark.parametrize("kind", [resnet.ResidualBlock, resnet.SelfAttention])
def test_a_new_block_passes_on_what_it_is_given(kind):
    h = jax.random.normal(jax.random.key(0), (2, 5, 4, 16))
    block = kind(16, OPTIONS, dtype=jnp.float32, rngs=nnx.Rngs(0))
    np.testing.assert_array_equal(block(h), h)


def test_attention_is_the_softmax_of_scaled_products_between_all_pixels():
    options = {**OPTIONS, "norm": "none"}
    block = resnet.SelfAttention(16, options, dtype=jnp.float32, rngs=nnx.Rngs(0))
    block.out.kernel[...] = jnp.eye(16)
    h = np.asarray(jax.random.normal(jax.random.key(0), (2, 3, 4, 16)))
    pixels = h.reshape(2, 12, 16)
    query, key, value = np.split(pixels @ np.asarray(block.query_key_value.kernel[...]), 3, axis=-1)
    mixed = softmax(query @ key.swapaxes(1, 2) / np.sqrt(16), axis=-1) @ value
    np.testing.assert_allclose(block(h), h + mixed.reshape(h.shape), rtol=1e-4, atol=1e-5)


def test_group_normalisation_leaves_the_groups_of_an_example_without_mean_and_with_unit_variance():
    norm = resnet.normalisation("group", 16, dtype=jnp.float32, rngs=nnx.Rngs(0))
    h = norm(3 + 5 * jax.random.normal(jax.random.key(0), (2, 6, 5, 16)))
    groups = np.asarray(h).reshape(2, 30, 8, 2).transpose(0, 2, 1, 3).reshape(2, 8, -1)
    np.testing.assert_allclose(groups.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(groups.var(axis=-1), 1, rtol=1e-3)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_remat_changes_no_gradient(norm):
    gradients = []
    for remat in (False, True):
        encoder, _ = both((8, 8, 1), {**OPTIONS, "norm": norm})
        for stage in encoder.stages:
            for block in stage:  # away from zero, so that a gradient reaches all of them
                last = block.out if isinstance(block, resnet.SelfAttention) else block.convs[1]
                last.kernel[...] = 0.1 * jax.random.normal(jax.random.key(1), last.kernel.shape)
        encoder.set_attributes(remat=remat)
        graph, params, rest = nnx.split(encoder, nnx.Param, ...)
        x = jax.random.normal(jax.random.key(2), (2, 8, 8, 1))

        def loss(params, graph=graph, rest=rest, x=x):
            return jnp.square(nnx.merge(graph, params, rest, copy=True)(x)).sum()

        gradients.append(jax.tree.leaves(jax.jit(jax.grad(loss))(params)))
    assert all(np.abs(leaf).max() > 0 for leaf in gradients[0])
    for plain, again in zip(*gradients, strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-3, atol=1e-5)


def test_nets_in_bfloat16_stay_near_those_in_float32():
    x = jax.random.normal(jax.random.key(2), (2, 8, 8, 1))
    single, half = (both((8, 8, 1), OPTIONS, dtype)[0](x) for dtype in (jnp.float32, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), single, atol=0.05)


def test_vectors_are_refused():
    with pytest.raises(UserError, match=r"^model\.encoder\.family is 'resnet'.*family='mlp'"):
        resnet.check(OPTIONS, (64,), field="model.encoder")

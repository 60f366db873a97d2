"""The upsampling decoder: sizes, the map it computes against PyTorch's layers' definition, borders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.signal import correlate2d

from vae_jax.errors import UserError
from vae_jax.nn import upsampling
from vae_jax.nn.convolution_layers import UpsampledConv, set_lowering

LATENT = 3


def decoder(shape, channels=(4, 3), **options):
    options = {**upsampling.OPTIONS, "channels": channels, **options}
    return upsampling.Decoder(LATENT, shape, options, dtype=jnp.float32, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (13, 6), (1, 1), (218, 178)], ids=str)
def test_the_picture_has_exactly_the_size_that_is_asked_for(size):
    image = nnx.eval_shape(lambda: decoder((*size, 3))(jnp.zeros((2, LATENT))))
    assert image.shape == (2, *size, 3)


def test_64_pixels_come_from_4_in_four_layers_as_published():
    net = nnx.eval_shape(lambda: decoder((64, 64, 3), channels=(256, 128, 64, 32), norm="batch"))
    assert net.start == (4, 4, 256)  # Hou et al. (2017), figure 2
    assert [layer.conv.size for layer in net.layers] + [net.out.size] == [(8, 8), (16, 16), (32, 32), (64, 64)]
    assert all(layer.conv.bias is None for layer in net.layers) and net.out.bias is not None


@pytest.mark.parametrize("lowering", ["xla", "cpu"])
@pytest.mark.parametrize("size", [(8, 10), (7, 9)], ids=str)
def test_a_layer_is_nearest_neighbours_then_replicated_borders_then_a_convolution(size, lowering):
    layer = UpsampledConv(2, 3, size, use_bias=True, dtype=jnp.float32, rngs=nnx.Rngs(0))
    set_lowering(layer, lowering)
    h = np.random.default_rng(0).normal(size=(1, 4, 5, 2)).astype(np.float32)
    doubled = np.kron(h[0], np.ones((2, 2, 1)))[: size[0], : size[1]]
    padded = np.pad(doubled, ((1, 1), (1, 1), (0, 0)), mode="edge")
    kernel = np.asarray(layer.kernel[...])
    expected = [sum(correlate2d(padded[..., i], kernel[..., i, o], mode="valid") for i in range(2)) for o in range(3)]
    np.testing.assert_allclose(layer(h)[0], np.stack(expected, axis=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 10), (7, 9)], ids=str)
def test_both_lowerings_have_the_same_gradients(size):
    layer = UpsampledConv(2, 3, size, use_bias=True, dtype=jnp.float32, rngs=nnx.Rngs(0))
    h, weights = (jax.random.normal(jax.random.key(n), shape) for n, shape in enumerate([(2, 4, 5, 2), (2, *size, 3)]))
    gradients = []
    for lowering in ("xla", "cpu"):
        set_lowering(layer, lowering)
        graph, params = nnx.split(layer)
        gradient = jax.grad(lambda params, h, g=graph: (weights * nnx.merge(g, params)(h)).sum(), argnums=(0, 1))
        gradients.append(jax.tree.leaves(gradient(params, h)))
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_flat_map_gives_a_flat_picture_without_a_frame():
    layer = UpsampledConv(2, 3, (9, 12), use_bias=True, dtype=jnp.float32, rngs=nnx.Rngs(0))
    picture = layer(jnp.ones((1, 5, 6, 2)))[0]
    np.testing.assert_allclose(picture, np.broadcast_to(picture[4, 4], picture.shape), rtol=1e-5)


def test_remat_changes_no_gradient():
    gradients = []
    for remat in (False, True):
        net = decoder((8, 8, 1), norm="batch")
        net.set_attributes(remat=remat)
        graph, params, rest = nnx.split(net, nnx.Param, ...)

        def loss(params, graph=graph, rest=rest):
            return jnp.square(nnx.merge(graph, params, rest, copy=True)(jnp.ones((2, LATENT)))).sum()

        gradients.append(jax.tree.leaves(jax.grad(loss)(params)))
    for plain, again in zip(*gradients, strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-5, atol=1e-6)


def test_vectors_are_refused():
    with pytest.raises(UserError, match=r"^model\.decoder\.family is 'upsampling'.*family='mlp'"):
        upsampling.check({}, (64,), field="model.decoder")

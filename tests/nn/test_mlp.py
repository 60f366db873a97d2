import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.models.vae import VAE
from vae_jax.nn import mlp
from vae_jax.nn.layers import mirrored

LATENT = 3


def options(**changes):
    return {**mlp.OPTIONS, "widths": (6, 4), **changes}


def encoder(shape, **changes):
    return mlp.Encoder(shape, options(**changes), dtype=jnp.float32, rngs=nnx.Rngs(0))


def decoder(shape, **changes):
    return mlp.Decoder(LATENT, shape, mirrored(options(**changes)), dtype=jnp.float32, rngs=nnx.Rngs(0))


def biases(net):
    return [name for name, _ in nnx.to_flat_state(nnx.state(net, nnx.Param)) if name[-1] == "bias"]


@pytest.mark.parametrize("shape", [(5,), (8, 8, 1), (7, 9, 3), (1, 1, 1)], ids=str)
def test_the_decoder_gives_back_exactly_the_shape_of_the_data(shape):
    assert encoder(shape)(jnp.ones((2, *shape))).shape == (2, 4)
    assert decoder(shape)(jnp.ones((2, LATENT))).shape == (2, *shape)


def test_the_decoder_widens_in_the_reverse_order_of_the_encoder():
    kernels = [layer.kernel[...].shape for layer in decoder((5,)).stack.dense]
    assert kernels == [(LATENT, 4), (4, 6)]


def test_two_layers_are_what_numpy_makes_of_their_weights():
    net, x = encoder((2, 3, 1)), np.random.default_rng(0).normal(size=(4, 2, 3, 1)).astype(np.float32)
    h = x.reshape(4, 6)
    for layer in net.stack.dense:
        h = np.maximum(h @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...]), 0)
    np.testing.assert_allclose(net(x), h, rtol=1e-4, atol=1e-6)


def test_an_encoder_without_layers_is_the_identity_and_its_decoder_is_affine():
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    assert np.array_equal(encoder((5,), widths=())(x), x)
    net, z = decoder((5,), widths=()), x[:, :LATENT]
    affine = z @ np.asarray(net.out.kernel[...]) + np.asarray(net.out.bias[...])
    np.testing.assert_allclose(net(z), affine, rtol=1e-4, atol=1e-6)


def test_no_dense_layer_before_batch_norm_has_a_bias():
    assert not [name for name in biases(encoder((5,), norm="batch")) if "dense" in name]
    assert [name for name in biases(decoder((5,), norm="batch")) if "norms" not in name] == [("out", "bias")]


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_every_dense_layer_has_a_bias_where_no_batch_norm_follows(norm):
    assert len([name for name in biases(encoder((5,), norm=norm)) if "dense" in name]) == 2


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace"])
def test_the_mean_of_a_pixel_can_reach_the_whole_range(likelihood):
    model = {
        "encoder": {"family": "mlp", **options()},
        "decoder": {"family": "mlp", **mirrored(options())},
        "latent": LATENT,
        "cond": (),
        "posterior": "normal",
        "likelihood": likelihood,
        "variance": 1.0,
        "variance_kind": "fixed",
        "output": "sigmoid",
    }
    vae = VAE(model, (8, 8, 1), dtype=jnp.float32, rngs=nnx.Rngs(0))
    kernel = vae.decoder.out.kernel
    kernel[...] = 100 * kernel[...]
    mean = vae.decode(jax.random.normal(jax.random.key(1), (16, LATENT))).mean
    assert mean.min() < 1e-3 and mean.max() > 1 - 1e-3
    assert 0.25 < (mean < 0.5).mean() < 0.75

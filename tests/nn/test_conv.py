import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.errors import UserError
from vae_jax.models.vae import VAE
from vae_jax.nn import conv
from vae_jax.nn.layers import mirrored, stride_path

LATENT = 3
SIZES = [(8, 8), (7, 9), (13, 6), (1, 1), (28, 28), (218, 178)]
GEOMETRIES = list(itertools.product((3, 4, 5), (1, 2, 3), ("same", 0, 1)))


def options(channels=(2, 3), **changes):
    return {**conv.OPTIONS, "channels": channels, **changes}


def path(size, kernel, stride, padding, layers):
    lists = {"kernels": [kernel] * layers, "strides": [stride] * layers, "paddings": [padding] * layers}
    return stride_path(size, **lists, field="model.encoder")


def heights(places):
    return [places[0].outer[0], *(place.inner[0] for place in places)]


def way_back(places, axis):
    return [place.output_padding[axis] for place in reversed(places)]


def shapes(shape, encoder, decoder):
    """The features an encoder gives for `shape`, and the shape the decoder gives back, without computing them."""

    def both():
        rngs = nnx.Rngs(0)
        h = conv.Encoder(shape, encoder, dtype=jnp.float32, rngs=rngs)(jnp.zeros((2, *shape)))
        return h, conv.Decoder(LATENT, shape, decoder, dtype=jnp.float32, rngs=rngs)(jnp.zeros((2, LATENT)))

    return [array.shape for array in nnx.eval_shape(both)]


def parameters(net, *args):
    rngs = nnx.Rngs(0)
    return nnx.to_flat_state(nnx.state(net(*args, dtype=jnp.float32, rngs=rngs), nnx.Param))


@pytest.mark.parametrize(("kernel", "stride", "padding"), GEOMETRIES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_decoder_gives_back_exactly_the_size_of_the_image(size, kernel, stride, padding):
    shape = (*size, 3 if size[0] % 2 else 1)
    encoder = options(kernel=kernel, stride=stride, padding=padding)
    try:
        conv.check(encoder, shape, field="model.encoder")
    except UserError:
        assert min(size) < 13  # only a small image is ever too small for two layers
        return
    _, image = shapes(shape, encoder, mirrored(encoder))
    assert image == (2, *shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_single_pixel_goes_in_and_comes_back(channels):
    encoder = options(kernel=3, stride=2)
    assert shapes((1, 1, channels), encoder, mirrored(encoder)) == [(2, 3), (2, 1, 1, channels)]


def test_a_geometry_of_its_own_in_every_layer_is_undone_from_the_inside_out():
    encoder = options(channels=(2, 3, 4), kernel=(5, 3, 4), stride=(3, 1, 2), padding=("same", 0, 1), dense=(7, 6))
    decoder = mirrored(encoder)
    assert decoder["channels"] == (4, 3, 2) and decoder["dense"] == (6, 7) and decoder["kernel"] == (4, 3, 5)
    assert shapes((29, 40, 3), encoder, decoder) == [(2, 6), (2, 29, 40, 3)]


def test_the_computed_image_has_the_size_too():
    decoder = conv.Decoder(LATENT, (7, 9, 3), options(channels=(3, 2)), dtype=jnp.float32, rngs=nnx.Rngs(0))
    assert decoder(jnp.ones((2, LATENT))).shape == (2, 7, 9, 3)


def test_kernel_4_stride_2_without_padding_halves_64_pixels_as_published():
    # Ha & Schmidhuber (2018), World Models, appendix A.1: 64 → 31 → 14 → 6 → 2.
    places = path((64, 64), 4, 2, 0, layers=4)
    assert heights(places) == [64, 31, 14, 6, 2]
    assert way_back(places, 0) == [0, 0, 1, 0]


def test_kernel_4_stride_2_padding_1_halves_whole_faces_as_published():
    places = path((218, 178), 4, 2, 1, layers=6)
    assert heights(places) == [218, 109, 54, 27, 13, 6, 3]
    assert [178, *(place.inner[1] for place in places)] == [178, 89, 44, 22, 11, 5, 2]
    assert way_back(places, 0) == [0, 1, 1, 0, 1, 0]
    assert way_back(places, 1) == [1, 1, 0, 0, 1, 0]


def test_kernel_3_stride_2_same_halves_digits_as_keras_does():
    places = path((28, 28), 3, 2, "same", layers=2)
    assert heights(places) == [28, 14, 7]
    assert places[0].padding == ((0, 1), (0, 1))  # TensorFlow puts the odd pixel after


@pytest.mark.parametrize(("kernel", "stride"), list(itertools.product((1, 2, 3, 4, 5), (1, 2, 3))))
def test_same_pads_as_xla_does(kernel, stride):
    for size in range(1, 12):
        (place,) = path((size, size), kernel, stride, "same", layers=1)
        assert list(place.padding) == jax.lax.padtype_to_pads((size,) * 2, (kernel,) * 2, (stride,) * 2, "SAME")


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [((8, 8), 4, 2, "same"), ((7, 10), 3, 2, "same"), ((9, 8), 4, 2, 1), ((8, 11), 5, 3, 0), ((6, 5), 3, 1, 1)],
)
def test_the_transposed_convolution_is_the_gradient_of_the_convolution(size, kernel, stride, padding):
    net = conv.Decoder(
        LATENT,
        (*size, 2),
        options(channels=(3,), kernel=kernel, stride=stride, padding=padding),
        dtype=jnp.float32,
        rngs=nnx.Rngs(0),
    )
    transposed = net.convs[0]
    (place,) = path(size, kernel, stride, padding, layers=1)
    h = jax.random.normal(jax.random.key(1), (2, *place.inner, 3))
    # The kernel of a transposed convolution is laid out [kh, kw, in, out] and is met turned by 180°.
    weights = jnp.flip(transposed.kernel[...], (0, 1)).swapaxes(2, 3)  # [kh, kw, 2, 3]: from pixels inwards

    def plain(x):
        return jax.lax.conv_general_dilated(
            x, weights, (stride, stride), list(place.padding), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    _, vjp = jax.vjp(plain, jnp.zeros((2, *size, 2)))
    np.testing.assert_allclose(transposed(h), vjp(h)[0] + transposed.bias[...], rtol=1e-4, atol=1e-5)


def test_no_convolution_before_batch_norm_has_a_bias():
    rates = options(norm="batch")
    encoder = parameters(conv.Encoder, (8, 8, 1), rates)
    decoder = parameters(conv.Decoder, LATENT, (8, 8, 1), mirrored(rates))
    biased = [[name for name, _ in net if name[0] == "convs" and name[-1] == "bias"] for net in (encoder, decoder)]
    assert biased == [[], [("convs", 1, "bias")]]  # only the decoder's last, which no norm follows


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_every_convolution_has_a_bias_where_no_batch_norm_follows(norm):
    rates = options(norm=norm)
    encoder = parameters(conv.Encoder, (8, 8, 1), rates)
    decoder = parameters(conv.Decoder, LATENT, (8, 8, 1), mirrored(rates))
    for net in (encoder, decoder):
        assert sum(name[0] == "convs" and name[-1] == "bias" for name, _ in net) == 2


def test_a_stack_that_is_too_deep_is_refused_by_the_name_of_its_field():
    too_deep = options(channels=(2, 3, 4), kernel=4, stride=1, padding=0)  # 9 → 6 → 3 → none
    with pytest.raises(UserError, match=r"^model\.encoder cannot work on images of 9×9: convolution 3 .* only 3×3"):
        conv.check(too_deep, (9, 9, 1), field="model.encoder")


def test_lists_of_the_wrong_length_are_refused_by_the_name_of_their_field():
    with pytest.raises(UserError, match=r"^model\.decoder\.kernel has 3 entries for 2 channels"):
        conv.check(options(kernel=(3, 3, 3)), (8, 8, 1), field="model.decoder")


def test_vectors_are_refused():
    with pytest.raises(UserError, match=r"^model\.encoder\.family is 'conv'.*family='mlp'"):
        conv.check(options(), (64,), field="model.encoder")


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace"])
def test_the_mean_of_a_pixel_can_reach_the_whole_range(likelihood):
    model = {
        "encoder": {"family": "conv", **options()},
        "decoder": {"family": "conv", **mirrored(options())},
        "latent": LATENT,
        "cond": (),
        "posterior": "normal",
        "likelihood": likelihood,
        "variance": 1.0,
        "variance_kind": "fixed",
        "output": "sigmoid",
    }
    vae = VAE(model, (8, 8, 1), dtype=jnp.float32, rngs=nnx.Rngs(0))
    kernel = vae.decoder.convs[-1].kernel
    kernel[...] = 100 * kernel[...]
    mean = vae.decode(jax.random.normal(jax.random.key(1), (16, LATENT))).mean
    assert mean.min() < 1e-3 and mean.max() > 1 - 1e-3
    assert 0.25 < (mean < 0.5).mean() < 0.75

"""The frozen VGG-19 gives PyTorch's features on the same weights."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.nn.vgg import LAYERS, features, smallest_side, vgg_of
from vae_jax.pretrained.files import read_weights

THREE = ("relu1_1", "relu2_1", "relu3_1")
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def state_of(shapes, seed=0, names="features.{}"):
    """A state dict of convolutions [O, C, k, k] whose numbers are those of torchvision's VGG-19."""
    draw = np.random.default_rng(seed)
    numbers = (0, 2, 5, 7, 10, 12, 14, 16)
    state = {}
    for number, shape in zip(numbers, shapes, strict=False):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[names.format(number) + ".weight"] = (scale * draw.standard_normal(shape)).astype(np.float32)
        state[names.format(number) + ".bias"] = (0.1 * draw.standard_normal(shape[0])).astype(np.float32)
    return state


PLAIN = [(64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3)]


def torch_features(state, x, *, reflects):
    """The same by torch.nn.functional, with the padding and pooling of either origin; activations as NHWC."""
    import torch
    from torch.nn import functional

    h = torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)
    tensors = [torch.tensor(state[name]) for name in state]
    pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
    if reflects:
        h = functional.conv2d(h, *pairs.pop(0))
    else:
        mean, stddev = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        h = (h - mean.view(1, 3, 1, 1)) / stddev.view(1, 3, 1, 1)
    found = {}
    for name, (weight, bias) in zip(LAYERS, pairs, strict=False):
        if name in ("relu2_1", "relu3_1"):
            h = functional.max_pool2d(h, 2, 2, ceil_mode=reflects)
        h = functional.pad(h, (1, 1, 1, 1), mode="reflect") if reflects else functional.pad(h, (1, 1, 1, 1))
        h = functional.relu(functional.conv2d(h, weight, bias))
        found[name] = h.permute(0, 2, 3, 1).numpy()
    return found


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).random((2, 18, 22, 3), np.float32)  # 18 → 9 → 4 or 5


def assert_alike(found, expected):
    for name in THREE:
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4 * scale, rtol=1e-4)


@needs_torch
def test_features_are_torchs_on_a_torchvision_state_dict(x):
    state = state_of(PLAIN)
    net = vgg_of({**state, "classifier.0.weight": np.zeros((7, 5)), "classifier.0.bias": np.zeros(7)}, THREE, said="")
    found = jax.jit(lambda x: features(net, x, THREE, dtype=jnp.float32))(x)
    assert_alike(found, torch_features(state, x, reflects=False))


@needs_torch
def test_features_are_torchs_on_the_real_normalised_weights(shared, x):
    state = read_weights(shared / "weights/features/vgg_normalised_conv3_1.pth")
    found = jax.jit(lambda x: features(vgg_of(state, THREE, said=""), x, THREE, dtype=jnp.float32))(x)
    assert_alike(found, torch_features(state, x, reflects=True))
    assert 0.5 < float(found["relu2_1"].mean()) < 2, "normalised: a channel's mean activation is about 1"


def test_bfloat16_features_are_near_those_in_float32(x):
    net = vgg_of(state_of(PLAIN), THREE, said="")
    exact, rough = (features(net, x, THREE, dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16))
    for name in THREE:
        assert rough[name].dtype == jnp.bfloat16
        error = jnp.linalg.norm(rough[name] - exact[name]) / jnp.linalg.norm(exact[name])
        assert error < 0.02


def test_only_the_convolutions_that_the_layers_need_are_kept():
    assert [kernel.shape for kernel in vgg_of(state_of(PLAIN), ("relu1_2",), said="").kernels] == [
        (3, 3, 3, 64),
        (3, 3, 64, 64),
    ]


@pytest.mark.parametrize(
    ("state", "layers", "words"),
    [
        (state_of(PLAIN), ("relu4_1",), "its convolutions are"),
        (state_of([(32, 3, 3, 3), (64, 32, 3, 3)]), ("relu1_2",), "its convolutions are"),
        (
            state_of([*PLAIN, (256, 256, 3, 3), (256, 256, 3, 3), (512, 256, 3, 3)]),
            THREE,
            "its convolutions are",
        ),  # a VGG-16
        ({"fc.weight": np.zeros((2, 2), np.float32)}, THREE, "no 3×3 convolution is named NUMBER.weight; a VGG-19"),
        (
            {**state_of(PLAIN), "features.0.weight": np.zeros((64, 3, 3, 3), np.float32)},
            THREE,
            "a convolution of zeros",
        ),
        ({**state_of(PLAIN), "features.1.running_mean": np.zeros(64)}, THREE, "batch normalisations"),
        ({**state_of(PLAIN), "features.0.bias": np.zeros(3, np.float32)}, THREE, "with a bias of shape"),
    ],
)
def test_weights_that_are_no_vgg_19_are_refused(state, layers, words):
    with pytest.raises(UserError, match=f"perceptual.weights is 'x.npz', which .*{words}"):
        vgg_of(state, layers, said="perceptual.weights is 'x.npz'")


def test_a_layer_of_the_nth_block_needs_two_pixels_after_n_minus_1_poolings():
    assert (smallest_side(("relu1_1",)), smallest_side(THREE), smallest_side(("relu5_4",))) == (2, 8, 32)

"""The feature distance against PyTorch on the real weights, and what any distance must hold."""

import importlib.util
import re

import jax
import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.objectives.feature_distance import feature_distance, open_squeezenet

measure = jax.jit(feature_distance)
PATH = "weights/features/squeezenet_v1.0.npz"


@pytest.fixture(scope="module")
def net(shared):
    return open_squeezenet(str(shared / PATH), (64, 64, 3))


@pytest.fixture(scope="module")
def pair():
    x, y = np.random.default_rng(0).random((2, 2, 40, 33, 3), np.float32)
    return x, y


def torch_distance(arrays, x, y):
    import torch
    from torch.nn import functional

    weights = {name: torch.tensor(array) for name, array in arrays.items()}

    def conv(name, h, **options):
        return functional.relu(functional.conv2d(h, weights[f"{name}/w"], weights[f"{name}/b"], **options))

    def activations(x):
        h = torch.tensor(x).permute(0, 3, 1, 2) * 255 - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
        h = conv("conv1", h, stride=2)
        kept = [h]
        for number in range(2, 10):
            if number in (2, 5, 9):
                h = functional.max_pool2d(h, 3, 2, ceil_mode=True)
            s = conv(f"fire{number}/conv1x1_1", h)
            h = torch.cat([conv(f"fire{number}/conv1x1_2", s), conv(f"fire{number}/conv3x3_2", s, padding=1)], 1)
            kept += [h] if number >= 4 else []
        return [functional.normalize(each, dim=1) for each in kept]

    pairs = zip(activations(x), activations(y), strict=True)
    return sum((a - b).square().sum(1).mean((1, 2)) for a, b in pairs).numpy()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_it_is_what_torch_computes_on_the_same_weights(shared, net, pair):
    with np.load(shared / PATH) as arrays:
        expected = torch_distance(dict(arrays), *pair)
    np.testing.assert_allclose(measure(net, *pair), expected, rtol=1e-4)


def test_it_is_zero_for_like_pictures_and_the_same_both_ways(net, pair):
    x, y = pair
    np.testing.assert_allclose(measure(net, x, x), [0, 0], atol=1e-12)
    np.testing.assert_allclose(measure(net, x, y), measure(net, y, x), rtol=1e-6)


def test_each_pair_is_measured_alone(net, pair):
    x, y = pair
    np.testing.assert_allclose(measure(net, x[1:], y[1:]), measure(net, x, y)[1:], rtol=1e-4)


def test_a_grey_picture_is_the_colour_picture_of_the_same_grey(net, pair):
    x, y = (each[..., :1] for each in pair)
    np.testing.assert_allclose(measure(net, x, y), measure(net, x.repeat(3, -1), y.repeat(3, -1)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (64, 64, 2), (64,)])
def test_examples_that_are_no_pictures_for_it_are_refused(shape):
    with pytest.raises(UserError, match="eval.features is 'a.npz', which measures pictures of 16×16"):
        open_squeezenet("a.npz", shape)


def test_a_file_with_a_kernel_of_another_shape_is_refused(tmp_path, shared):
    with np.load(shared / PATH) as arrays:
        other = {**arrays, "fire5/conv3x3_2/w": arrays["fire5/conv3x3_2/w"][..., :2]}
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(UserError, match=re.escape("fire5/conv3x3_2/w is (128, 32, 3, 2), there (128, 32, 3, 3)")):
        open_squeezenet(str(tmp_path / "other.npz"), (64, 64, 3))


def test_a_file_that_is_not_its_weights_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", **{"conv1/w": np.zeros((64, 3, 3, 3), np.float32)})
    with pytest.raises(UserError, match="eval.features is .*other.npz', which is no SqueezeNet"):
        open_squeezenet(str(tmp_path / "other.npz"), (64, 64, 3))
    with pytest.raises(UserError, match="eval.features is .*absent.npz'"):
        open_squeezenet(str(tmp_path / "absent.npz"), (64, 64, 3))

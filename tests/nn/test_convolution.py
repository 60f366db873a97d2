"""The layers that are fast on the CPU, against flax's and what jax derives from them."""

import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.compilation import Unkept, nothing_kept
from vae_jax.mesh import batch_sharding, make_mesh, replicated
from vae_jax.nn.convolution import FEW_CHANNELS, LARGE_MAP
from vae_jax.nn.convolution_layers import (
    Conv,
    ConvTranspose,
    calls_onednn,
    choose_lowering,
    compiler_options,
    set_lowering,
)
from vae_jax.nn.layers import stride_path

HAS_ONEDNN = jax.__version_info__ >= (0, 11)
HAS_AMX = HAS_ONEDNN and "amx_bf16" in Path("/proc/cpuinfo").read_text()
GEOMETRIES = list(itertools.product((1, 2, 3, 4, 5), (1, 2, 3)))  # kernel, stride
CASES = (  # image size, padding, channels: small maps and large, one channel, few and more
    ((8, 5), "same", (3, 9)),
    ((7, 9), 1, (9, 1)),
    ((2 * LARGE_MAP + 6, 2 * LARGE_MAP + 3), 0, (2, FEW_CHANNELS)),
)


def place_of(size, kernel, stride, padding):
    (place,) = stride_path(size, kernels=[kernel], strides=[stride], paddings=[padding], field="model.encoder")
    return place


def drawn(_, shape, dtype=jnp.float32):
    """Normal noise by NumPy: no compilation, as jax's would be for every shape."""
    return jnp.asarray(np.random.default_rng(len(shape)).normal(size=shape), dtype)


def twins(kind, place, channels, dtype=jnp.float32):
    """A layer as flax has it, the same one for the CPU, and an input of theirs [2, H, W, C]."""
    sizes, padding = (place.outer, place.padding) if kind is Conv else (place.inner, place.transposed_padding)
    options = {"strides": place.stride, "padding": padding, "dtype": dtype, "rngs": nnx.Rngs(0)}
    layer = kind(*channels, (place.kernel, place.kernel), kernel_init=drawn, bias_init=drawn, **options)
    fast = nnx.clone(layer)
    set_lowering(fast, "cpu")
    assert (layer.lowering, fast.lowering) == ("xla", "cpu")
    return layer, fast, drawn(None, (2, *sizes, channels[0]))


def value_and_gradients(*layers_and_inputs, options=None):
    """For each layer and input: y, and the gradients of Σ y·(1 + cos(its place)) by each parameter and x.

    `options` are the compiler's.
    """
    graphs = [nnx.split(layer)[0] for layer, _ in layers_and_inputs]

    def loss(params, x, graph):
        y = nnx.merge(graph, params)(x)
        return (y * (1 + jnp.cos(jnp.arange(y.size))).reshape(y.shape).astype(y.dtype)).sum(), y

    def compute(arguments):
        gradients = jax.grad(loss, argnums=(0, 1), has_aux=True)
        return [gradients(*each, graph) for each, graph in zip(arguments, graphs, strict=True)]

    jitted = jax.jit(compute, compiler_options=options)
    function = Unkept(jitted) if calls_onednn(options or {}) else jitted
    results = function([(nnx.state(layer), x) for layer, x in layers_and_inputs])
    return [[y, *jax.tree.leaves(gradients)] for gradients, y in results]


def assert_same(actual, expected, tolerance):
    """Within `tolerance` of the largest entry."""
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape and one.dtype == other.dtype
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
@pytest.mark.parametrize("onednn", [False, True] if HAS_ONEDNN else [False])
def test_values_and_gradients_are_those_of_flax(kernel, stride, onednn):
    for kind in (Conv, ConvTranspose):
        pairs = [twins(kind, place_of(size, kernel, stride, padding), channels) for size, padding, channels in CASES]
        expected = value_and_gradients(*((layer, x) for layer, _, x in pairs))
        options = compiler_options(pairs[0][1], "cpu", onednn=onednn)
        computed = value_and_gradients(*((fast, x) for _, fast, x in pairs), options=options)
        for actual, wanted in zip(computed, expected, strict=True):
            assert len(actual) == 4  # y, bias, kernel, x
            assert_same(actual, wanted, 1e-5)


@pytest.mark.parametrize(("kernel", "stride"), GEOMETRIES)
def test_bfloat16_agrees_with_float32_to_its_own_precision(kernel, stride):
    for kind in (Conv, ConvTranspose):
        places = [(place_of(size, kernel, stride, padding), channels) for size, padding, channels in CASES]
        exact = [twins(kind, *each)[::2] for each in places]
        fast = [twins(kind, *each, jnp.bfloat16)[1:] for each in places]
        options = compiler_options(fast[0][0], "cpu", onednn=True)
        computed = value_and_gradients(*fast, options=options)
        for (y, *gradients), wanted in zip(computed, value_and_gradients(*exact), strict=True):
            assert y.dtype == jnp.bfloat16 and all(gradient.dtype == jnp.float32 for gradient in gradients)
            assert_same([y.astype(jnp.float32), *gradients], wanted, 0.03)


@pytest.mark.parametrize(
    ("kind", "examples", "size", "kernel", "stride"),
    [
        (Conv, 8, (12, 32), 3, 1),  # a gradient by a kernel 32 wide over 8 channels
        (Conv, 4, (26, 16), 3, 1),  # 16 over 4
        (ConvTranspose, 8, (14, 12), 3, 1),  # 12 over 8
        (Conv, 4, (24, 4), 3, 2),  # the stride along an axis that leaves one column
    ],
)
@pytest.mark.skipif(not HAS_AMX, reason="oneDNN computes these wrongly on processors with AMX")
def test_bfloat16_is_right_where_onednn_is_not(kind, examples, size, kernel, stride):
    place = place_of(size, kernel, stride, 1 if stride == 1 else 0)
    layer, _, x = twins(kind, place, (4, 6))
    _, fast, _ = twins(kind, place, (4, 6), jnp.bfloat16)
    x = drawn(None, (examples, *x.shape[1:]))
    options = compiler_options(fast, "cpu", onednn=True)
    (computed,) = value_and_gradients((fast, x.astype(jnp.bfloat16)), options=options)
    (wanted,) = value_and_gradients((layer, x))
    assert_same([each.astype(jnp.float32) for each in computed], wanted, 0.03)


@pytest.mark.parametrize("kind", [Conv, ConvTranspose])
def test_a_batch_spread_over_eight_devices_gives_the_same(kind):
    layer, fast, x = twins(kind, place_of((10, 10), 4, 2, 1), (3, 9))
    x = jnp.concatenate([x] * 4)  # [8, H, W, C]
    mesh = make_mesh(8)
    everywhere = jax.device_put(fast, replicated(mesh))
    (actual,) = value_and_gradients((everywhere, jax.device_put(x, batch_sharding(mesh))))
    assert len(actual[0].sharding.device_set) == 8
    assert_same(actual, *value_and_gradients((layer, x)), 1e-5)


@pytest.mark.parametrize("kind", [Conv, ConvTranspose])
def test_every_convolution_in_a_loop_is_one_that_xla_has_a_kernel_of_its_own_for(kind):
    _, fast, x = twins(kind, place_of((12, 12), 4, 2, 1), (9, 9))
    graph, params = nnx.split(fast)
    gradients = jax.grad(lambda params, x: (nnx.merge(graph, params)(x) ** 2).sum(), argnums=(0, 1))
    options = compiler_options(fast, "cpu", onednn=False)
    looped = jax.jit(lambda params, xs: jax.lax.map(lambda x: gradients(params, x), xs), compiler_options=options)
    lines = looped.lower(params, jnp.stack([x] * 3)).compile().as_text().splitlines()
    numbers = [line.split("dim_labels=")[1].split(",")[0].split()[0] for line in lines if " convolution(" in line]
    assert len(numbers) == 6 and set(numbers) == {"b01f_01io->b01f"}
    assert not any("ynn_fusion" in line and "conv_general_dilated" in line for line in lines)


def test_auto_means_the_platform_of_the_devices_and_a_choice_means_itself():
    mesh = make_mesh(1)
    assert [choose_lowering(name, mesh) for name in ("auto", "cpu", "xla")] == ["cpu", "cpu", "xla"]


def test_only_a_net_that_convolves_by_the_cpu_lowering_changes_how_programs_are_compiled():
    dense = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    conv = Conv(2, 3, (3, 3), strides=1, padding=((1, 1), (1, 1)), rngs=nnx.Rngs(0))
    for onednn in (False, True):
        assert compiler_options(conv, "cpu", onednn=onednn)
        assert not compiler_options(conv, "xla", onednn=onednn) and not compiler_options(dense, "cpu", onednn=onednn)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_convolutions_are_computed_by_onednn_where_that_is_asked_for_and_can_be(dtype):
    if dtype == jnp.bfloat16 and "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("XLA hands bfloat16 to oneDNN on CPUs with AVX-512")
    _, layer, x = twins(Conv, place_of((12, 12), 4, 2, 1), (9, 16), dtype)
    graph, params = nnx.split(layer)
    for onednn in (False, True):
        options = compiler_options(layer, "cpu", onednn=onednn)
        jitted = jax.jit(lambda params, x: nnx.merge(graph, params)(x), compiler_options=options)
        with nothing_kept():
            text = jitted.lower(params, x).compile().as_text()
        assert calls_onednn(options) == ('"__onednn$convolution"' in text) == (onednn and HAS_ONEDNN)

"""How the parameters of PyTorch's layers lie in ours: each layout names a kind of layer, and its two arrangements.

A PyTorch module's tensors and ours are paired part by part. Shapes: C in, O out, Z latent; PyTorch's first.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

Arrange = Callable[[np.ndarray, int], np.ndarray]  # a tensor, and the channels of the map that the layer is beside
Arrangement = tuple[Arrange, Arrange]  # theirs to ours, and ours to theirs


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor `theirs` of a module and the parameter `ours` that it becomes, sign · arranged.

    Parts that share a parameter add up; where parts share a tensor, each gives back its own entries of it and zeros
    elsewhere.
    """

    theirs: str
    ours: str
    to_ours: Arrange
    to_theirs: Arrange
    sign: int = 1


@dataclasses.dataclass(frozen=True)
class Layout:
    """A kind of layer: how a module's tensors are known to be of it, and its parts. `beside` names a net's map,
    whose channels are an end of that net's option `channels`.

    Tensors in `counted` are known to be of the layer and have no place in ours.
    """

    recognises: Callable[[Mapping[str, np.ndarray]], bool]
    parts: tuple[Part, ...]
    counted: tuple[str, ...] = ()
    beside: str = ""  # "encoder" (its last map) | "decoder" (its first)


def _same(tensor, channels):
    return tensor


def _transposed(tensor, channels):
    return tensor.T


def _conv(weight, channels):
    return weight.transpose(2, 3, 1, 0)  # [O, C, h, w] -> [h, w, C, O]


def _conv_back(kernel, channels):
    return kernel.transpose(3, 2, 0, 1)


def _conv_transpose(weight, channels):
    return weight.transpose(2, 3, 0, 1)[::-1, ::-1]  # [C, O, h, w] -> [h, w, C, O]; ours meets its input turned


def _conv_transpose_back(kernel, channels):
    return kernel[::-1, ::-1].transpose(2, 3, 0, 1)


def _after_flatten(weight, channels):
    """[O, C·h·w], from a map flattened as NCHW, -> [h·w·C, O]."""
    outputs = weight.shape[0]
    return weight.reshape(outputs, channels, -1).transpose(2, 1, 0).reshape(-1, outputs)


def _after_flatten_back(kernel, channels):
    outputs = kernel.shape[1]
    return kernel.reshape(-1, channels, outputs).transpose(2, 1, 0).reshape(outputs, -1)


def _before_unflatten(weight, channels):
    """[C·h·w, I], for a map unflattened as NCHW, -> [I, h·w·C]."""
    inputs = weight.shape[1]
    return weight.reshape(channels, -1, inputs).transpose(2, 1, 0).reshape(inputs, -1)


def _before_unflatten_back(kernel, channels):
    inputs = kernel.shape[0]
    return kernel.reshape(inputs, -1, channels).transpose(2, 1, 0).reshape(-1, inputs)


def _bias_before_unflatten(bias, channels):
    return bias.reshape(channels, -1).T.reshape(-1)


def _bias_before_unflatten_back(bias, channels):
    return bias.reshape(-1, channels).T.reshape(-1)


def _weight_of(dimensions: int):
    return lambda tensors: "weight" in tensors and tensors["weight"].ndim == dimensions


def _both_heads(rows: Callable[[int, int], slice], kernel: Arrangement, beside: str = "") -> Layout:
    """One dense layer for mean and log-variance; of its outputs, `rows(number, outputs)` are those of a head."""
    parts = []
    for number, head in enumerate(("mean", "log_variance")):
        parts.append(Part("weight", f"{head}.kernel", *_share(rows, number, kernel)))
        parts.append(Part("bias", f"{head}.bias", *_share(rows, number, (_same, _same))))
    return Layout(_weight_of(2), tuple(parts), beside=beside)


def _share(rows: Callable[[int, int], slice], number: int, arrangement: Arrangement) -> Arrangement:
    """Head `number`'s rows of a tensor, arranged; and back, with zeros in the rows of the other head."""
    there, back = arrangement

    def to_ours(tensor, channels):
        return there(tensor[rows(number, len(tensor))], channels)

    def to_theirs(parameter, channels):
        own = back(parameter, channels)
        tensor = np.zeros((2 * len(own), *own.shape[1:]), own.dtype)
        tensor[rows(number, len(tensor))] = own
        return tensor

    return to_ours, to_theirs


def _halves(number: int, outputs: int) -> slice:
    return slice(number * outputs // 2, (number + 1) * outputs // 2)


def _alternate(number: int, outputs: int) -> slice:
    return slice(number, outputs, 2)


AS_IT_IS = Part("", "", _same, _same)
BIAS = Part("bias", "bias", _same, _same)
SCALE = Part("weight", "scale", _same, _same)
LINEAR = (_transposed, _transposed)
AFTER_FLATTEN = (_after_flatten, _after_flatten_back)

LAYOUTS = {
    "conv": Layout(_weight_of(4), (Part("weight", "kernel", _conv, _conv_back), BIAS)),
    "conv_transpose": Layout(_weight_of(4), (Part("weight", "kernel", _conv_transpose, _conv_transpose_back), BIAS)),
    "linear": Layout(_weight_of(2), (Part("weight", "kernel", *LINEAR), BIAS)),
    "linear_after_flatten": Layout(_weight_of(2), (Part("weight", "kernel", *AFTER_FLATTEN), BIAS), beside="encoder"),
    "linear_before_unflatten": Layout(
        _weight_of(2),
        (
            Part("weight", "kernel", _before_unflatten, _before_unflatten_back),
            Part("bias", "bias", _bias_before_unflatten, _bias_before_unflatten_back),
        ),
        beside="decoder",
    ),
    # One dense layer for both heads: in its outputs one comes after the other, (2, Z), or they alternate, (Z, 2).
    "linear_halves": _both_heads(_halves, LINEAR),
    "linear_halves_after_flatten": _both_heads(_halves, AFTER_FLATTEN, beside="encoder"),
    "linear_interleaved": _both_heads(_alternate, LINEAR),
    "linear_interleaved_after_flatten": _both_heads(_alternate, AFTER_FLATTEN, beside="encoder"),
    "batch_norm": Layout(
        lambda tensors: "running_mean" in tensors,
        (SCALE, BIAS, Part("running_mean", "mean", _same, _same), Part("running_var", "var", _same, _same)),
        counted=("num_batches_tracked",),
    ),
    "layer_norm": Layout(lambda tensors: _weight_of(1)(tensors) and "running_mean" not in tensors, (SCALE, BIAS)),
    # Our convolutions before BatchNorm have no bias: (y + b − mean)/stddev is BatchNorm with the mean less b.
    "bias_into_mean": Layout(
        lambda tensors: _weight_of(4)(tensors) and "bias" in tensors,
        (Part("bias", "mean", _same, lambda mean, channels: np.zeros_like(mean), sign=-1),),
    ),
    # Tensors that a file has and its net does not use.
    "unused": Layout(lambda tensors: True, ()),
}

"""What a mapping finds in a file, what it does not, and that every layout has a way back."""

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.pretrained.fit import fit
from vae_jax.pretrained.layouts import LAYOUTS
from vae_jax.pretrained.mapping import check_rules, found_modules, join_heads, pairs, split_heads, unused

RNG = np.random.default_rng(0)


def numbers(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def test_modules_of_a_layout_are_numbered_in_the_order_of_their_digits():
    tensors = {f"net.{n}.weight": numbers(2, 2, 3, 3) for n in (10, 0, 3)} | {"net.2.weight": numbers(2)}
    found = found_modules([("net.{n}", "convs.{n}", "conv")], tensors)
    assert found == [("net.0", "convs.0", "conv"), ("net.3", "convs.1", "conv"), ("net.10", "convs.2", "conv")]


@pytest.mark.parametrize(
    "part",
    [(name, part) for name, layout in LAYOUTS.items() for part in layout.parts],
    ids=lambda part: f"{part[0]}, {part[1].theirs} as {part[1].ours}",
)
def test_a_tensor_comes_back_as_it_went(part):
    name, part = part
    dimensions = {"conv": (8, 6, 3, 3), "conv_transpose": (6, 8, 3, 3)}.get(name, (8, 6))
    tensor = numbers(*dimensions) if part.theirs == "weight" and "norm" not in name else numbers(8)
    back = part.to_theirs(part.to_ours(tensor, 2), 2)
    if name == "bias_into_mean":
        assert not back.any()
    elif name.startswith(("linear_halves", "linear_interleaved")):
        own = rows_of_head(name, part.ours.partition(".")[0])
        np.testing.assert_array_equal(back[own], tensor[own])
        assert np.count_nonzero(back) == np.count_nonzero(tensor[own])
    else:
        np.testing.assert_array_equal(back, tensor)


def rows_of_head(layout, head):
    """Of 8 outputs those of a head, as PyTorch code has them: chunk(2, 1), or view(-1, 4, 2).unbind(-1)."""
    if "halves" in layout:
        return {"mean": [0, 1, 2, 3], "log_variance": [4, 5, 6, 7]}[head]
    return {"mean": [0, 2, 4, 6], "log_variance": [1, 3, 5, 7]}[head]


@pytest.mark.parametrize("kind", ["halves", "interleaved"])
def test_a_layer_of_both_heads_after_a_flatten_gives_each_its_own_outputs(kind):
    maps, weight = numbers(5, 3, 2, 4), numbers(8, 24)
    theirs = maps.reshape(5, -1) @ weight.T
    for part in LAYOUTS[f"linear_{kind}_after_flatten"].parts[::2]:
        ours = maps.transpose(0, 2, 3, 1).reshape(5, -1) @ part.to_ours(weight, 3)
        own = rows_of_head(kind, part.ours.partition(".")[0])
        np.testing.assert_allclose(ours, theirs[:, own], rtol=1e-5, atol=1e-6)


def test_a_flattened_map_is_turned_from_channels_first_to_channels_last():
    maps = numbers(5, 3, 2, 4)  # [B, C, h, w]
    weight = numbers(7, 24)
    (part, _) = LAYOUTS["linear_after_flatten"].parts
    theirs = maps.reshape(5, -1) @ weight.T
    ours = maps.transpose(0, 2, 3, 1).reshape(5, -1) @ part.to_ours(weight, 3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_map_made_by_a_dense_layer_is_turned_too():
    z, weight, bias = numbers(5, 7), numbers(24, 7), numbers(24)
    kernel, shift = LAYOUTS["linear_before_unflatten"].parts
    theirs = (z @ weight.T + bias).reshape(5, 3, 2, 4).transpose(0, 2, 3, 1)
    ours = (z @ kernel.to_ours(weight, 3) + shift.to_ours(bias, 3)).reshape(5, 2, 4, 3)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_two_heads_are_one_layer_and_back():
    parameters = {"a.kernel": numbers(2, 2), "heads.kernel": numbers(4, 6), "heads.bias": numbers(6)}
    split = split_heads(parameters)
    np.testing.assert_array_equal(split["heads.log_variance.kernel"], parameters["heads.kernel"][:, 3:])
    joined = join_heads(split)
    assert set(joined) == set(parameters)
    for name in parameters:
        np.testing.assert_array_equal(joined[name], parameters[name])


def test_the_table_has_every_tensor_and_every_parameter():
    tensors = {
        "a.weight": numbers(2, 3),
        "a.bias": numbers(2),
        "b.weight": numbers(4, 4),
        "old.weight": numbers(2, 2),
        "norm.running_mean": numbers(2),
        "norm.num_batches_tracked": np.array(3),
    }
    shapes = {"x.kernel": (3, 2), "x.bias": (5,), "y.kernel": (4, 4)}
    rules = [("a", "x", "linear"), ("old", "", "unused"), ("norm", "n", "batch_norm")]
    paired = pairs(rules, shapes, channels={})
    found = fit(paired, tensors, shapes, unused=unused(rules, tensors))
    assert {(row.verdict, row.theirs, row.ours) for row in found.rows} == {
        ("fits", "a.weight", "x.kernel"),
        ("DOES NOT FIT", "a.bias", "x.bias"),
        ("DOES NOT FIT", "norm.running_mean", "n.mean"),
        ("MISSING", "", "y.kernel"),
        ("LEFT OVER", "b.weight", ""),
    }
    lines = found.table().splitlines()
    assert len(lines) == 1 + len(found.rows)
    assert [line.split() for line in lines if "x.bias" in line] == [
        ["DOES", "NOT", "FIT", "a.bias", "2", "x.bias", "5"]
    ]


def test_a_second_tensor_for_one_parameter_is_told_and_never_added_to_the_first():
    tensors = {"old.weight": numbers(2, 3), "new.weight": numbers(2, 3)}
    shapes = {"x.kernel": (3, 2)}
    rules = [("old", "x", "linear"), ("new", "x", "linear")]
    found = fit(pairs(rules, shapes, channels={}), tensors, shapes, unused=set())
    assert [(row.verdict, row.theirs) for row in found.wrong] == [("THERE TWICE", "new.weight")]
    np.testing.assert_array_equal(found.values["x.kernel"], tensors["old.weight"].T)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (7, "three texts"),
        (("a", "b"), "three texts"),
        (("a", "b", "convolution"), "has the layout 'convolution'; it must be one of conv,"),
        (("a.{n}", "b", "conv"), "in both names once, or in neither"),
        (("a.{n}.{n}", "b.{n}.{n}", "conv"), "in both names once, or in neither"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule, words):
    with pytest.raises(UserError, match=rf"pretrained.mapping\[1\] .*{words}"):
        check_rules([("a", "b", "conv"), rule])

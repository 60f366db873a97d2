"""Attributes and classes by name become columns of a batch, and what the data don't have is refused."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from vae_jax.data.content import read_examples
from vae_jax.data.named import Conditions, conditions_of, exclusive, with_named
from vae_jax.data.source import ArraySource, Features
from vae_jax.errors import UserError

LABELS = np.array([2, 0, 1, 2, 2])
SMILES, HATS = np.array([1, 0, 1, 1, 0]), np.array([0, 0, 0, 1, 1])


def source():
    found = ArraySource(np.zeros((5, 4, 4, 1), np.uint8), LABELS, ("a", "b", "c"))
    found.features = Features((4, 4, 1), np.dtype(np.uint8), ("a", "b", "c"), ("Smiling", "Hat"))
    found.columns["attributes"] = np.stack([SMILES, HATS], axis=1).astype(np.uint8)
    return found


def named(cond=(), target=()):
    model = ConfigDict({"cond": cond, "target": target})
    return with_named({"train": source()}, model)["train"], model


def test_a_batch_has_a_column_of_the_attributes_in_the_order_of_their_names():
    split, _ = named(cond=("Hat", "Smiling"))
    batch = read_examples(split, np.array([3, 0]))
    np.testing.assert_array_equal(batch["cond"], [[1, 1], [0, 1]])
    np.testing.assert_array_equal(split.columns["cond"], np.stack([HATS, SMILES], axis=1))
    assert batch["image"].shape == (2, 4, 4, 1)


def test_label_stands_for_its_classes_one_hot_and_the_config_then_names_them():
    split, model = named(target=("label",))
    np.testing.assert_array_equal(split.columns["target"], np.eye(3)[LABELS])
    assert model.target == ("label=a", "label=b", "label=c")
    again, _ = named(target=model.target)
    np.testing.assert_array_equal(again.columns["target"], split.columns["target"])


def test_attributes_stands_for_all_of_them():
    _, model = named(cond=("attributes",))
    assert model.cond == ("Smiling", "Hat")


def test_classes_exclude_one_another_and_attributes_do_not():
    assert exclusive(("label=a", "label=b"))
    assert not exclusive(("Smiling",))
    assert not exclusive(("label=a", "Smiling"))


@pytest.mark.parametrize(
    ("cond", "words"),
    [
        (("Smilling",), "model.cond is 'Smilling'.*did you mean 'Smiling'"),
        (("label=z",), "model.cond is 'label=z'"),
        (("Hat", "Hat"), "twice"),
        (("label=a",), "'label' stands for all"),
    ],
)
def test_names_that_the_data_do_not_have_are_refused(cond, words):
    with pytest.raises(UserError, match=words):
        named(cond=cond)


def test_conditions_are_drawn_as_often_as_examples_have_them():
    split, _ = named(cond=("Smiling", "Hat"))
    found = conditions_of(split)
    drawn = found.at((np.arange(1000) + 0.5) / 1000)
    values, counts = np.unique(drawn, axis=0, return_counts=True)
    np.testing.assert_array_equal(values, [[0, 0], [0, 1], [1, 0], [1, 1]])
    np.testing.assert_array_equal(counts, [200, 200, 400, 200])
    np.testing.assert_array_equal(Conditions(**found.as_lists()).at(np.array([0.0, 0.999])), [[0, 0], [1, 1]])

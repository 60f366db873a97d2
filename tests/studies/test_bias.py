"""For whom it works worse: by the user's own labels, and by a distance of features."""

import jax
import numpy as np
import pytest

from vae_jax import studies
from vae_jax.data.source import ArraySource, Subset
from vae_jax.objectives.feature_distance import feature_distance, open_squeezenet
from vae_jax.studies.label_files import read_column


class Named(Subset):
    """Examples that are called as the files of a folder."""

    def __init__(self, names):
        super().__init__(ArraySource(np.zeros((len(names), 2, 2, 1), np.uint8)), np.arange(len(names)))
        self._names = names

    def names(self, indices):
        return [self._names[index] for index in indices]


@pytest.fixture
def column(tmp_path):
    def read(text, names, name="age"):
        (tmp_path / "labels.csv").write_text(text, encoding="utf-8-sig")
        return read_column(f"{tmp_path / 'labels.csv'}:{name}", Named(names))

    return read


def test_rows_are_of_the_pictures_that_they_name_in_any_order(column):
    rows = "b.jpg,f,old\na.jpg,m,young\nc.jpg,f,old\nelsewhere.jpg,f,old\n"
    found = column("file,sex,age\n" + rows, ["a.jpg", "b.jpg", "c.jpg"])
    assert found.examples.tolist() == [0, 1, 2]
    assert found.groups == ("age = old", "age = young")
    np.testing.assert_array_equal(found.within, [[0, 1], [1, 0], [1, 0]])


def test_folders_of_a_path_may_be_left_out_where_that_is_clear(column):
    names = ["x/a.jpg", "x/b.jpg", "y/b.jpg", "y/c.jpg"]
    found = column("file;age\na.jpg;old\nb.jpg;old\ny/b.jpg;young\nc.jpg;\n", names)
    assert found.examples.tolist() == [0, 2], "b.jpg may be either, and nothing is said of c.jpg"
    np.testing.assert_array_equal(found.within, [[1, 0], [0, 1]])


def test_examples_of_a_subset_keep_their_numbers_in_the_array():
    source = Subset(ArraySource(np.zeros((9, 2, 2, 1), np.uint8)), np.array([7, 2, 5]))
    assert source.names(np.array([0, 2])) == ["7", "5"]


def test_groups_are_compared_by_features_beside_pixels(by_hand, shared):
    """The model halves every picture, of which every second one is chequered."""
    images = np.random.default_rng(0).random((60, 1, 1, 1), np.float32) * np.ones((60, 16, 16, 1), np.float32)
    images[1::2] *= (np.indices((16, 16)).sum(axis=0) % 2)[..., None]
    model, groups = by_hand(0.5, side=16), (np.arange(60) % 2)[:, None]
    net = open_squeezenet(str(shared / "weights" / "features" / "squeezenet_v1.0.npz"), model.shape)
    arrays = studies.bias(model, images, groups, squeezenet=net)
    expected = np.asarray(jax.jit(feature_distance)(net, images, images / 2))
    np.testing.assert_allclose(arrays["feature_distance"], expected, rtol=1e-3, atol=1e-5)
    difference = expected[1::2].mean() - expected[::2].mean()
    np.testing.assert_allclose(arrays["feature_distance_difference"], [difference], rtol=1e-3)

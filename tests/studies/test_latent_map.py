"""The names of classes on a map of the latents."""

import numpy as np

from vae_jax.studies.latent_map import APART, name_places


def test_names_stand_on_points_of_their_own_class_and_apart_where_classes_overlap():
    points = np.random.default_rng(0).normal(size=(900, 2)) * [1, 50]
    values = np.arange(900) % 9
    places = name_places(points, values)
    assert all((points[values == value] == place).all(axis=1).any() for value, place in places.items())
    scaled = np.stack(list(places.values())) / np.ptp(points, axis=0)
    distances = np.linalg.norm(scaled[:, None] - scaled, axis=-1) + np.eye(9)
    assert distances.min() >= APART


def test_a_name_stands_where_most_of_its_class_is():
    rng = np.random.default_rng(0)
    ring = np.stack([np.cos(angles := rng.uniform(0, 6.28, 40)), np.sin(angles)], axis=1)
    crowd = rng.normal(size=(60, 2)) * 0.02 + [1, 0]
    place = name_places(np.concatenate([ring, crowd]), np.zeros(100, int))[0]
    assert np.linalg.norm(place - [1, 0]) < 0.1, "not in the middle of the ring, where there is no point of it"

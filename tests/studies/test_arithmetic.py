"""What studies compute, on a model whose arithmetic can be done by hand and against other libraries."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from vae_jax import studies
from vae_jax.errors import UserError
from vae_jax.studies import nets
from vae_jax.studies.cycle import first_run
from vae_jax.studies.interpolate import spherical
from vae_jax.studies.latent_stats import _kl_from_prior, by_chance
from vae_jax.studies.masks import fixed_mask, make_mask


@pytest.fixture
def pictures():
    return np.random.default_rng(1).random((6, 2, 2, 1), np.float32)


def test_variations_are_the_mean_and_strength_times_noise(by_hand, pictures):
    arrays = studies.variation(by_hand(), pictures, strength=(0, 0.5), count=3)
    np.testing.assert_array_equal(arrays["outputs"][0], np.broadcast_to(pictures, (3, *pictures.shape)))
    expected = pictures.reshape(6, 4) + np.float32(0.5) * arrays["noise"]
    np.testing.assert_allclose(arrays["latents"][1], expected, rtol=1e-6)


def test_draws_of_the_posterior_have_its_spread(by_hand, pictures):
    arrays = studies.posterior(by_hand(), pictures, count=4000)
    np.testing.assert_allclose(arrays["pixel_stddev"], 0.5, atol=0.03)


def test_traversal_moves_one_latent_and_orders_by_kl(by_hand, pictures):
    far = pictures * np.array([1, 4, 2, 3], np.float32).reshape(2, 2, 1) / 4
    arrays = studies.traverse(by_hand(), far, steps=5)
    kl = 0.5 * (0.25 + np.square(far.reshape(6, 4)) - 1 - np.log(0.25))
    np.testing.assert_allclose(np.sort(arrays["kl"])[::-1], arrays["kl"])
    np.testing.assert_allclose(arrays["kl"], np.sort(kl.mean(axis=0))[::-1], rtol=1e-5)
    for d, dimension in enumerate(arrays["dimension"]):
        others = np.delete(arrays["latents"][1, d], dimension, axis=-1)
        np.testing.assert_array_equal(arrays["latents"][1, d, :, dimension], [-3, -1.5, 0, 1.5, 3])
        np.testing.assert_array_equal(others, np.broadcast_to(np.delete(far[0].reshape(4), dimension), others.shape))


def test_traversal_orders_by_the_kl_of_others_where_they_are_given(by_hand, pictures):
    model = by_hand()
    others = nets.encode(model, pictures * np.array([0, 1, 3, 2], np.float32).reshape(2, 2, 1))
    arrays = studies.traverse(model, pictures, among=others, steps=3)
    assert arrays["dimension"].tolist() == [2, 3, 1, 0]
    np.testing.assert_array_equal(arrays["latents"][1, 0, 1, :2], pictures[0].reshape(4)[:2])


def test_spherical_steps_keep_the_length_and_equal_angles():
    one, other = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    steps = spherical(one, other, np.linspace(0, 1, 5))
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 1)
    np.testing.assert_allclose(np.arccos((steps[:-1] * steps[1:]).sum(axis=1)), np.pi / 8)
    np.testing.assert_allclose(steps[[0, -1]], [one, other], atol=1e-12)


def test_between_parallel_latents_the_arc_is_the_line():
    z = np.array([1.0, 2.0])
    np.testing.assert_allclose(spherical(z, 3 * z, np.array([0.5])), [2 * z])


def test_a_model_that_gives_back_what_it_sees_settles_at_once(by_hand, pictures):
    arrays = studies.cycle(by_hand(1.0), pictures, cycles=5)
    assert arrays["settled"].tolist() == [1] * 6
    assert arrays["collapsed"] == 0
    np.testing.assert_array_equal(arrays["outputs"][-1], pictures)


def test_a_model_that_halves_everything_collapses(by_hand, pictures):
    arrays = studies.cycle(by_hand(0.5), pictures, cycles=5)
    assert arrays["collapsed"] == 3, "the variance is (1/4)^(n-1) of the first cycle's: 1, 1/4, 1/16"
    np.testing.assert_allclose(arrays["to_original_mse"][1], np.square(0.75 * pictures).mean(axis=(1, 2, 3)), rtol=1e-5)


def test_a_run_of_trues_is_found_where_it_begins():
    columns = np.array([[1, 1, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 1]], bool).T
    assert first_run(columns, 3).tolist() == [4, 0, 1]
    assert first_run(columns, 7).tolist() == [0, 0, 0]


def test_the_manifold_is_at_the_quantiles_of_the_prior(model):
    values = studies.manifold(model, side=6)["values"]
    np.testing.assert_allclose(values, stats.norm.ppf([1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12]), rtol=1e-5)


def test_the_aggregate_posterior_has_the_moments_of_its_draws(by_hand):
    pictures = np.random.default_rng(0).random((4000, 2, 2, 1), np.float32)
    arrays = studies.latent_stats(by_hand(3.0), pictures)
    np.testing.assert_allclose(np.cov(arrays["latents"], rowvar=False), arrays["aggregate_covariance"], atol=0.08)
    np.testing.assert_allclose(np.diag(arrays["aggregate_covariance"]), 9 / 12 + 0.25, atol=0.05)
    assert arrays["active"].all()


def test_the_aggregate_posterior_is_as_far_from_the_prior_as_the_eigenvalues_of_its_covariance_say(by_hand):
    pixels = np.random.default_rng(0).random((500, 4), np.float32) @ np.float32(np.eye(4) + np.eye(4, k=1)) / 2
    arrays = studies.latent_stats(by_hand(3.0), pixels.reshape(500, 2, 2, 1))
    values = np.linalg.eigvalsh(np.cov(3 * pixels, rowvar=False) + 0.25 * np.eye(4))
    expected = 0.5 * (values - 1 - np.log(values)).sum() + 0.5 * np.square(3 * pixels.mean(axis=0)).sum()
    assert np.ptp(values) > 0.5
    assert arrays["aggregate_kl"] == pytest.approx(expected, rel=1e-4)


def test_what_chance_adds_to_the_distance_from_the_prior_is_what_draws_from_it_are_away():
    rng = np.random.default_rng(0)
    away = [_kl_from_prior(z.mean(axis=0), np.cov(z, rowvar=False)) for z in rng.normal(size=(400, 60, 10))]
    assert by_chance(60, 10) == pytest.approx(np.mean(away), abs=4 * np.std(away) / 20)
    assert by_chance(10, 10) == math.inf


def test_filling_in_keeps_the_known_pixels_and_measures_the_others(by_hand, pictures):
    arrays = studies.inpaint(by_hand(0.5), pictures, mask="lower", cycles=3)
    mean = pictures[:, :1].mean(axis=2, keepdims=True)  # of the known row
    np.testing.assert_array_equal(arrays["iterated"][:, 0], pictures[:, 0])
    np.testing.assert_allclose(arrays["one_pass"][:, 1], np.broadcast_to(mean[:, 0] / 2, (6, 2, 1)), rtol=1e-5)
    np.testing.assert_allclose(arrays["iterated"][:, 1], np.broadcast_to(mean[:, 0] / 8, (6, 2, 1)), rtol=1e-5)
    expected = np.square(arrays["one_pass"] - pictures)[:, 1].mean(axis=(1, 2))
    np.testing.assert_allclose(arrays["one_pass_inside_mse"], expected, rtol=1e-5)
    np.testing.assert_allclose(
        arrays["one_pass_outside_mse"], np.square(pictures / 2)[:, 0].mean(axis=(1, 2)), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("rows:1-2", np.s_[1:3, :]),
        ("columns:0-1", np.s_[:, 0:2]),
        ("box:1-2,0-3", np.s_[1:3, 0:4]),
        ("upper", np.s_[:2, :]),
        ("lower", np.s_[2:, :]),
        ("left", np.s_[:, :3]),
        ("right", np.s_[:, 3:]),
    ],
)
def test_a_mask_hides_what_it_names(text, hidden):
    expected = np.zeros((5, 6), bool)
    expected[hidden] = True
    np.testing.assert_array_equal(fixed_mask(text, (5, 6)), expected)


def test_a_random_mask_hides_its_share_by_the_content_of_each_picture():
    images = np.random.default_rng(0).random((3, 40, 40, 1), np.float32)
    mask = make_mask("random:0.3", images, seed=0)
    assert mask.sum(axis=(1, 2, 3)).tolist() == [480, 480, 480], "as many in every picture"
    assert not (mask[0] == mask[1]).all()
    np.testing.assert_array_equal(make_mask("random:0.3", images[::-1], seed=0)[::-1], mask)
    assert make_mask("random:0.02", images[:, :8, :8], seed=0).sum(axis=(1, 2, 3)).tolist() == [1, 1, 1]


@pytest.mark.parametrize("text", ["random:0", "random:1", "random:0.001", "random:0.999"])
def test_a_random_mask_that_hides_nothing_or_everything_is_refused(text):
    with pytest.raises(UserError, match=f"study.mask is '{text}'; .* 64 pixels"):
        fixed_mask(text, (8, 8))


def test_interpolation_needs_two(by_hand, pictures):
    with pytest.raises(UserError, match="two images or more, and there are 1"):
        studies.interpolate(by_hand(), pictures[:1])


def test_sampled_vectors_belong_to_the_component_of_their_nearest_point(by_hand):
    points = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    labels = (points[:, 0] > 0).astype(np.int32)
    model = by_hand()
    model.decode = lambda z: z
    arrays = studies.vectors(model, points, labels, count=300)
    nearest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(arrays["samples"], return_distance=False)[:, 0]
    somewhere = arrays["component"] >= 0
    np.testing.assert_array_equal(arrays["component"][somewhere], labels[nearest][somewhere])
    assert somewhere.mean() > 0.9, "the samples are of the density of the points"
    np.testing.assert_allclose(arrays["share"].sum(), somewhere.mean())


@pytest.mark.parametrize("shape", [(2, 2, 1), (0, 2, 2, 1), (3, 4, 4, 1)], ids=["one alone", "none", "of another size"])
def test_pictures_that_are_not_a_batch_of_the_runs_shape_are_refused(by_hand, shape):
    with pytest.raises(UserError, match=r"they must be \[B, 2, 2, 1\] with B of 1 or more"):
        studies.variation(by_hand(), np.zeros(shape, np.float32))

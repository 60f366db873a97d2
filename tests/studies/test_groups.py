"""Differences between groups: their intervals against closed forms, and their correction against a published one."""

import numpy as np
from scipy import stats

from vae_jax.studies.groups import differences, holm, two_sided_p
from vae_jax.studies.probes import probe


def made(people, repeats, seed=0):
    """Errors of people of whom each second belongs to the group, every picture `repeats` times."""
    rng = np.random.default_rng(seed)
    errors, within = rng.normal(size=people), (np.arange(people) % 2)[:, None]
    return np.repeat(errors, repeats), np.repeat(within, repeats, axis=0), np.repeat(np.arange(people), repeats)


def test_the_standard_error_is_that_of_a_difference_of_two_means():
    errors, within, people = made(400, 1)
    found = differences(errors, within, people)
    one, other = errors[within[:, 0] == 1], errors[within[:, 0] == 0]
    np.testing.assert_allclose(found.difference, one.mean() - other.mean())
    np.testing.assert_allclose(found.stderr, np.sqrt(one.var() / 200 + other.var() / 200), rtol=0.08)
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 * found.stderr, rtol=0.08)


def test_more_pictures_of_the_same_people_make_nothing_surer():
    once, often = differences(*made(60, 1)), differences(*made(60, 10))
    np.testing.assert_allclose(often.stderr, once.stderr, rtol=1e-9)
    np.testing.assert_allclose(often.difference, once.difference)
    assert (often.pictures, often.people) == (300, 30)


def test_a_group_of_few_people_is_not_judged():
    errors, _, people = made(40, 10)
    within = (people[:, None] < np.array([[4, 20, 38]])).astype(int)
    found = differences(errors, within, people)
    assert found.judged.tolist() == [False, True, False]
    assert np.isnan(found.p).tolist() == [True, False, True]


def test_differences_that_are_not_there_are_rarely_found():
    found = [differences(*made(60, 3, seed)).p[0] < 0.05 for seed in range(60)]
    assert sum(found) <= 9, "three are expected, and more than nine in one of 700 such tests"


def test_p_is_that_of_another_library():
    t = np.array([0.0, 0.5, -2.0, 4.0])
    np.testing.assert_allclose(two_sided_p(t, freedom=20), 2 * stats.t.sf(np.abs(t), 20), rtol=1e-4)


def test_holms_correction_is_that_of_a_worked_example():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), method = "holm")
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])


def test_probes_tell_what_is_there_and_guess_what_is_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    told = probe(labels[:, None] + 0.01 * rng.normal(size=(200, 3)), labels)
    assert told.knn.mean() == told.linear.mean() == 1
    guessed = probe(rng.normal(size=(200, 3)), labels)
    assert abs(guessed.linear.mean() - 0.5) < 0.15
    assert probe(rng.normal(size=(200, 3)), np.zeros(200, int)) is None


def test_probes_do_not_know_people_of_other_folds():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 10)
    labels = rng.integers(0, 2, 40)[people]  # a person's own, which nothing else tells
    latents = rng.normal(size=(40, 3))[people] + 0.01 * rng.normal(size=(400, 3))
    assert probe(latents, labels).knn.mean() > 0.95
    assert probe(latents, labels, groups=people).knn.mean() < 0.75

"""Figures: the mean of values and its standard error, where several pictures may be of one person."""

import numpy as np
import pytest

from vae_jax.evaluation.figures import figure

VALUES = np.random.default_rng(0).normal(3, 2, 40)


def test_the_standard_error_is_that_of_a_mean():
    found = figure(VALUES, "any")
    assert found["mean"] == pytest.approx(VALUES.mean()) and found["examples"] == 40
    assert found["stderr"] == pytest.approx(VALUES.std(ddof=1) / np.sqrt(40))
    assert figure(VALUES, "any", people=np.arange(40)[::-1])["stderr"] == pytest.approx(found["stderr"]), "once each"


def test_a_picture_that_is_there_five_times_counts_once():
    people = np.repeat(np.arange(40), 5)
    found = figure(np.repeat(VALUES, 5), "any", people=people)
    assert found["stderr"] == pytest.approx(VALUES.std(ddof=1) / np.sqrt(40))
    assert figure(np.repeat(VALUES, 5), "any")["stderr"] < 0.5 * found["stderr"]


def test_it_is_the_spread_that_people_drawn_anew_give():
    rng = np.random.default_rng(1)
    people = rng.integers(30, size=300)
    values = rng.normal(size=30)[people] + 0.3 * rng.normal(size=300)
    sums, counts = np.bincount(people, values), np.bincount(people)
    drawn = rng.multinomial(30, np.full(30, 1 / 30), size=4000)
    bootstrap = ((drawn @ sums) / (drawn @ counts)).std()
    assert figure(values, "any", people=people)["stderr"] == pytest.approx(bootstrap, rel=0.08)


@pytest.mark.parametrize("people", [None, np.zeros(1, int)])
def test_one_value_or_one_person_has_no_standard_error(people):
    assert figure(VALUES[:1], "any", people=people)["stderr"] == 0
    assert figure(VALUES, "any", people=np.zeros(40, int))["stderr"] == 0

"""The noise of a study belongs to each input's content."""

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.studies import draws


def drawn(images, count=3, **options):
    return draws.normal(images, (7,), count=count, **{"seed": 0, "name": "test", **options})


def test_noise_is_the_same_alone_in_company_and_in_any_order(images):
    together = drawn(images)  # [K, B, 7]
    order = [3, 0, 4, 1, 2]
    np.testing.assert_array_equal(drawn(images[order]), together[:, order])
    for b in range(len(images)):
        np.testing.assert_array_equal(drawn(images[b : b + 1])[:, 0], together[:, b])


def test_the_first_ten_draws_of_twenty_are_those_of_ten(images):
    np.testing.assert_array_equal(drawn(images, count=20)[:10], drawn(images, count=10))


def test_uint8_and_the_floats_it_stands_for_have_the_same_noise(images):
    np.testing.assert_array_equal(drawn(np.rint(images * 255).astype(np.uint8)), drawn(images))


def test_seed_name_and_content_each_change_the_noise(images):
    usual = drawn(images)
    for other in (drawn(images, seed=1), drawn(images, name="other"), drawn(images / 2)):
        assert not np.isclose(usual, other).any()


def test_noise_is_standard_normal(images):
    noise = drawn(images, count=2000)
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * noise.size)


def test_given_noise_is_used_and_must_fit(images):
    noise = drawn(images)
    assert drawn(images, noise=noise, seed=5) is noise
    with pytest.raises(UserError, match=r"\(3, 5, 7\); these inputs and this count need \(4, 5, 7\)"):
        drawn(images, count=4, noise=noise)


@pytest.mark.parametrize(
    ("options", "said"), [({"count": 0}, "count is 0"), ({"count": 1.5}, "count is 1.5"), ({"seed": -1}, "seed is -1")]
)
def test_a_count_or_a_seed_that_can_not_be_is_refused(images, options, said):
    with pytest.raises(UserError, match=said):
        drawn(images, **options)


@pytest.mark.parametrize("strength", [-0.1, (0.2, float("nan")), float("inf")])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(UserError, match="it must be 0 or more"):
        draws.strengths(strength)

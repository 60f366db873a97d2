"""The steps that a config leaves open are those of whole epochs and of the whole run."""

import pytest

from vae_jax.config import default_config, resolve
from vae_jax.errors import UserError
from vae_jax.step_counts import fill_in_step_counts


def filled_in(*, examples=1000, **changes):
    config = default_config()
    config.train.update(batch_size=64, epochs=3, steps_per_call=8)
    config.optimizer.update(schedule="cosine", **changes)
    resolve(config)
    fill_in_step_counts(config, examples)
    return config


def test_epochs_are_steps_rounded_up_to_whole_calls():
    assert filled_in().train.steps == 48  # 3 · 1000 / 64 = 46.9


@pytest.mark.parametrize(("accumulate", "updates"), [(1, 48), (4, 12)])
def test_a_cosine_falls_over_all_updates_of_the_run(accumulate, updates):
    assert filled_in(accumulate=accumulate).optimizer.decay_steps == updates


def test_a_cosine_falls_over_the_updates_that_the_config_says():
    assert filled_in(decay_steps=60).optimizer.decay_steps == 60


def test_a_cosine_that_ends_before_the_run_is_a_mistake():
    with pytest.raises(UserError, match="optimizer.decay_steps is 20, after which nothing is learnt.* the 48 updates"):
        filled_in(decay_steps=20)


def test_a_cosine_that_ends_in_its_warm_up_is_a_mistake():
    with pytest.raises(UserError, match=r"optimizer.decay_steps is 48; .* optimizer.warmup_steps \(60\)"):
        filled_in(warmup_steps=60)

import pytest

from vae_jax.report import text


@pytest.mark.parametrize(
    ("mean", "stderr", "shown"),
    [
        (-20.137, 0.3124, ("−20.14", "0.31")),
        (0.0123412, 0.00031234, ("0.01234", "0.00031")),
        (-1234.5, 120.0, ("−1,234", "120")),
        (3.0, 0.0, ("3.000", "0")),
        (float("inf"), float("nan"), ("inf", "nan")),
    ],
)
def test_a_mean_is_given_to_the_second_digit_of_its_error(mean, stderr, shown):
    assert text.plus_minus(mean, stderr) == shown


def test_numbers_have_four_significant_digits_and_a_true_minus_sign():
    shown = [text.number(value) for value in (-0.056781, 12345.6, 0.0, -1.5e-7)]
    assert shown == ["−0.05678", "12,346", "0", "−1.5e−07"]


def test_the_table_of_settings_leaves_out_what_is_not_set():
    config = {
        "seed": 0,
        "model": {"encoder": {"family": "conv", "channels": [32, 64], "mirror": True, "norm": "", "bias": False}},
        "objective": {"kl": 0.0},
        "train": {"epochs": None, "steps": 100},
    }
    assert text.config_rows(config) == [
        ("Encoder", "conv · channels 32, 64 · mirror"),
        ("Objective", "none"),
        ("Steps", "100"),
        ("Seed", "0"),
    ]

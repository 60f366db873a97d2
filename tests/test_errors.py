"""What is told of another library's error is one line that says something."""

import pytest

from vae_jax.errors import first_line


@pytest.mark.parametrize(
    "error, said",
    [
        (ValueError("\nbad header\nat byte 3"), "bad header"),
        (ValueError("x" * 300), "x" * 200),
        (KeyError(101), "KeyError: 101"),
        (EOFError(), "EOFError"),
    ],
    ids=["many lines", "long", "a bare key", "nothing"],
)
def test_what_is_told_of_an_error_is_one_line(error, said):
    assert first_line(error) == said

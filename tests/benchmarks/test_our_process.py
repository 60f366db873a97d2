"""Our half of the comparison with PyTorch answers from a process of its own."""

import sys

import pytest
from our_process import OurProcess

from vae_jax.errors import UserError


def test_a_mistake_in_the_config_of_the_other_process_ends_in_its_sentence():
    with pytest.raises(UserError, match=r"^model\.latent"):
        OurProcess(sys.executable, "mnist", ["--config.model.latent=-1"], images=8, rounds=1)

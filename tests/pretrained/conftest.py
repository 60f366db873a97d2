"""How an imported net is held against the PyTorch module that it comes from."""

import numpy as np
import pytest

import vae_jax
from vae_jax.importing import import_weights


@pytest.fixture
def gives_what_pytorch_gives(tmp_path):
    """Imports a torch module with `encode` and `decode`, asserts that both nets agree, and returns ours."""
    torch = pytest.importorskip("torch")

    def compare(net, config):
        torch.save({"epoch": 3, "state_dict": net.state_dict()}, tmp_path / "net.pt")
        import_weights(tmp_path / "run", "test", config, [str(tmp_path / "net.pt")], partial=False, command="")
        model = vae_jax.load(tmp_path / "run")
        images = np.random.default_rng(0).integers(0, 256, (2, *model.shape), dtype=np.uint8)
        with torch.no_grad():
            mean, log_variance = net.encode(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
            decoded = net.decode(mean).permute(0, 2, 3, 1)
        posterior = model.encode(images)
        np.testing.assert_allclose(posterior.mean, mean, atol=1e-4)
        np.testing.assert_allclose(posterior.log_variance, log_variance, atol=1e-4)
        np.testing.assert_allclose(model.decode(mean.numpy()), decoded, atol=1e-4)
        return model

    return compare

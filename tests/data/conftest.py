"""Collections of small pictures on disk, and their caches."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from vae_jax.data.cache import cached
from vae_jax.data.fit import Fit
from vae_jax.data.sources import folder


@pytest.fixture(scope="session")
def write_pictures():
    """write_pictures(root, count): noise in two classes, as PNG, so that the pixels are known; gives `root`."""

    def write(root, count, *, size=(6, 5), seed=0):
        rng = np.random.default_rng(seed)
        for number in range(count):
            path = root / "ab"[number % 2] / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path)
        return root

    return write


@pytest.fixture
def pictures(write_pictures, tmp_path):
    return write_pictures(tmp_path / "pictures", 40)


@pytest.fixture(scope="session")
def collections_of():
    """collections_of(root): the pictures below a folder, by split."""
    fields = {"test_fraction": 0.2, "validation_fraction": 0.2, "seed": 0}
    return lambda root: folder.open_splits(ConfigDict({**fields, "dir": str(root)}))


@pytest.fixture(scope="session")
def open_cached(collections_of):
    """open_cached(root, cache): the splits of a folder from their cache."""

    def open_splits(root, cache, fit=None, max_broken=0.0):
        fit = fit or Fit("whole", (6, 5), 3)
        return cached(collections_of(root), fit, cache_dir=str(cache), max_broken=max_broken)

    return open_splits

"""A trained model for notebooks and scripts: NumPy arrays in, NumPy arrays out."""

import os
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vae_jax import distributions
from vae_jax.checkpoint import Checkpoints
from vae_jax.compilation import use_compilation_cache
from vae_jax.config import resolve
from vae_jax.errors import UserError
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import draw
from vae_jax.mesh import make_mesh
from vae_jax.run import read_record
from vae_jax.state import Variables
from vae_jax.steps import Steps
from vae_jax.validation import SEEDS


class Model:
    """What `load` returns. Images are [B, H, W, C], uint8 or float in [0, 1] (or vectors [B, D]); latents [B, Z]."""

    def __init__(self, config: ConfigDict, steps: Steps, variables: Variables, *, name: str, step: int):
        self.config, self.name, self.step = config, name, step
        self._steps, self._variables = steps, variables

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an example, (H, W, C) or (D,)."""
        return self._steps.shape

    @property
    def mesh(self) -> Mesh:
        """The devices that it computes on."""
        return self._steps.mesh

    def encode(self, images: np.ndarray) -> distributions.Posterior:
        """q(z|x), with `mean` and `stddev` [B, Z]. A net trained on binarised images expects 0 and 1.

        Images are taken as given: what a net trained with `data.corrupt` is to fill in, the caller takes away.
        """
        return jax.device_get(self._steps.encode(self._variables, self._floats(images)))

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The mean of p(x|z) for z [B, Z]: float32 [B, H, W, C], in [0, 1] for images."""
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.config.model.latent:
            raise UserError(f"z has the shape {z.shape}; it must be [B, {self.config.model.latent}].")
        if not len(z):
            raise UserError("z is empty; it must hold one latent or more.")
        return self._pixels(np.asarray(self._steps.decode(self._variables, z)))

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """The mean of p(x|z) at the posterior's mean, shaped as the images, float32."""
        return self.decode(self.encode(images).mean)

    def sample(self, count: int, *, seed: int = 0) -> np.ndarray:
        """The means of p(x|z) at `count` draws from the prior [count, H, W, C]; the first ten of 20 are those of 10."""
        if count < 1:
            raise UserError(f"count is {count}; it must be 1 or more.")
        if not 0 <= seed < SEEDS:
            raise UserError(f"seed is {seed}; it must be from 0 to {SEEDS - 1}.")
        batch_size = self.config.eval.batch_size
        return self._pixels(draw(self._steps, self._variables, count, seed=seed, batch_size=batch_size)["samples"])

    def _pixels(self, x: np.ndarray) -> np.ndarray:
        """Images clipped to [0, 1], beyond which only a linear output goes; vectors as they are."""
        return np.clip(x, 0, 1) if len(self._steps.shape) == 3 else x

    def _floats(self, images: np.ndarray) -> np.ndarray:
        images = np.asarray(images)
        if images.ndim != len(self._steps.shape) + 1 or images.shape[1:] != self._steps.shape:
            raise UserError(f"images have the shape {images.shape}; this model takes [B, {self._sizes()}].")
        if not len(images):
            raise UserError("images is empty; it must hold one or more.")
        if images.dtype == np.uint8:
            return images.astype(np.float32) / 255
        if not np.issubdtype(images.dtype, np.floating):
            raise UserError(f"images are {images.dtype}; they must be uint8, or floats in [0, 1].")
        if len(self._steps.shape) == 3 and images.size and not (images.min() >= 0 and images.max() <= 1):
            raise UserError(f"images run from {images.min()} to {images.max()}; floats must lie in [0, 1].")
        return images.astype(np.float32)

    def _sizes(self) -> str:
        return ", ".join(map(str, self._steps.shape))


def load_model(workdir: str | os.PathLike, *, checkpoint: str | int = "newest") -> Model:
    """Restores a checkpoint of the run in `workdir`; the data set is not opened. See `vae_jax.load`."""
    record = read_record(Path(workdir))
    if record is None:
        raise UserError(f"{str(workdir)!r} holds no run (no config.json).")
    use_compilation_cache()
    resolve(record.config)
    steps = Steps(record.config, record.shape, make_mesh(1))
    with Checkpoints(Path(workdir) / "checkpoints") as checkpoints:
        restored = checkpoints.restore(steps.abstract_state(), str(checkpoint))
    variables = evaluation_variables(restored.tree, ema=record.config.eval.ema)
    return Model(record.config, steps, variables, name=record.name, step=restored.step)

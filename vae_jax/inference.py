"""A trained model for notebooks and scripts: NumPy arrays in, NumPy arrays out."""

import os
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh

from vae_jax import distributions
from vae_jax.checkpoint import Checkpoints
from vae_jax.compilation import use_compilation_cache
from vae_jax.config import resolve
from vae_jax.data.named import Conditions
from vae_jax.errors import UserError
from vae_jax.evaluation.held_out import evaluation_variables
from vae_jax.evaluation.sampling import draw, told
from vae_jax.mesh import make_mesh
from vae_jax.replicas import replica_values
from vae_jax.run import Record, make_steps, read_record
from vae_jax.state import Variables
from vae_jax.train_steps import TrainSteps
from vae_jax.validation import SEEDS


class Loaded:
    """A trained model. Images are [B, H, W, C], uint8 or float in [0, 1], or vectors [B, D]."""

    def __init__(self, record: Record, steps: TrainSteps, variables: Variables, *, step: int):
        self.config, self.name, self.step = record.config, record.name, step
        self._steps, self._variables, self._conditions = steps, variables, record.conditions

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an example, (H, W, C) or (D,)."""
        return self._steps.shape

    @property
    def conditions(self) -> Conditions | None:
        """The conditions of its training examples; None for a model that is told none."""
        return self._conditions

    @property
    def variables(self) -> Variables:
        """Its parameters and statistics."""
        return self._variables

    @property
    def mesh(self) -> Mesh:
        """The devices that it computes on."""
        return self._steps.mesh

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


class Classifier(Loaded):
    """What `load` returns of a classifier's run."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it tells: A attributes, or classes as "label=7"."""
        return tuple(self.config.model.target)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The probability of each of `names` for images [B, ...]: [B, A]; those of classes sum to 1."""
        return np.asarray(self._steps.predict(self._variables, self._floats(images)))


class Model(Loaded):
    """What `load` returns of a VAE's run; latents are [B, Z]."""

    def encode(self, images: np.ndarray, cond: np.ndarray | None = None) -> distributions.Posterior:
        """q(z|x), with `mean` and `stddev` [B, Z]. A net trained on binarised images expects 0 and 1.

        Images are taken as given: what a net trained with `data.corrupt` is to fill in, the caller takes away. A
        conditional model is told `cond`, one number for each name in config.model.cond: [n] for all images, or [B, n].
        """
        x = self._floats(images)
        return jax.device_get(self._steps.encode(self._variables, x, self._told(cond, len(x))))

    def decode(self, z: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
        """The mean of p(x|z) for z [B, Z]: float32 [B, H, W, C], in [0, 1] for images."""
        z = np.asarray(z, np.float32)
        if z.ndim != 2 or z.shape[1] != self.config.model.latent:
            raise UserError(f"z has the shape {z.shape}; it must be [B, {self.config.model.latent}].")
        if not len(z):
            raise UserError("z is empty; it must hold one latent or more.")
        return self._pixels(np.asarray(self._steps.decode(self._variables, z, self._told(cond, len(z)))))

    def reconstruct(self, images: np.ndarray, cond: np.ndarray | None = None) -> np.ndarray:
        """The mean of p(x|z) at the posterior's mean, shaped as the images, float32."""
        return self.decode(self.encode(images, cond).mean, cond)

    def sample(self, count: int, *, seed: int = 0, cond: np.ndarray | None = None) -> np.ndarray:
        """The means of p(x|z) at `count` draws from the prior [count, H, W, C]; the first ten of 20 are those of 10.

        A conditional model draws conditions too, as often as the training split has them, unless it is told `cond`.
        """
        if count < 1:
            raise UserError(f"count is {count}; it must be 1 or more.")
        if not 0 <= seed < SEEDS:
            raise UserError(f"seed is {seed}; it must be from 0 to {SEEDS - 1}.")
        batch_size = self.config.eval.batch_size
        told_each = told(self._conditions, np.arange(count), seed=seed) if cond is None else self._told(cond, count)
        found = draw(self._steps, self._variables, count, seed=seed, batch_size=batch_size, cond=told_each)
        return self._pixels(found["samples"])

    def _told(self, cond: np.ndarray | None, count: int) -> np.ndarray | None:
        """`cond` as [count, n] float32; UserError where the model is told something else."""
        names = self.config.model.cond
        if cond is None and not names:
            return None
        if not names:
            raise UserError("cond is given, but this model is told no conditions (model.cond is empty).")
        shape, n = np.shape(cond), len(names)
        if shape not in ((n,), (count, n)):
            found = "None" if cond is None else f"of the shape {shape}"
            raise UserError(f"cond is {found}; this model is told {', '.join(names)}, so it must be [{n}] or [B, {n}].")
        return np.broadcast_to(np.asarray(cond, np.float32), (count, n))

    def _pixels(self, x: np.ndarray) -> np.ndarray:
        """Images clipped to [0, 1], beyond which only a linear output goes; vectors as they are."""
        return np.clip(x, 0, 1) if len(self._steps.shape) == 3 else x


def load_model(workdir: str | os.PathLike, *, checkpoint: str | int = "newest") -> Model | Classifier:
    """Restores a checkpoint of the run in `workdir`; the data set is not opened. See `vae_jax.load`."""
    record = read_record(Path(workdir))
    if record is None:
        raise UserError(f"{str(workdir)!r} holds no run (no config.json).")
    if replicas := replica_values(record.config):
        first = Path(workdir) / next(iter(replicas))
        raise UserError(f"{str(workdir)!r} holds a run for each of its replicas; name one of them, as {str(first)!r}.")
    use_compilation_cache()
    resolve(record.config)
    steps = make_steps(record.config, record.shape, make_mesh(1))
    with Checkpoints(Path(workdir) / "checkpoints") as checkpoints:
        restored = checkpoints.restore(steps.abstract_state(), str(checkpoint))
    variables = evaluation_variables(restored.tree, ema=record.config.eval.ema)
    kind = Classifier if record.config.model.target else Model
    return kind(record, steps, variables, step=restored.step)

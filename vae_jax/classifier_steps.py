"""The compiled functions of a classifier: train, evaluate and predict, for one config and mesh."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from vae_jax import rng
from vae_jax.data.named import exclusive
from vae_jax.data.transforms import Prepared, held_out
from vae_jax.models.classifier import Classifier
from vae_jax.nn.vgg import Vgg
from vae_jax.objectives import classification
from vae_jax.state import Variables
from vae_jax.train_steps import Batch, TrainSteps, Values


class ClassifierSteps(TrainSteps):
    """The compiled functions of a classifier for examples of `shape`, whose batches have a column "target" [B, A]."""

    metrics = ("loss", "accuracy", "gradient_norm")

    def __init__(self, config: ConfigDict, shape: tuple[int, ...], mesh: Mesh):
        self.exclusive = exclusive(config.model.target)
        super().__init__(config, shape, mesh)
        self.predict = self._jit(self._predict, onednn=True)

    def _model(self, dtype: jnp.dtype, seed: jax.Array | int = 0) -> Classifier:
        rngs = nnx.Rngs(params=rng.stream(seed, "init"))
        return Classifier(self.config.model.to_dict(), self.shape, dtype=dtype, rngs=rngs)

    def _measure(self, model: Classifier, x: Prepared, keys: jax.Array, weight: dict, features: Vgg | None) -> Values:
        return classification.losses(model(x.seen), x.target, exclusive=self.exclusive)

    def _evaluate(
        self, seed: jax.Array, variables: Variables, batch: Batch, weights: dict, features: Vgg | None
    ) -> Values:
        """The losses of each example [B], and the "probabilities" of its targets [B, A]."""
        x = held_out(batch, self.config.data)
        logits = self._merge(variables)(x.seen)
        losses = classification.losses(logits, x.target, exclusive=self.exclusive)
        return {**losses, "probabilities": classification.probabilities(logits, exclusive=self.exclusive)}

    def _predict(self, variables: Variables, x: jax.Array) -> jax.Array:
        """p(target | x) [B, A] for x [B, ...]."""
        return classification.probabilities(self._merge(variables)(x), exclusive=self.exclusive)

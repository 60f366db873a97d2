"""Our half of the comparison with PyTorch: the nets that are compared, and our compiled functions at work on them."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vae_jax import rng
from vae_jax.config import default_config
from vae_jax.data.order import Order
from vae_jax.data.pipeline import train_batches
from vae_jax.data.source import ArraySource
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps


def faces(size: int) -> ConfigDict:
    """A common net for faces, of `size` × `size` pixels: four strided convolutions with BatchNorm each way."""
    config = default_config()
    config.data.image_size = (size, size)
    config.model.encoder = dict(
        family="conv", channels=(32, 64, 128, 256), kernel=4, padding=1, norm="batch", activation="leaky_relu"
    )
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=100, likelihood="gaussian")
    config.train.batch_size = 64
    return config


def mnist() -> ConfigDict:
    """The convolutional VAE of keras.io for MNIST.

    Padding 1 is Keras' SAME with the odd pixel before the image instead of after it, the mirror image of that net:
    it is what a layer of PyTorch can do without a copy.
    """
    config = default_config()
    config.data.image_size = (28, 28)
    config.model.encoder = dict(family="conv", channels=(32, 64), kernel=3, padding=1, dense=(16,))
    config.model.decoder = dict(family="conv", channels=(64, 64, 32), kernel=3, stride=(2, 2, 1), padding=1)
    config.model.update(latent=2, likelihood="bernoulli")
    config.train.batch_size = 128
    return config


NETS = {
    "faces64": (lambda: faces(64), (64, 64, 3)),
    "mnist": (mnist, (28, 28, 1)),
    "faces128": (lambda: faces(128), (128, 128, 3)),
}


class OurSide:
    """Our compiled functions in one precision, on images held on the device."""

    def __init__(self, config: ConfigDict, images: np.ndarray):
        self.config, mesh = config, make_mesh(1)
        self.steps = Steps(config, images.shape[1:], mesh)
        self.state, source, train = self.steps.init(), ArraySource(images), config.train
        self.batches = train_batches(
            source,
            Order(len(source), train.batch_size, config.seed),
            mesh=mesh,
            steps_per_call=train.steps_per_call,
            start_step=0,
            delivery="device",
            workers=0,
        )
        self.images = jnp.asarray(images[: train.batch_size], jnp.float32) / 255
        self.keys = rng.per_example(rng.stream(0, "sample"), jnp.arange(train.batch_size))

    def train(self, batches: int) -> None:
        """Whole calls of `Steps.train`."""
        for _ in range(batches // self.config.train.steps_per_call):
            self.state, _ = self.steps.train(self.state, next(self.batches), self.steps.weights)
        jax.block_until_ready(self.state)

    def train_and_read(self, batches: int) -> None:
        """The same with each call's report read one call late, as the training loop does."""
        pending = None
        for _ in range(batches // self.config.train.steps_per_call):
            self.state, report = self.steps.train(self.state, next(self.batches), self.steps.weights)
            jax.device_get(pending)
            pending = report
        jax.device_get(pending)

    def encode(self, batches: int) -> None:
        """The posterior of one batch, `batches` times."""
        for _ in range(batches):
            posterior = self.steps.encode(self.state.variables, self.images)
        jax.block_until_ready(posterior)

    def sample(self, batches: int) -> None:
        """Images of latents drawn from the prior."""
        for _ in range(batches):
            drawn = self.steps.sample(self.state.variables, self.keys)
        jax.block_until_ready(drawn)

    def flops_per_image(self) -> dict[str, float]:
        """What the compiled programs count for one image; a scan's body counts once, so that is one step."""
        variables = self.state.variables
        programs = {
            "train": self.steps.train.lower(self.state, next(self.batches), self.steps.weights),
            "encode": self.steps.encode.lower(variables, self.images),
            "sample": self.steps.sample.lower(variables, self.keys),
        }
        flops = {task: lowered.compile().cost_analysis()["flops"] for task, lowered in programs.items()}
        return {task: count / self.config.train.batch_size for task, count in flops.items()}

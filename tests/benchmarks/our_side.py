"""Our half of the comparison with PyTorch: the nets that are compared, and our compiled functions at work on them."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from vae_jax import rng
from vae_jax.config import default_config, override, resolve
from vae_jax.data.order import Order
from vae_jax.data.pipeline import train_batches
from vae_jax.data.source import ArraySource
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps

PRECISIONS = ("float32", "bfloat16")
CHECKED_STEPS = 3
RATE = 1e-3
LOG_EVERY = 64


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


def prepared(net: str, precision: str, overrides: list[str]) -> ConfigDict:
    """The config of one of NETS as it is timed."""
    config = NETS[net][0]()
    config.dtype, config.optimizer.learning_rate = precision, RATE
    override(config, overrides)
    resolve(config)
    config.train.log_every = LOG_EVERY
    return config


def images_of(net: str, count: int) -> np.ndarray:
    """What both sides work on: noise [count, H, W, C] uint8."""
    return np.random.default_rng(0).integers(0, 256, (count, *NETS[net][1]), dtype=np.uint8)


def checked(config: ConfigDict, shape: tuple[int, ...]) -> Steps:
    """The steps whose losses the two sides are held against each other by: one a call, in full float32."""
    config = config.copy_and_resolve_references()
    config.matmul_precision = "highest"
    config.train.update(steps_per_call=1, log_every=1)
    return Steps(config, shape, make_mesh(1))


def checked_ids(config: ConfigDict) -> np.ndarray:
    """The ids of the examples of every checked step, by which their noise is drawn."""
    return np.arange(config.train.batch_size, dtype=np.uint32)


def first_losses(config: ConfigDict, images: np.ndarray) -> list[float]:
    """The losses of the first steps on consecutive batches of `images`."""
    steps, size, ids = checked(config, images.shape[1:]), config.train.batch_size, checked_ids(config)
    state, losses = steps.init(), []
    for step in range(CHECKED_STEPS):
        chosen = images[step * size : (step + 1) * size]
        ones = np.ones(size, np.float32)
        batch = {"image": chosen, "example_id": ids, "epoch": ids.astype(np.int32), "mask": ones}
        state, report = steps.train(state, {name: values[None] for name, values in batch.items()}, steps.weights)
        losses.append(float(report["window"]["loss"]))
    return losses


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
        """What the programs count for one image.

        A loop's body counts once: of training that is one step, and where a batch is cut it would be one piece of it.
        """
        variables, train = self.state.variables, self.config.train
        step = self.steps.train.lower(self.state, next(self.batches), self.steps.weights)
        one = {
            "encode": self.steps.encode.lower(variables, self.images[:1]),
            "sample": self.steps.sample.lower(variables, self.keys[:1]),
        }
        counts = {task: lowered.cost_analysis()["flops"] for task, lowered in one.items()}
        return {"train": step.cost_analysis()["flops"] / train.batch_size, **counts}

"""A classifier of MNIST's ten digits; `configs/mnist_classifier.py:idx` reads the original idx files."""

from vae_jax.config import default_config


def get_config(source="tfds"):
    config = default_config()
    config.data.update(source=source, name="mnist", image_size=(28, 28))
    config.model.encoder = dict(family="conv", channels=(32, 64), kernel=4, stride=2, dense=(128,), norm="batch")
    config.model.target = ("label",)
    config.optimizer.update(learning_rate=1e-3, ema=0.99)
    config.train.update(batch_size=128, epochs=5)
    return config

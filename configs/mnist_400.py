"""The VAE of one hidden layer of 400 units on binarised MNIST, Z = 40; `configs/mnist_400.py:idx` reads the idx files.

Training draws every pixel anew each epoch, the test split is one seeded draw: what published figures are for.
"""

from vae_jax.config import default_config


def get_config(source="tfds"):
    config = default_config()
    config.data.update(source=source, name="mnist", image_size=(28, 28), binarization="dynamic")
    config.model.encoder = dict(family="mlp", widths=(400,))
    config.model.decoder = dict(family="mlp", mirror=True)
    config.model.update(latent=40, likelihood="bernoulli")
    config.optimizer.update(learning_rate=1e-3, schedule="cosine", ema=0.999)
    config.train.update(batch_size=128, epochs=150)
    config.eval.update(importance_samples=500, importance_examples=1000)
    return config

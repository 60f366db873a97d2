"""A residual VAE on binarised MNIST, for its −log p(x); `configs/mnist_resnet.py:idx` reads the idx files.

Training draws every pixel anew each epoch, the test split is one seeded draw: what published figures are for.
"""

from vae_jax.config import default_config


def get_config(source="tfds"):
    config = default_config()
    config.data.update(source=source, name="mnist", image_size=(28, 28), binarization="dynamic")
    config.model.encoder = dict(family="resnet", channels=(32, 64), attention=0)  # 28 → 14 → 7
    config.model.decoder = dict(family="resnet", mirror=True)
    config.model.update(latent=40, likelihood="bernoulli")
    config.objective.update(kl_warmup=4_220)  # ten epochs
    config.optimizer.update(learning_rate=1e-3, schedule="cosine", ema=0.999)
    config.train.update(batch_size=128, epochs=40)
    config.eval.update(importance_samples=500, importance_examples=1000)
    return config

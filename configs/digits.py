"""A small convolutional VAE on scikit-learn's 8×8 digits: trains in under a minute on two cores."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="digits", image_size=(8, 8))
    config.model.encoder = dict(family="conv", channels=(32, 64), kernel=3, stride=2)  # 8 → 4 → 2
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=8, likelihood="gaussian", variance=0.1, variance_kind="single")
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=64, epochs=100)
    config.eval.update(importance_samples=500)
    return config

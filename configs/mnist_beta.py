"""A β-VAE (Higgins et al., 2017) on grey MNIST: β = 4 under a Gaussian likelihood of variance 0.1."""

from vae_jax.config import default_config


def get_config(source="tfds"):
    config = default_config()
    config.data.update(source=source, name="mnist", image_size=(28, 28))
    config.model.encoder = dict(family="conv", channels=(16, 32), kernel=3, stride=2)  # 28 → 14 → 7
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=10, likelihood="gaussian", variance=0.1)
    config.objective.update(kl=4.0)
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=128, epochs=10)
    return config

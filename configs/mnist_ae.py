"""A deterministic autoencoder on grey MNIST: a point posterior, no KL, a squared error (Gaussian of unit variance)."""

from vae_jax.config import default_config


def get_config(source="tfds"):
    config = default_config()
    config.data.update(source=source, name="mnist", image_size=(28, 28))
    config.model.encoder = dict(family="conv", channels=(16, 32), kernel=3, stride=2)  # 28 → 14 → 7
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=16, posterior="point", likelihood="gaussian")
    config.objective.update(kl=0.0)
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=128, epochs=10)
    return config

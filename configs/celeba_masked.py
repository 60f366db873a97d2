"""A VAE that learns to inpaint: it sees 64×64 faces with a box over them, and is scored on the whole face."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.data.corrupt.update(kind="box", amount=0.4)
    config.model.encoder = dict(family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=128, likelihood="gaussian", variance=0.05)
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=64, epochs=20)
    return config

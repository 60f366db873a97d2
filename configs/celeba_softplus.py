"""A VAE on 64×64 faces whose encoder gives a mean and, by a softplus, a standard deviation; p(x|z) of variance 0.1."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=50, posterior="softplus", likelihood="gaussian", variance=0.1)
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=64, epochs=200)
    return config

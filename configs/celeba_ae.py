"""A deterministic autoencoder on 64×64 faces: a point posterior, no KL, a squared error (Gaussian of unit variance)."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=128, posterior="point", likelihood="gaussian")
    config.objective.update(kl=0.0)
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=64, epochs=20)
    return config

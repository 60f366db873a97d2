"""A plain convolutional VAE on 64×64 faces: CelebA in `data.dir`, $VAE_JAX_DATA/celeba or prepared by TFDS."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(
        family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch", activation="leaky_relu"
    )
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=128, likelihood="gaussian", variance=0.1)
    config.optimizer.update(learning_rate=1e-4)
    config.train.update(batch_size=64, epochs=20)
    return config

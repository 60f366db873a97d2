"""A VAE on your own pictures: `--config.data.dir=FOLDER`, below which any JPEG, PNG, WebP and BMP files lie.

Pictures of any size are cut to a centred square and resized to 64×64; subfolders are their classes.
"""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="folder", image_size=(64, 64), crop="center", channels=3, flip=True)
    config.model.encoder = dict(family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=64, likelihood="gaussian", variance=0.1, variance_kind="single")
    config.optimizer.update(learning_rate=5e-4)
    config.train.update(batch_size=64, epochs=50)
    return config

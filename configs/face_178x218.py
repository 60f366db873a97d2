"""A VAE on whole CelebA faces as they are, 178 pixels wide and 218 high: six convolutions from 3 to 512 channels.

Height 218 → 109 → 54 → 27 → 13 → 6 → 3, width 178 → 89 → 44 → 22 → 11 → 5 → 2; the way back meets the same sizes.
"""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(218, 178), crop="whole", flip=True)
    config.model.encoder = dict(
        family="conv", channels=(16, 32, 64, 128, 256, 512), kernel=4, stride=2, padding=1, norm="batch"
    )
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=512, likelihood="gaussian", variance=0.1)
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=32, epochs=20)
    return config

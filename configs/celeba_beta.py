"""β-VAE (Higgins et al., 2017) on 64×64 faces: CelebA in `data.dir`, $VAE_JAX_DATA/celeba or prepared by TFDS.

Without padding, 31 → 14 leaves a pixel over. On the way back the 31st row and column are a bias alone, and the last two
rows and columns of the picture come from them only: they are plain grey.
"""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(
        family="conv",
        channels=(32, 32, 64, 64),  # 64 → 31 → 14 → 6 → 2, and 2·2·64 = 256
        kernel=4,
        stride=2,
        padding=0,
        norm="batch",
        activation="relu",
    )
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=32, likelihood="gaussian", variance=0.1)
    config.objective.update(kl=4.0)
    config.optimizer.update(learning_rate=1e-4)
    config.train.update(batch_size=64, epochs=20)
    return config

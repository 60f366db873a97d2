"""A conditional VAE (Sohn et al., 2015) on 64×64 faces, told whether they smile, are blond and wear glasses.

The same z decoded under another condition is the same face with another smile. The KL weighs more than in
celeba_vae.py, and blond faces come as often as others, so that z leaves to the condition what the condition says.
"""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True, balance="Blond_Hair")
    config.model.encoder = dict(
        family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch", activation="leaky_relu"
    )
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(cond=("Smiling", "Blond_Hair", "Eyeglasses"), latent=64, likelihood="gaussian", variance=0.1)
    config.objective.update(kl=8.0)
    config.optimizer.update(learning_rate=5e-4)
    config.train.update(batch_size=64, epochs=40)
    return config

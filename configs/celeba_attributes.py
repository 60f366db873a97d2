"""A classifier of CelebA's 40 attributes on 64×64 faces, by which studies see what changes in a picture."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(
        family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch", activation="leaky_relu"
    )
    config.model.target = ("attributes",)
    config.optimizer.update(name="adamw", learning_rate=5e-4, weight_decay=0.1, ema=0.99)
    config.train.update(batch_size=64, epochs=15)
    return config

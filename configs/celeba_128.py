"""A residual VAE with self-attention on 128×128 faces, in bfloat16 and with activations computed again."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(128, 128), crop="celeba_178", flip=True)
    config.model.encoder = dict(family="resnet", channels=(16, 32, 64, 128, 256), attention=16)  # 128 → 4
    config.model.decoder = dict(family="resnet", mirror=True)
    config.model.update(latent=256, likelihood="gaussian", variance=0.1)
    config.optimizer.update(learning_rate=5e-4, ema=0.999)
    config.train.update(batch_size=32, epochs=20)
    config.update(dtype="bfloat16", remat=True)
    return config

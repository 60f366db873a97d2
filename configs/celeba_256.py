"""A residual VAE with self-attention on 256×256 faces, in bfloat16 and with activations computed again."""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(256, 256), crop="celeba_178", flip=True)
    channels = (32, 64, 128, 128, 256, 512)  # 256 → 128 → 64 → 32 → 16 → 8 → 4
    config.model.encoder = dict(family="resnet", channels=channels, blocks=2, attention=16)
    config.model.decoder = dict(family="resnet", mirror=True)
    config.model.update(latent=512, likelihood="gaussian", variance=0.1)
    config.optimizer.update(learning_rate=5e-4, ema=0.999)
    config.train.update(batch_size=16, epochs=20)
    config.update(dtype="bfloat16", remat=True)
    return config

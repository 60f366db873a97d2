"""How many latent dimensions 64×64 faces take, with and without a KL: `:ae,128` or `:vae,1024` (the default is ae,128).

The same nets for both; the autoencoder's squared error and the VAE's Gaussian have the variance 0.05.
"""

from vae_jax.config import default_config

ARGUMENTS = tuple(f"{kind},{latent}" for kind in ("ae", "vae") for latent in (20, 32, 64, 128, 256, 512, 1024))


def get_config(variant="ae,128"):
    kind, latent = variant.split(",")
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=int(latent), likelihood="gaussian", variance=0.05)
    if kind == "ae":
        config.model.posterior = "point"
        config.objective.kl = 0.0
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=64, epochs=20)
    return config

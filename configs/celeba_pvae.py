"""A VAE of pixels alone with the nets of the deep feature consistent one (Hou et al., 2017), on 64×64 faces, Z = 100.

`:published` has the weights of the report, 1.8·Σ(x − mean)² + 10·KL: that is β = 10 under a Gaussian of variance
1/(2·1.8) = 0.278, or β = 2.78 under one of unit variance, or the ELBO of variance 2.78, under which a linear VAE
of whole faces keeps 33 dimensions. The default is the ELBO under a variance of 0.05, chosen on the validation
split: see README.md beside this file.
"""

from vae_jax.config import default_config

ARGUMENTS = ("published",)


def get_config(variant=""):
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole", flip=True)
    config.model.encoder = dict(
        family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch", activation="leaky_relu"
    )
    config.model.decoder = dict(family="upsampling", channels=(256, 128, 64, 32), norm="batch", activation="leaky_relu")
    config.model.update(latent=100, likelihood="gaussian", variance=0.05)
    if variant == "published":
        config.model.variance = 1 / (2 * 1.8)
        config.objective.kl = 10.0
    config.optimizer.update(learning_rate=1e-3)
    config.train.update(batch_size=64, epochs=20)
    return config

"""Deep feature consistent VAE (Hou et al., 2017) on 64×64 faces, trained by VGG-19's features and the KL alone.

It needs the weights of a VGG-19: --config.perceptual.weights=FILE (for PyTorch's own .pth: pip install torch). The
paper's weights (KL 1, features 0.5) are for torchvision's features and errors averaged over pixels: on the per-channel
normalised file of style transfer, the scale here, they are worth 4 nats at most, and the posterior collapses. With 500
nats a unit, a picture without information (distance 8.6) costs 4,300 nats, where it costs 4,560 under the Gaussian of
variance 0.1 of celeba_vae.py. That keeps a KL of 183 nats and all 100 dimensions active, as much as celeba_pvae.py
uses: see README.md beside this file.
"""

from vae_jax.config import default_config


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole")
    config.model.encoder = dict(
        family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, norm="batch", activation="leaky_relu"
    )
    config.model.decoder = dict(family="upsampling", channels=(256, 128, 64, 32), norm="batch", activation="leaky_relu")
    config.model.update(latent=100, likelihood="gaussian", variance=0.1)
    config.objective.update(reconstruction=0.0, kl=1.0, perceptual=500.0)
    config.optimizer.update(learning_rate=5e-4)
    config.train.update(batch_size=64, epochs=20)
    return config

"""The DFC-VAE of github.com/matthew-liu/beta-vae on faces (Hou et al., 2017), Z=100.

Its class inherits the layers of the β-VAE beside it, which the file holds and the net does not use. Its decoder ends
in BatchNorm and LeakyReLU before the sigmoid, so that hardly a pixel comes out below 0.5.
"""

from vae_jax.config import default_config

DOWN = tuple(
    rule
    for n in range(4)
    for rule in (
        (f"e{n + 1}.0", f"encoder.convs.{n}", "conv"),
        (f"e{n + 1}.0", f"encoder.norms.{n}", "bias_into_mean"),
        (f"e{n + 1}.1", f"encoder.norms.{n}", "batch_norm"),
    )
)
UP = tuple(
    rule
    for n, layer in enumerate(("layers.0", "layers.1", "layers.2", "out"), 1)
    for rule in (
        (f"d{n}.1", f"decoder.{layer}.conv", "conv"),
        (f"d{n}.1", f"decoder.{layer}.norm", "bias_into_mean"),
        (f"d{n}.2", f"decoder.{layer}.norm", "batch_norm"),
    )
)


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="celeba_178", channels=3)
    layers = dict(norm="batch", activation="leaky_relu")
    config.model.encoder = dict(family="conv", channels=(32, 64, 128, 256), kernel=4, stride=2, padding=1, **layers)
    config.model.decoder = dict(
        family="upsampling",
        channels=(256, 128, 64, 32),
        dense_activation="identity",
        last_layer="activated",
        **layers,
    )
    config.model.update(latent=100, likelihood="gaussian", variance=0.1)
    config.pretrained.mapping = (
        *DOWN,
        ("fc_mu", "heads.mean", "linear_after_flatten"),
        ("fc_var", "heads.log_variance", "linear_after_flatten"),
        ("fc_z", "decoder.dense.dense.0", "linear_before_unflatten"),
        *UP,
        ("encoder.*", "", "unused"),
        ("decoder.*", "", "unused"),
    )
    return config

"""A convolutional VAE in PyTorch whose widths, depth, norms and latent are read off its file.

Convolutions, two dense heads, a dense layer, transposed convolutions. What no file says stands here, to be changed:
strides, paddings, activations, the images' size (`--config.data.image_size="(218,178)"`), and what the file calls its
modules (rules that find nothing are passed over).
"""

from vae_jax.config import default_config

HEADS = (
    ("fc_mu", "heads.mean", "linear_after_flatten"),
    ("fc_var", "heads.log_variance", "linear_after_flatten"),
    ("fc_logvar", "heads.log_variance", "linear_after_flatten"),
)
MAPS = tuple(
    (name, "decoder.dense.dense.0", "linear_before_unflatten") for name in ("fc_z", "decoder_input", "fc_decode")
)


def stack(net, kind):
    """The rules of a Sequential of Sequentials, and of a flat one, with BatchNorm or without."""
    return (
        (f"{net}.{{n}}.0", f"{net}.convs.{{n}}", kind),
        (f"{net}.{{n}}.0", f"{net}.norms.{{n}}", "bias_into_mean"),
        (f"{net}.{{n}}.1", f"{net}.norms.{{n}}", "batch_norm"),
        (f"{net}.{{n}}", f"{net}.convs.{{n}}", kind),
        (f"{net}.{{n}}", f"{net}.norms.{{n}}", "bias_into_mean"),
        (f"{net}.{{n}}", f"{net}.norms.{{n}}", "batch_norm"),
    )


def get_config():
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="whole")
    config.model.encoder = dict(family="conv", kernel=4, stride=2, padding=1, activation="leaky_relu")
    config.model.decoder = dict(
        family="conv", kernel=4, stride=2, padding=1, activation="leaky_relu", dense_activation="identity"
    )
    config.model.likelihood = "bernoulli"
    config.pretrained.architecture = "file"
    config.pretrained.mapping = (*stack("encoder", "conv"), *HEADS, *MAPS, *stack("decoder", "conv_transpose"))
    return config

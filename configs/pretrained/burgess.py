"""The nets of github.com/YannDubs/disentangling-vae (Burgess et al., 2018), for faces; `:mnist` is that for digits.

The one for faces has a fourth layer, which meets the map of the third one.
"""

from vae_jax.config import default_config

ARGUMENTS = ("celeba", "mnist")


def mapping(down, up):
    """`down` and `up` are what the file calls its convolutions, in the order that they compute."""
    return (
        *((f"encoder.conv{name}", f"encoder.convs.{n}", "conv") for n, name in enumerate(down)),
        ("encoder.lin1", "encoder.dense.dense.0", "linear_after_flatten"),
        ("encoder.lin2", "encoder.dense.dense.1", "linear"),
        ("encoder.mu_logvar_gen", "heads", "linear_interleaved"),
        ("decoder.lin1", "decoder.dense.dense.0", "linear"),
        ("decoder.lin2", "decoder.dense.dense.1", "linear"),
        ("decoder.lin3", "decoder.dense.dense.2", "linear_before_unflatten"),
        *((f"decoder.convT{name}", f"decoder.convs.{n}", "conv_transpose") for n, name in enumerate(up)),
    )


def get_config(data="celeba"):
    config = default_config()
    down, up = ("1", "2", "3"), ("1", "2", "3")
    if data == "celeba":
        config.data.update(source="celeba", image_size=(64, 64), crop="whole", channels=3)
        down, up = (*down, "_64"), ("_64", *up)
    else:
        config.data.update(source="idx", image_size=(32, 32), channels=1)
    config.model.encoder = dict(
        family="conv", channels=(32,) * len(down), kernel=4, stride=2, padding=1, dense=(256, 256), activation="relu"
    )
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=10, likelihood="bernoulli")
    config.pretrained.mapping = mapping(down, up)
    return config

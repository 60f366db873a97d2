"""The β-VAE of github.com/matthew-liu/beta-vae on faces; `configs/pretrained/beta_vae.py:200` is the one of Z=200.

Its decoder ends in BatchNorm and ReLU before the sigmoid, so that no pixel comes out below 0.5.
"""

from vae_jax.config import default_config

ARGUMENTS = ("32", "200")
MAPPING = (
    ("encoder.{n}.0", "encoder.convs.{n}", "conv"),
    ("encoder.{n}.0", "encoder.norms.{n}", "bias_into_mean"),
    ("encoder.{n}.1", "encoder.norms.{n}", "batch_norm"),
    ("fc_mu", "heads.mean", "linear_after_flatten"),
    ("fc_var", "heads.log_variance", "linear_after_flatten"),
    ("fc_z", "decoder.dense.dense.0", "linear_before_unflatten"),
    ("decoder.{n}.0", "decoder.convs.{n}", "conv_transpose"),
    ("decoder.{n}.0", "decoder.norms.{n}", "bias_into_mean"),
    ("decoder.{n}.1", "decoder.norms.{n}", "batch_norm"),
)


def get_config(latent="32"):
    config = default_config()
    config.data.update(source="celeba", image_size=(64, 64), crop="celeba_178", channels=3)
    config.model.encoder = dict(
        family="conv", channels=(32, 32, 64, 64), kernel=4, stride=2, padding=0, norm="batch", activation="relu"
    )
    config.model.decoder = dict(family="conv", mirror=True, dense_activation="identity", last_layer="activated")
    config.model.update(latent=int(latent), likelihood="bernoulli")
    config.pretrained.mapping = MAPPING
    # By tests/benchmarks/tune_postprocess.py, on the imported l32.
    config.study.postprocess.update(
        haze=0.6, haze_patch=5, contrast=1.5, saturation=0.4, bilateral_color=3.0, sharpen=0.0
    )
    return config

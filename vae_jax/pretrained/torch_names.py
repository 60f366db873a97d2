"""What a PyTorch state dict calls the layers of a convolutional VAE that was trained here."""

from collections.abc import Mapping

from vae_jax.errors import UserError
from vae_jax.pretrained.mapping import Rule


def conv_rules(model: Mapping) -> list[Rule]:
    """The rules, module by module, for a config's `model`; configs/pretrained/conv_vae.py reads what they write."""
    encoder, decoder = model["encoder"], model["decoder"]
    if (encoder["family"], decoder["family"]) != ("conv", "conv") or model["posterior"] == "point":
        raise UserError(
            f"--format=torch is for VAEs of convolutions and for imported ones; model.encoder.family is "
            f"{encoder['family']!r}, model.decoder.family {decoder['family']!r}, model.posterior "
            f"{model['posterior']!r}; take --format=safetensors."
        )
    inwards = [f"encoder_dense.{n}" for n in range(len(encoder["dense"]))]
    outwards = [*(f"decoder_dense.{n}" for n in range(len(decoder["dense"]))), "fc_z"]
    rules = [
        *_layers("encoder", "conv", len(encoder["channels"])),
        *((name, f"encoder.dense.dense.{n}", "linear") for n, name in enumerate(inwards)),
        ("fc_mu", "heads.mean", "linear"),
        ("fc_var", "heads.log_variance", "linear"),
        *((name, f"decoder.dense.dense.{n}", "linear") for n, name in enumerate(outwards)),
        *_layers("decoder", "conv_transpose", len(decoder["channels"])),
    ]
    beside = {inwards[0]} if inwards else {"fc_mu", "fc_var"}
    layouts = dict.fromkeys(beside, "linear_after_flatten") | {"fc_z": "linear_before_unflatten"}
    return [(theirs, ours, layouts.get(theirs, layout)) for theirs, ours, layout in rules]


def _layers(net: str, kind: str, count: int) -> list[Rule]:
    return [
        rule
        for n in range(count)
        for rule in (
            (f"{net}.{n}.0", f"{net}.convs.{n}", kind),
            (f"{net}.{n}.0", f"{net}.norms.{n}", "bias_into_mean"),
            (f"{net}.{n}.1", f"{net}.norms.{n}", "batch_norm"),
        )
    ]

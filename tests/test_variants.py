"""Every choice that a config can make trains: the loss falls, and the evaluation's figures are finite."""

import math
from pathlib import Path

import pytest

from vae_jax.config import load_file, override
from vae_jax.evaluation.evaluate import evaluate, held_out_means
from vae_jax.run import open_run
from vae_jax.train import train

DIGITS = str(Path(__file__).parents[1] / "configs" / "digits.py")
VARIANTS = {
    "autoencoder": ["model.posterior=point", "objective.kl=0", "eval.importance_samples=0"],
    "beta": ["objective.kl=4", "objective.kl_warmup=16", "model.variance_kind=fixed"],
    "softplus posterior, laplace": ["model.posterior=softplus", "model.likelihood=laplace"],
    "per-pixel variance": ["model.variance_kind=per_pixel"],
    "binarised, bernoulli": ["model.likelihood=bernoulli", "data.binarization=dynamic"],
    "grey, bernoulli": ["model.likelihood=bernoulli"],
    "batch norm, averaged, clipped": ["model.encoder.norm=batch", "optimizer.ema=0.9", "optimizer.clip_norm=1"],
    "layer norm, gelu, adamw": [
        "model.encoder.norm=layer",
        "model.encoder.activation=gelu",
        "optimizer.name=adamw",
        "optimizer.weight_decay=0.01",
    ],
    "muon, decayed, bfloat16 nets": [
        "optimizer.name=muon",
        "optimizer.learning_rate=0.02",
        "optimizer.weight_decay=0.01",
        "dtype=bfloat16",
    ],
    "cosine, accumulated": [
        "optimizer.schedule=cosine",
        "optimizer.decay_steps=48",
        "optimizer.warmup_steps=4",
        "optimizer.accumulate=2",
    ],
    "free bits, capacity": ["objective.free_bits=0.1", "objective.capacity=2", "objective.capacity_steps=16"],
    "bfloat16 nets": ["dtype=bfloat16"],
    "linear output": ["model.output=identity"],
    "denoising": ["data.corrupt.kind=noise", "data.corrupt.amount=0.3"],
    "flipped, a box filled in": ["data.flip=true", "data.corrupt.kind=box"],
    "patches filled in, weighted": [
        "data.corrupt.kind=patches",
        "data.corrupt.patch=2",
        "data.corrupt.weight=4",
        "eval.importance_samples=0",
    ],
}


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_variant_is_a_choice_in_a_config(tmp_path, overrides):
    config = load_file(DIGITS)
    config.model.encoder = {"family": "mlp", "widths": (32,), "norm": "none", "activation": "relu"}
    config.model.decoder = {"family": "mlp", "mirror": True}
    config.mesh.devices = 1
    config.train.update(steps=48, batch_size=64, steps_per_call=4, eval_every=24)
    config.eval.importance_samples = 4
    override(config, [f"--config.{text}" for text in overrides])
    run = open_run(tmp_path / "run", "variant", config)
    before = held_out_means(run, run.steps.init().variables, "validation")["loss"]
    trained = train(run)
    after = held_out_means(run, trained.state.variables, "validation")["loss"]
    assert trained.finished and after < before
    meta = evaluate(run, trained.state, split="test", checkpoint="newest")
    assert meta["examples"] == 359
    assert all(math.isfinite(figure["mean"]) for figure in meta["figures"].values())
    assert ("elbo" in meta["figures"]) == (run.steps.bound == "elbo")
    if config.eval.importance_samples:
        grey = run.steps.bound == "bernoulli_bound"
        tighter = meta["figures"]["importance_bound"]["mean"] if grey else -meta["figures"]["nll"]["mean"]
        assert tighter > meta["figures"][run.steps.bound]["mean"]

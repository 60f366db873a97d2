"""Variational autoencoders in JAX: `vae_jax.load("runs/x")` gives a trained model; the rest is the command line.

Nothing heavy is imported until it is asked for.
"""

import importlib

__version__ = "0.1.0"


def load(workdir, *, checkpoint="newest"):
    """The model of a run folder, ready to encode, decode, reconstruct and sample: see `inference.Model`.

    Of a classifier's run, one that is ready to predict: see `inference.Classifier`.
    `checkpoint` is "newest", "best" or a step. Raises errors.UserError, in one sentence, where there is none.
    """
    from vae_jax.inference import load_model

    return load_model(workdir, checkpoint=checkpoint)


def __getattr__(name):
    """`vae_jax.studies`, imported when it is first asked for."""
    if name == "studies":
        return importlib.import_module("vae_jax.studies")
    raise AttributeError(f"module 'vae_jax' has no attribute {name!r}")

"""Samples from the prior, the same for a seed whatever the batch size and the devices."""

import shutil

import jax
import numpy as np

from vae_jax import rng
from vae_jax.images import grids
from vae_jax.mesh import batch_sharding
from vae_jax.run import Run, write_json
from vae_jax.state import Variables
from vae_jax.steps import Steps

COLUMNS = 8


def draw(steps: Steps, variables: Variables, count: int, *, seed: int, batch_size: int) -> dict[str, np.ndarray]:
    """`count` latents of p(z) [n, Z] and the means of p(x|z) at them [n, ...]; sample i depends on (seed, i) alone."""
    sharding, key = batch_sharding(steps.mesh), rng.stream(seed, "sample")
    latents, images = [], []
    for start in range(0, count, batch_size):
        numbers = jax.device_put(np.arange(start, start + batch_size, dtype=np.uint32), sharding)
        z, x = steps.sample(variables, rng.per_example(key, numbers))
        latents.append(z)
        images.append(x)
    return {
        "latents": np.concatenate(jax.device_get(latents))[:count],
        "samples": np.concatenate(jax.device_get(images))[:count],
    }


def sample(run: Run, variables: Variables, *, step: int, checkpoint: str) -> None:
    """Draws `sample.count` samples under `sample.seed` and writes studies/sample."""
    options, folder = run.config.sample, run.study("sample")
    arrays = draw(run.steps, variables, options.count, seed=options.seed, batch_size=run.config.eval.batch_size)
    shutil.rmtree(folder, ignore_errors=True)  # of the study of the same name, or earlier samples
    folder.mkdir(parents=True)
    np.savez(folder / "arrays.npz", **arrays)
    if grids.showable(arrays["samples"].shape[1:]):
        grids.save_png(folder / "samples.png", grids.grid(arrays["samples"], COLUMNS))
    record = run.study_record(step=step, checkpoint=checkpoint, seed=options.seed)
    write_json(folder / "meta.json", {**record, "count": options.count})

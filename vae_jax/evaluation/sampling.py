"""Samples from the prior, the same for a seed whatever the batch size and the devices."""

import shutil
from collections.abc import Sequence

import jax
import numpy as np

from vae_jax import cluster, rng
from vae_jax.data.named import Conditions, in_words
from vae_jax.images import grids
from vae_jax.mesh import batch_sharding, local_rows, to_device
from vae_jax.run import Run, write_json
from vae_jax.state import Variables
from vae_jax.steps import Steps

COLUMNS = 8
SHOWN = 64  # of the samples, in the picture


def draw(
    steps: Steps, variables: Variables, count: int, *, seed: int, batch_size: int, cond: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """`count` latents of p(z) [n, Z] and the means of p(x|z) at them [n, ...]; sample i depends on (seed, i) alone.

    A conditional model is told `cond` [count, n].
    """
    sharding, key = batch_sharding(steps.mesh), rng.stream(seed, "sample")
    rows = local_rows(steps.mesh, batch_size)
    latents, images = [], []
    for start in range(0, count, batch_size):
        batch = {"number": (start + rows).astype(np.uint32)}
        if cond is not None:
            batch["cond"] = cond[np.minimum(start + rows, count - 1)]
        batch = to_device(batch, sharding)
        z, x = steps.sample(variables, rng.per_example(key, batch["number"]), batch.get("cond"))
        latents.append(z)
        images.append(x)
    return {
        "latents": np.concatenate(jax.device_get(latents))[:count],
        "samples": np.concatenate(jax.device_get(images))[:count],
    }


def told(conditions: Conditions | None, numbers: np.ndarray, *, seed: int) -> np.ndarray | None:
    """Conditions [N, n] of the samples `numbers` [N], as often as in the training split; each by (seed, i) alone."""
    if conditions is None:
        return None
    keys = rng.per_example(rng.stream(seed, "condition"), numbers.astype(np.uint32))
    return conditions.at(np.asarray(rng.uniform(keys, numbers.shape)))


def sample(run: Run, variables: Variables, *, step: int, checkpoint: str) -> None:
    """Draws `sample.count` samples under `sample.seed` and writes studies/sample; the picture shows the first."""
    options, folder = run.config.sample, run.study("sample")
    cond = told(run.conditions, np.arange(options.count), seed=options.seed)
    if options.cond:
        cond = np.tile(np.float32(options.cond), (options.count, 1))
    batch_size = run.config.eval.batch_size
    arrays = draw(run.steps, variables, options.count, seed=options.seed, batch_size=batch_size, cond=cond)
    if cond is not None:
        arrays["cond"] = cond
    if not cluster.is_first():
        return
    shutil.rmtree(folder, ignore_errors=True)  # of the study of the same name, or earlier samples
    folder.mkdir(parents=True)
    np.savez(folder / "arrays.npz", **arrays)
    if grids.showable(arrays["samples"].shape[1:]):
        grids.save_png(folder / "samples.png", grids.grid(arrays["samples"][:SHOWN], COLUMNS))
    record = run.study_record(step=step, checkpoint=checkpoint, seed=options.seed)
    words = told_in_words(run.config.model.cond, options.cond)
    write_json(folder / "meta.json", {**record, "count": options.count, "told": words})


def told_in_words(names: Sequence[str], cond: Sequence[float]) -> str:
    """What a model of the conditions `names` was told of its samples: `cond`, or () for the usual ones; "" for none."""
    if cond:
        return f"all told {in_words(cond, names)}"
    return f"each told {', '.join(names)} as often as the training split has them" if names else ""

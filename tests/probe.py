"""What one process of a training sees and computes, as arrays: in a test, or by `python probe.py FOLDER FLAGS`."""

import contextlib
import itertools
import sys
from pathlib import Path

import jax
import numpy as np
from absl import flags

from vae_jax import cluster, rng
from vae_jax.config import default_config
from vae_jax.data.pipeline import train_batches
from vae_jax.evaluation.evaluate import held_out_means
from vae_jax.evaluation.held_out import over_split
from vae_jax.evaluation.sampling import draw
from vae_jax.mesh import local_rows, replicated
from vae_jax.run import open_run
from vae_jax.steps import evaluation_keys

STEPS, BATCH, DRAWN = 10, 64, 50


def config(*, optimizer, devices=0):
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=(16,))
    config.model.update(latent=3)
    config.data.flip = True
    config.optimizer.update(name=optimizer, learning_rate=1e-3 if optimizer == "adam" else 1e-4)
    config.train.update(batch_size=BATCH, steps=STEPS, steps_per_call=1)
    config.eval.batch_size = 64
    config.mesh.devices = devices
    return config


def probe(*, devices=0):
    """The rows that this process reads, its part of the batches, and what all compute together."""
    found = {}
    for optimizer in ("adam", "sgd"):
        run = open_run(Path("unused"), "test", config(optimizer=optimizer, devices=devices))
        state, losses = run.steps.init(), []
        with contextlib.closing(calls(run, "device")) as batches:
            for batch in itertools.islice(batches, STEPS):
                state, report = run.steps.train(state, batch, run.steps.weights)
                losses.append(float(report["window"]["loss"]))
        found[f"{optimizer}: losses"] = np.array(losses)
        for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(state.variables.params)):
            found[f"{optimizer}: {jax.tree_util.keystr(path)}"] = leaf
    found |= {f"held out: {name}": mean for name, mean in held_out_means(run, state.variables, "test").items()}
    drawn = draw(run.steps, state.variables, DRAWN, seed=5, batch_size=BATCH)
    found |= {"prior: latents": drawn["latents"], "held out: samples": drawn["samples"]}
    found["noise: evaluation"] = noise(run)
    found["rows"] = local_rows(run.mesh, BATCH)
    for delivery in ("device", "host"):
        with contextlib.closing(calls(run, delivery)) as batches:
            for number, batch in enumerate(itertools.islice(batches, 3)):
                found |= {f"batch: {delivery} {number} {name}": own(array) for name, array in batch.items()}
    return found


def calls(run, delivery):
    options = {"mesh": run.mesh, "steps_per_call": 1, "start_step": 0, "delivery": delivery, "workers": 0}
    return train_batches(run.splits["train"], run.order, **options)


def own(array):
    """The part [K, B, ...] of a global array that the one device of this process holds."""
    (shard,) = array.addressable_shards
    return np.asarray(shard.data)


def noise(run):
    def draw_noise(batch):
        return {"noise": rng.normal(evaluation_keys(0, batch), (BATCH, 5))}

    draw_noise = jax.jit(draw_noise, out_shardings=replicated(run.mesh))
    return over_split(draw_noise, run.splits["test"], batch_size=BATCH, mesh=run.mesh)["noise"]


if __name__ == "__main__":
    flags.FLAGS([sys.argv[0], *sys.argv[2:]])
    cluster.meet("train")
    np.savez(Path(sys.argv[1]) / f"{jax.process_index()}.npz", **probe())

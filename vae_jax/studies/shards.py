"""Very many samples: written shard by shard, in bounded memory, and resumed where a killed command stopped."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_jax.disk import written_aside
from vae_jax.errors import UserError
from vae_jax.images.grids import to_uint8
from vae_jax.inference import Model
from vae_jax.progress import Progress
from vae_jax.studies import draws, nets

SHARD = 2_000  # samples
ABOUT = "shards.json"


def write_shards(model: Model, folder: Path, count: int, *, seed: int, cond: Sequence[float] | None = None) -> None:
    """Draws `count` samples into `folder`/00000.npz, ...: `latents` [n, Z], `samples` [n, ...] (pictures as uint8).

    Of a conditional model also `cond` [n, ...]: see `draws.conditions`.
    A shard that is there is kept, so that a greater count goes on where a smaller one ended. UserError where the folder
    holds shards of another step, seed or condition.
    """
    about = check_shards(model, folder, seed=seed, cond=cond)
    folder.mkdir(parents=True, exist_ok=True)
    with written_aside(folder / ABOUT) as aside:
        aside.write_text(json.dumps(about), encoding="utf-8")
    with Progress(count, noun="sample") as progress:
        for start in range(0, count, SHARD):
            stop, path = min(start + SHARD, count), folder / f"{start // SHARD:05d}.npz"
            if not _holds(path, stop - start):
                latents = draws.of_the_prior(model, start, stop, seed=seed)
                told = draws.conditions(model, start, stop, seed=seed, cond=cond)
                samples = nets.decode(model, latents, told)
                arrays = {"latents": latents, "samples": to_uint8(samples) if samples.ndim == 4 else samples}
                with written_aside(path) as aside, open(aside, "wb") as file:
                    np.savez(file, **arrays, **({} if told is None else {"cond": told}))
            progress.update(stop, str(path))


def check_shards(model: Model, folder: Path, *, seed: int, cond: Sequence[float] | None = None) -> dict:
    """What the shards in `folder` are of; UserError where there are others."""
    about = {"step": model.step, "seed": seed, "shard": SHARD, "cond": None if cond is None else list(cond)}
    if (folder / ABOUT).exists():
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if found != about:
            raise UserError(f"{folder} holds samples of {found}, not of {about}; move it away to draw these.")
    return about


def _holds(path: Path, count: int) -> bool:
    if not path.exists():
        return False
    with np.load(path) as arrays:
        return len(arrays["latents"]) >= count

"""Our side and every mode of PyTorch on one net: that they agree, and how fast each is."""

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from our_side import NETS, OurSide
from rounds import Competitor, alternate, product_rate, rows
from torch_modes import EAGER, TorchSide, modes

from vae_jax import rng
from vae_jax.config import override, resolve
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps

IMAGES = {"cpu": 1024, "gpu": 8192}
AGREEMENT = 1e-4  # relative, between the losses
CHECKED_STEPS = 3
PRECISIONS = ("float32", "bfloat16")
RATE = 1e-3
LOG_EVERY = 64
TASKS = ("train", "train end to end", "encode", "sample")


class DisagreementError(Exception):
    """The two sides compute different losses: they are not the same net."""


def compare(net: str, overrides: list[str], *, rounds: int, seconds: float) -> dict:
    """Every competitor of every task on one net: the rows of its table, and what they are to be seen against.

    `overrides` change our side alone; what changes the net makes the losses disagree, which is an error.
    """
    make_config, shape = NETS[net]
    images = np.random.default_rng(0).integers(0, 256, (IMAGES[jax.default_backend()], *shape), dtype=np.uint8)
    ours = {precision: OurSide(_prepared(make_config(), precision, overrides), images) for precision in PRECISIONS}
    config = ours["float32"].config
    agreement = _agreement(config, images)
    competitors = {task: [] for task in TASKS}
    for precision, side in ours.items():
        runs = {"train": side.train, "train end to end": side.train_and_read}
        if precision == "float32":  # what is held out is, whatever the nets train in
            runs |= {"encode": side.encode, "sample": side.sample}
        for task, run in runs.items():
            per_call = side.config.train.steps_per_call if task.startswith("train") else 1
            competitors[task].append(Competitor("vae_jax", precision, precision, run, per_call))
    params, left_out = ours["float32"].state.variables.params, {}
    for mode in modes():
        side = TorchSide(mode, config, images, params)
        runs = dict(zip(TASKS, (side.train, side.train_from_loader, side.encode, side.sample), strict=True))
        try:
            for run in runs.values():
                run(1)
        except Exception as error:  # whatever a compiler may raise; the table says that the mode does not work here
            left_out[mode.name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            continue
        for task, run in runs.items():
            competitors[task].append(Competitor("torch", mode.name, mode.precision, run))
    products = {precision: product_rate(jnp.dtype(precision), rounds=rounds) for precision in PRECISIONS}
    flops, found = ours["float32"].flops_per_image(), []
    for task in TASKS:
        rates = alternate(competitors[task], batch_size=config.train.batch_size, rounds=rounds, seconds=seconds)
        for row in rows(competitors[task], rates):
            share = row["images_per_second"] * flops[task.split()[0]] / products[row["precision"]]
            found.append({"task": task, **row, "share_of_product_rate": share})
    return {
        "net": net,
        "batch_size": config.train.batch_size,
        "steps_per_call": config.train.steps_per_call,
        "largest_difference_of_losses": agreement,
        "flops_per_image": flops,
        "product_flops_per_second": products,
        "modes_left_out": left_out,
        "rows": found,
    }


def _agreement(config: ConfigDict, images: np.ndarray) -> float:
    """The largest relative difference between the first losses of the two sides, given the same noise."""
    config = config.copy_and_resolve_references()
    config.matmul_precision = "highest"
    config.train.update(steps_per_call=1, log_every=1)
    steps, size = Steps(config, images.shape[1:], make_mesh(1)), config.train.batch_size
    state = steps.init()
    twin = TorchSide(EAGER, config, images, state.variables.params)
    ids, mask, worst = np.arange(size, dtype=np.uint32), np.ones(size, np.float32), 0.0
    for step in range(CHECKED_STEPS):
        chosen = images[step * size : (step + 1) * size]
        noise = rng.normal(rng.per_example(rng.stream(config.seed, "train", step), ids), (size, config.model.latent))
        theirs = twin.checked_step(chosen, np.array(noise))
        batch = {"image": chosen, "example_id": ids, "epoch": ids.astype(np.int32), "mask": mask}
        state, report = steps.train(state, {name: values[None] for name, values in batch.items()}, steps.weights)
        ours = float(report["window"]["loss"])
        worst = max(worst, abs(ours - theirs) / abs(ours))
        if not worst <= AGREEMENT:
            raise DisagreementError(f"Step {step + 1}: our loss is {ours:.8g} and PyTorch's {theirs:.8g}.")
    return worst


def _prepared(config: ConfigDict, precision: str, overrides: list[str]) -> ConfigDict:
    config.dtype, config.optimizer.learning_rate = precision, RATE
    override(config, overrides)
    resolve(config)
    config.train.log_every = LOG_EVERY
    return config

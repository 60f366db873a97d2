"""Our side and every mode of PyTorch on one net: that they agree, and how fast each is."""

import functools

import numpy as np
import torch
from flax import nnx
from ml_collections import ConfigDict
from our_process import OurProcess
from our_side import CHECKED_STEPS, PRECISIONS, checked, checked_ids, images_of, prepared
from rounds import Competitor, alternate, rows
from torch_modes import EAGER, TorchSide, modes

from vae_jax import rng

IMAGES = {False: 1024, True: 8192}  # without a GPU, and with one
AGREEMENT = 1e-4  # relative, between the losses
TASKS = {"train": "train", "train end to end": "train_and_read", "encode": "encode", "sample": "sample"}


class DisagreementError(Exception):
    """The two sides compute different losses: they are not the same net."""


def compare(net: str, overrides: list[str], *, python: str, rounds: int, seconds: float) -> dict:
    """Every competitor of every task on one net: the rows of its table, and what they are to be seen against.

    Our side runs in the Python `python`. `overrides` change it alone; what changes the net makes the losses disagree,
    which is an error.
    """
    images = images_of(net, IMAGES[torch.cuda.is_available()])
    config = prepared(net, "float32", overrides)
    ours = OurProcess(python, net, overrides, images=len(images), rounds=rounds)
    steps = checked(config, images.shape[1:])
    params = steps.init().variables.params
    agreement = largest_difference(ours.found.pop("losses"), their_losses(config, images, params))
    competitors = {task: [] for task in TASKS}
    for precision in PRECISIONS:
        for task, name in TASKS.items():
            in_training = task.startswith("train")
            if in_training or precision == "float32":  # what is held out is, whatever the nets train in
                run = functools.partial(ours.run, precision, name)
                per_call = config.train.steps_per_call if in_training else 1
                competitors[task].append(Competitor("vae_jax", precision, precision, run, per_call))
    left_out = {}
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
    flops, products, found = ours.found["flops_per_image"], ours.found["product_flops_per_second"], []
    for task in TASKS:
        rates = alternate(competitors[task], batch_size=config.train.batch_size, rounds=rounds, seconds=seconds)
        for row in rows(competitors[task], rates):
            share = row["images_per_second"] * flops[task.split()[0]] / products[row["precision"]]
            found.append({"task": task, **row, "share_of_product_rate": share})
    ours.close()
    return {
        "net": net,
        "batch_size": config.train.batch_size,
        "steps_per_call": config.train.steps_per_call,
        "largest_difference_of_losses": agreement,
        **ours.found,
        "modes_left_out": left_out,
        "rows": found,
    }


def their_losses(config: ConfigDict, images: np.ndarray, params: nnx.State) -> list[float]:
    """The twin's losses where `first_losses` gives ours, given the same noise."""
    twin, size, losses = TorchSide(EAGER, config, images, params), config.train.batch_size, []
    for step in range(CHECKED_STEPS):
        keys = rng.per_example(rng.stream(config.seed, "train", step), checked_ids(config))
        noise = rng.normal(keys, (size, config.model.latent))
        losses.append(twin.checked_step(images[step * size : (step + 1) * size], np.array(noise)))
    return losses


def largest_difference(ours: list[float], theirs: list[float]) -> float:
    """The largest relative difference between the losses; more than AGREEMENT is an error."""
    differences = [abs(our - their) / abs(our) for our, their in zip(ours, theirs, strict=True)]
    for step, difference in enumerate(differences):
        if not difference <= AGREEMENT:
            raise DisagreementError(f"Step {step + 1}: our loss is {ours[step]:.8g} and PyTorch's {theirs[step]:.8g}.")
    return max(differences)

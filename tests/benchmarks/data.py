"""How fast pictures are decoded and read, what all of CelebA would take, and how long training waits for its input.

python tests/benchmarks/data.py --dir=FOLDER/OF/CELEBA [--json=PATH]
python tests/benchmarks/data.py --config=configs/NAME.py [--config.data.dir=... ...] [--json=PATH]

Every cache is built anew, in a temporary folder. The peak memory is the sum over this process, which has imported jax
as a training run has, and those that decode; of shared pages each counts its part (PSS).
"""

import argparse
import contextlib
import importlib
import math
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from repeated import Repeated
from throughput import measure, parse, show

from vae_jax.config import default_config, load_file, override
from vae_jax.data.cache import cached
from vae_jax.data.fit import Fit
from vae_jax.data.source import Source
from vae_jax.data.splits import open_splits
from vae_jax.errors import UserError
from vae_jax.run import open_run

CELEBA = 202_599  # pictures
BATCHES = (64, 128, 256, 512)
READ = 50_000  # images that are read for a rate
TIMES = (1, 2, 4, 8)  # what the collection is repeated for the peak of memory
SAMPLED_EVERY = 0.05  # seconds
CALLS = 20  # training calls that are timed


def faces(folder: str) -> ConfigDict:
    """A small convolutional VAE of whole faces at 64×64."""
    config = default_config()
    config.data.update(source="celeba", dir=folder, image_size=(64, 64), crop="whole")
    config.model.encoder = {"family": "conv", "channels": (32, 32, 64, 64), "kernel": 4, "stride": 2, "norm": "batch"}
    config.model.decoder = {"family": "conv", "mirror": True}
    config.model.latent = 32
    config.train.update(batch_size=64, steps_per_call=1)
    return config


def read_rate(source: Source, batch: int) -> float:
    """Images/s of `Source.read` in random order."""
    rng = np.random.default_rng(0)
    places = [rng.integers(0, len(source), batch) for _ in range(math.ceil(READ / batch))]
    start = time.perf_counter()
    for indices in places:
        source.read(indices)
    return len(places) * batch / (time.perf_counter() - start)


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Inside, the last entry of the list is the most bytes that this process and its children have held together."""
    peak, stop = [0], threading.Event()

    def sample():
        while not stop.wait(SAMPLED_EVERY):
            peak[-1] = max(peak[-1], sum(map(_held, [os.getpid(), *_children()])))

    thread = threading.Thread(target=sample)
    thread.start()
    yield peak
    stop.set()
    thread.join()


def building_memory(config: ConfigDict) -> dict[int, float]:
    """Peak bytes while the cache of so many pictures is built."""
    source = importlib.import_module(f"vae_jax.data.sources.{config.source}")
    collections = source.open_splits(config)
    channels = config.channels or collections["train"].channels
    fit = Fit(config.crop, tuple(config.image_size), channels)
    peaks = {}
    for times in TIMES:
        repeated = {name: Repeated(pictures, times) for name, pictures in collections.items()}
        with tempfile.TemporaryDirectory() as folder, peak_memory() as peak:
            cached(repeated, fit, cache_dir=folder, max_broken=config.max_broken)
        peaks[sum(map(len, repeated.values()))] = peak[-1]
    return peaks


def measure_data(config: ConfigDict) -> dict:
    """All measurements of a config, whose source must be one of pictures; rates are per second."""
    with tempfile.TemporaryDirectory() as folder:
        config.data.cache_dir, config.data.delivery = folder, "host"
        start, spent = time.perf_counter(), _cpu_seconds()
        splits = open_splits(config.data)
        seconds, spent = time.perf_counter() - start, _cpu_seconds() - spent
        pictures = sum(map(len, splits.values()))
        train, rate = splits["train"], pictures / seconds
        size = math.prod(train.features.shape) * train.features.dtype.itemsize
        peaks = building_memory(config.data)  # before training, whose compiler takes more
        training = measure(open_run(Path("unused"), "data", config), calls=CALLS)
        return {
            "cores": len(os.sched_getaffinity(0)),
            "pictures": pictures,
            "shape": train.features.shape,
            "decoded_per_second": rate,
            "decoded_per_cpu_second": pictures / spent,  # of one core; other work on the machine changes it little
            **{f"read_per_second_by_{batch}": read_rate(train, batch) for batch in BATCHES},
            "celeba_seconds": CELEBA / rate,
            "celeba_megabytes_on_disk": CELEBA * size / 1e6,
            **{f"peak_megabytes_of_{n}": peak / 1e6 for n, peak in peaks.items()},
            "training_milliseconds_per_step": training["milliseconds_per_step"],
            "training_images_per_second": training["images_per_second"],
            "training_input_wait_share": training["input_wait_share"],
        }


def _cpu_seconds():
    """Of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _held(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next(1024 * int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError, StopIteration):  # it has ended since it was listed
        return 0


def _children():
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield from map(int, (task / "children").read_text().split())


def main() -> None:
    """Prints the measurements as a table, and writes them to --json=PATH if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--dir", help="a folder of CelebA")
    data.add_argument("--config", help="a config, whose source must be one of pictures")
    arguments, overrides = parse(parser)
    try:
        config = load_file(arguments.config) if arguments.config else faces(arguments.dir)
        override(config, overrides)
        result = measure_data(config)
    except UserError as error:
        sys.exit(str(error))
    show(result, arguments.json)


if __name__ == "__main__":
    main()

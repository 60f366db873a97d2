"""What R runs in one program cost against the same R in turn, by each way of laying out the replica axis.

python tests/benchmarks/replicas.py --config=configs/mnist_beta.py:idx [--kl=1,2,4,8] [--rounds=5] [--json=PATH]
    [--config.data.dir=... ...]
"""

import argparse
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
from ml_collections import ConfigDict
from throughput import parse

from vae_jax.axis import AXES, choose_axis
from vae_jax.config import load_file, name_of, override
from vae_jax.data.order import Order, Orders
from vae_jax.data.pipeline import train_batches
from vae_jax.errors import UserError
from vae_jax.replicas import Group, open_group

SECONDS_A_ROUND = 2.0


class Way:
    """One way to train a group: `call` takes the states of all replicas through one call of K steps."""

    def __init__(self, name: str, group: Group, call: Callable):
        self.name, self.call, self.seconds, self.calls = name, call, [], 1
        self.states = tuple(run.steps.init() for run in group.runs)
        self.first_call = self._time()
        self.calls = max(1, round(SECONDS_A_ROUND / self._time()))

    def run(self) -> None:
        """Adds the seconds of one call, a mean over a round of them."""
        self.seconds.append(self._time() / self.calls)

    def _time(self) -> float:
        jax.block_until_ready(self.states)
        start = time.perf_counter()
        for _ in range(self.calls):
            self.states = self.call(self.states)
        jax.block_until_ready(self.states)
        return time.perf_counter() - start


def measure(config: ConfigDict, name: str, *, rounds: int) -> dict:
    """Seconds of a call of K steps of all replicas, in turn and at once; the ways alternate within each round."""
    ways = [_in_turn(open_group(Path("unused"), name, config.copy_and_resolve_references()))]
    for axis in AXES[1:]:
        config.train.replica_axis = axis
        group = open_group(Path("unused"), name, config.copy_and_resolve_references())
        ways.append(_at_once(axis, group))
    for _ in range(rounds):
        for way in ways:
            way.run()
    in_turn = statistics.median(ways[0].seconds)
    device = group.whole.mesh.devices.flat[0]
    return {
        "config": name,
        "device": device.device_kind,
        "devices": group.whole.mesh.size,
        "jax": jax.__version__,
        "replicas": len(group.runs),
        "batch_size": group.whole.config.train.batch_size,
        "steps_per_call": group.whole.config.train.steps_per_call,
        "auto": choose_axis("auto", device.platform),
        "ways": {
            way.name: {
                "seconds_per_call": statistics.median(way.seconds),
                "of_in_turn": statistics.median(way.seconds) / in_turn,
                "first_call_seconds": way.first_call,
            }
            for way in ways
        },
    }


def _in_turn(group: Group) -> Way:
    calls = [_first_call(group, run.order) for run in group.runs]

    def call(states):
        each = zip(group.runs, states, calls, strict=True)
        return tuple(run.steps.train(state, batches, run.steps.weights)[0] for run, state, batches in each)

    return Way("in turn", group, call)


def _at_once(axis: str, group: Group) -> Way:
    batches = _first_call(group, Orders(tuple(run.order for run in group.runs)))
    weights = tuple(run.steps.weights for run in group.runs)

    def call(states):
        return tuple(state for state, _ in group.whole.steps.train_together(states, batches, weights))

    return Way(axis, group, call)


def _first_call(group: Group, order: Order | Orders) -> dict:
    run = group.whole
    options = {"mesh": run.mesh, "steps_per_call": run.config.train.steps_per_call, "start_step": 0}
    with contextlib.closing(
        train_batches(run.splits["train"], order, delivery="device", workers=0, **options)
    ) as batches:
        return next(batches)


def main() -> None:
    """Prints the measurements as a table, and writes them to --json=PATH if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--kl", default="1,2,4,8")
    parser.add_argument("--rounds", type=int, default=5)
    arguments, overrides = parse(parser)
    try:
        config = load_file(arguments.config)
        override(config, [f"--config.train.replicas.kl=({arguments.kl},)", *overrides])
        result = measure(config, name_of(arguments.config), rounds=arguments.rounds)
    except UserError as error:
        sys.exit(str(error))
    for name, value in result.items():
        if name != "ways":
            print(f"{name:>16}  {value}")
    for name, way in result["ways"].items():
        print(
            f"{name:>16}  {1e3 * way['seconds_per_call']:,.1f} ms a call, {way['of_in_turn']:.2f} of in turn, "
            f"first call {way['first_call_seconds']:.1f} s"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

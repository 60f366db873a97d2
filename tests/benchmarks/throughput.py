"""How fast a config trains: compile time, images/s, host time a call and the wait for input.

python tests/benchmarks/throughput.py --config=configs/digits.py [--calls=50] [--json=PATH] [--config.data.dir=... ...]
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import jax

from vae_jax.config import load_file, name_of, override
from vae_jax.data.pipeline import choose_delivery, train_batches
from vae_jax.errors import UserError
from vae_jax.run import Run, open_run

WARM_UP_CALLS = 3


def measure(run: Run, *, calls: int) -> dict:
    """Trains `calls` calls after the warm-up from step 0; times are in seconds, host times medians over the calls.

    `host_seconds_per_call` is what it takes to launch a call without waiting for it (on the CPU, where donated state is
    updated in place, launching waits for the call before); `input_wait_share` is the part of the time in which the
    loop waits for the next batch.
    """
    train = run.config.train
    batches = train_batches(
        run.splits["train"],
        run.order,
        mesh=run.mesh,
        steps_per_call=train.steps_per_call,
        start_step=0,
        delivery=run.config.data.delivery,
        workers=run.config.data.workers,
    )
    state, batch = run.steps.init(), next(batches)
    start = time.perf_counter()
    run.steps.train.lower(state, batch, run.steps.weights).compile()
    compiled = time.perf_counter() - start
    for _ in range(WARM_UP_CALLS):
        state, _ = run.steps.train(state, next(batches), run.steps.weights)
    jax.block_until_ready(state)
    waits, launches = [], []
    start = time.perf_counter()
    for _ in range(calls):
        before = time.perf_counter()
        batch = next(batches)
        fetched = time.perf_counter()
        state, _ = run.steps.train(state, batch, run.steps.weights)
        waits.append(fetched - before)
        launches.append(time.perf_counter() - fetched)
    jax.block_until_ready(state)
    seconds = time.perf_counter() - start
    batches.close()
    images = calls * train.steps_per_call * train.batch_size
    return {
        "config": run.name,
        "device": run.mesh.devices.flat[0].device_kind,
        "devices": run.mesh.size,
        "jax": jax.__version__,
        "delivery": choose_delivery(run.splits["train"], run.config.data.delivery, run.mesh).name,
        "batch_size": train.batch_size,
        "steps_per_call": train.steps_per_call,
        "compile_seconds": compiled,
        "images_per_second": images / seconds,
        "milliseconds_per_step": 1e3 * seconds / (calls * train.steps_per_call),
        "host_seconds_per_call": statistics.median(launches),
        "input_wait_share": sum(waits) / seconds,
    }


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of the command line, with --json=PATH, and those of them that override the config."""
    parser.add_argument("--json", type=Path)
    overrides = [argument for argument in sys.argv[1:] if argument.startswith("--config.")]
    return parser.parse_args([argument for argument in sys.argv[1:] if argument not in overrides]), overrides


def show(result: dict, path: Path | None) -> None:
    """Prints the measurements as a table, and writes them to `path` if there is one."""
    for name, value in result.items():
        print(f"{name:>32}  {value:,.4g}" if isinstance(value, float) else f"{name:>32}  {value}")
    if path:
        path.write_text(json.dumps(result, indent=2) + "\n")


def main() -> None:
    """Prints the measurements as a table, and writes them to --json=PATH if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--calls", type=int, default=50)
    arguments, overrides = parse(parser)
    try:
        config = load_file(arguments.config)
        override(config, overrides)
        run = open_run(Path("unused"), name_of(arguments.config), config)
    except UserError as error:
        sys.exit(str(error))
    result = measure(run, calls=arguments.calls)
    show(result, arguments.json)


if __name__ == "__main__":
    main()

"""How fast a config trains: time to the first step, images/s, host time a call, the wait for input; FLOPs, and memory.

python tests/benchmarks/throughput.py --config=configs/digits.py [--calls=50] [--json=PATH] [--config.data.dir=... ...]
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jax

from vae_jax.compilation import nothing_kept, use_compilation_cache
from vae_jax.config import load_file, name_of, override
from vae_jax.data.pipeline import choose_delivery, train_batches
from vae_jax.errors import UserError
from vae_jax.run import Run, open_run
from vae_jax.steps import Batch

WARM_UP_CALLS = 3


def measure(run: Run, *, calls: int) -> dict:
    """Trains `calls` calls after the warm-up from step 0; times are in seconds, host times medians over the calls.

    `host_seconds_per_call` is what it takes to launch a call without waiting for it (on the CPU, where donated state is
    updated in place, launching waits for the call before); `input_wait_share` is the part of the time in which the
    loop waits for the next batch.
    """
    train, batches = run.config.train, _batches(run)
    state, batch = run.steps.init(), next(batches)
    start = time.perf_counter()
    lowered = _lowered(run, batch)
    memory = _memory(lowered)
    compiled = time.perf_counter() - start
    for _ in range(WARM_UP_CALLS):
        state, _ = run.steps.train(state, next(batches), run.steps.weights, run.steps.features)
    jax.block_until_ready(state)
    waits, launches = [], []
    start = time.perf_counter()
    for _ in range(calls):
        before = time.perf_counter()
        batch = next(batches)
        fetched = time.perf_counter()
        state, _ = run.steps.train(state, batch, run.steps.weights, run.steps.features)
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
        # A scan's body counts once: this is one step, whatever K is. What oneDNN computes doesn't count once compiled.
        "mflop_per_image": lowered.cost_analysis()["flops"] / train.batch_size / 1e6,
        "arguments_mb": memory.argument_size_in_bytes / 1e6,
        "outputs_mb": memory.output_size_in_bytes / 1e6,
        "updated_in_place_mb": memory.alias_size_in_bytes / 1e6,
        "temporaries_mb": memory.temp_size_in_bytes / 1e6,
    }


def temporaries_with_remat(run: Run) -> dict[str, float]:
    """The temporaries of the same training step under `remat`, to be seen beside those of `run`."""
    config = run.given.copy_and_resolve_references()
    config.remat = True
    run = open_run(run.workdir, run.name, config)
    with contextlib.closing(_batches(run)) as batches:
        memory = _memory(_lowered(run, next(batches)))
    return {"temporaries_mb_with_remat": memory.temp_size_in_bytes / 1e6}


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of the command line, with --json=PATH, and those of them that override the config."""
    parser.add_argument("--json", type=writable)
    overrides = [argument for argument in sys.argv[1:] if argument.startswith("--config.")]
    return parser.parse_args([argument for argument in sys.argv[1:] if argument not in overrides]), overrides


def writable(text: str) -> Path:
    """What argparse makes of the path of a file to be written after all measurements."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is no folder")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a folder; name a file")
    return path


def show(result: dict, path: Path | None) -> None:
    """Prints the measurements as a table, and writes them to `path` if there is one."""
    for name, value in result.items():
        print(f"{name:>32}  {value:,.4g}" if isinstance(value, float) else f"{name:>32}  {value}")
    if path:
        path.write_text(json.dumps(result, indent=2) + "\n")


def first_steps(arguments: list[str]) -> dict[str, float]:
    """Seconds from the start of a process to the end of its first training call: with an empty cache, and with it full.

    `arguments` are the command line's; the cache is a new folder, so the user's own one stays as it is.
    """
    times = {}
    with tempfile.TemporaryDirectory() as cache:
        for name in ("cold", "warm"):
            start = time.perf_counter()
            command = [sys.executable, __file__, *arguments, "--first-call"]
            subprocess.run(command, check=True, env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache})
            times[f"first_call_{name}_seconds"] = time.perf_counter() - start
    return times


def main() -> None:
    """Prints the measurements as a table, and writes them to --json=PATH if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--first-call", action="store_true", help="train one call and end: what `first_steps` times")
    arguments, overrides = parse(parser)
    try:
        config = load_file(arguments.config)
        override(config, overrides)
        run = open_run(Path("unused"), name_of(arguments.config), config)
    except UserError as error:
        sys.exit(str(error))
    use_compilation_cache()
    if arguments.first_call:
        jax.block_until_ready(
            run.steps.train(run.steps.init(), next(_batches(run)), run.steps.weights, run.steps.features)
        )
        return
    result = first_steps(sys.argv[1:]) | measure(run, calls=arguments.calls) | temporaries_with_remat(run)
    show(result, arguments.json)


def _lowered(run: Run, batch: Batch) -> jax.stages.Lowered:
    return run.steps.train.lower(run.steps.abstract_state(), batch, run.steps.weights, run.steps.features)


def _memory(lowered: jax.stages.Lowered):
    """What the compiled program takes; it may call oneDNN, so it is not kept."""
    with nothing_kept():
        return lowered.compile().memory_analysis()


def _batches(run: Run) -> Iterator[Batch]:
    return train_batches(
        run.splits["train"],
        run.order,
        mesh=run.mesh,
        steps_per_call=run.config.train.steps_per_call,
        start_step=0,
        delivery=run.config.data.delivery,
        workers=run.config.data.workers,
    )


if __name__ == "__main__":
    main()

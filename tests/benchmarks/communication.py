"""What a training step sends between devices: bytes read off the compiled program, and on paper the time they take.

python tests/benchmarks/communication.py --config=configs/celeba_vae.py [--devices=8] [--channels=3] [--config.... ...]

`--devices` are those that the program is compiled for, here; the bytes hardly depend on their number. The arithmetic is
that of the config's whole batch on each device of the machines.
"""

import argparse
import collections
import math
import os
import re
import sys
from dataclasses import dataclass

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
ITEM_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "bf16": 2,
    "f16": 2,
    "f32": 4,
    "s32": 4,
    "u32": 4,
    "f64": 8,
    "s64": 8,
    "u64": 8,
}


@dataclass(frozen=True)
class Machine:
    """Devices that share a step: bytes/s of each, seconds a message takes to the next, FLOP/s that nets reach."""

    name: str
    devices: int
    bandwidth: float
    latency: float
    flops: float


# Bandwidths by the makers' data sheets: NVLink 4, 450 GB/s each way; one adapter of 400 Gb/s a node, 50 GB/s for eight
# GPUs that have summed among themselves before; v5e, a torus of two axes at 90 GB/s. FLOP/s: a fifth of the peak in
# TF32 (bfloat16 on the TPU), which is what small convolutional nets reach at best.
MACHINES = (
    Machine("8 GPUs (H100), NVLink", 8, 450e9, 7e-6, 0.2 * 495e12),
    Machine("8 nodes of 8 such GPUs, 400 Gb/s", 64, 50e9, 10e-6, 0.2 * 495e12),
    Machine("TPU v5e-64", 64, 2 * 90e9, 3e-6, 0.2 * 197e12),
)


def sent(program: str) -> dict[str, tuple[int, int]]:
    """Of each kind of collective in a compiled program's text: how many there are, and the bytes of their results."""
    found = collections.defaultdict(lambda: (0, 0))
    kinds = "|".join(COLLECTIVES)
    for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", program):
        count, total = found[kind]
        found[kind] = (count + 1, total + sum(_bytes(*shape) for shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes)))
    return dict(found)


def all_reduce_seconds(machine: Machine, messages: int, size: int) -> float:
    """2·(n − 1)/n of the bytes pass each device, and each message needs log n times to reach all."""
    share = 2 * (machine.devices - 1) / machine.devices
    return messages * machine.latency * math.log2(machine.devices) + share * size / machine.bandwidth


def main() -> None:
    """Prints the collectives of one step, and for each machine their time beside that of the arithmetic."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--channels", type=int, default=3)
    arguments, overrides = parser.parse_known_args()
    os.environ["JAX_PLATFORMS"] = "cpu"  # the program is the same: what is sent is decided before the device is
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={arguments.devices}"
    program, batch_size, parameters = compiled(arguments.config, overrides, arguments.channels)
    collectives, flops = sent(program.as_text()), program.cost_analysis()["flops"] * arguments.devices
    print(
        f"{parameters:,} parameters ({4e-6 * parameters:,.2f} MB), batch {batch_size}, {flops / 1e9:,.1f} GFLOP a step"
    )
    for kind, (count, size) in collectives.items():
        print(f"{kind}: {count}, {size / 1e6:,.3f} MB")
    messages, size = (sum(numbers) for numbers in zip(*collectives.values(), strict=True))
    for machine in MACHINES:
        sending, computing = all_reduce_seconds(machine, messages, size), flops / machine.flops
        print(f"{machine.name}: sending {1e3 * sending:.2f} ms, computing {1e3 * computing:.2f} ms a step")


def compiled(spec: str, overrides: list[str], channels: int):
    """One step of the config on all devices, compiled; its batch size and its number of parameters."""
    import jax
    import numpy as np

    from vae_jax.config import load_file, override, resolve
    from vae_jax.mesh import batch_sharding, make_mesh
    from vae_jax.steps import Steps

    config = load_file(spec)
    override(config, overrides)
    config.train.update(steps_per_call=1, log_every=1)
    config.convolution = "xla"  # that of the machines in question
    resolve(config)
    shape, batch_size = (*config.data.image_size, channels), config.train.batch_size
    mesh = make_mesh(fsdp=config.mesh.fsdp)
    steps = Steps(config, shape, mesh)
    fields = {
        "image": (shape, np.uint8),
        "example_id": ((), np.uint32),
        "epoch": ((), np.int32),
        "mask": ((), np.float32),
    }
    batch = {
        name: jax.ShapeDtypeStruct((1, batch_size, *shape), dtype, sharding=batch_sharding(mesh, leading=1))
        for name, (shape, dtype) in fields.items()
    }
    state = steps.abstract_state()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.variables.params))
    return steps.train.lower(state, batch, steps.weights).compile(), batch_size, parameters


def _bytes(dtype, sizes):
    return ITEM_BYTES[dtype] * math.prod(int(size) for size in sizes.split(",") if size)


if __name__ == "__main__":
    sys.exit(main())

"""How fast our nets are beside the same nets in PyTorch: training, encoding and sampling, in images/s.

python tests/benchmarks/against_torch.py [--net=faces64] [--rounds=5] [--seconds=2] [--json=PATH] [--python=PATH]
    [--config.FIELD=...]

Both sides start from the same parameters; before anything is timed, their first losses on the same images and noise
must agree. `--config.FIELD` changes our side alone; `--python` is what that runs in if not PyTorch's Python, so that
its jax can be another. Needs torch, and a C++ compiler for its compiled modes; on the CPU the machine for itself too,
as PyTorch's threads wait for each other and lose more to other work than ours do.
"""

import argparse
import importlib.util
import json
import os
import shutil
import sys

import jax
from our_side import NETS
from throughput import writable

from vae_jax.errors import UserError


def main() -> None:
    """Measures the nets asked for, prints a table of each and writes --json=PATH."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=tuple(NETS), help="one net; default: all of them")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="that a competitor runs in a round")
    parser.add_argument("--json", type=writable)
    parser.add_argument("--python", default=sys.executable, help="the Python of our side")
    overrides = [argument for argument in sys.argv[1:] if argument.startswith("--config.")]
    arguments = parser.parse_args([argument for argument in sys.argv[1:] if argument not in overrides])
    if importlib.util.find_spec("torch") is None:
        sys.exit("The comparison needs PyTorch, which is not installed: pip install torch.")
    if shutil.which(arguments.python) is None:
        sys.exit(f"--python={arguments.python} is no program that can be started.")
    import torch
    from comparison import DisagreementError, compare

    jax.config.update("jax_platforms", "cpu")  # here it only draws parameters and noise: the device is PyTorch's
    machine = {"cores": os.cpu_count(), "torch": torch.__version__, "load before": round(os.getloadavg()[0], 1)}
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    results = []
    for net in [arguments.net] if arguments.net else NETS:
        try:
            options = {"python": arguments.python, "rounds": arguments.rounds, "seconds": arguments.seconds}
            results.append(compare(net, overrides, **options))
        except (UserError, DisagreementError) as error:
            sys.exit(f"{net}: {error}")
        show(results[-1])
    if arguments.json:
        arguments.json.write_text(json.dumps({**machine, "overrides": overrides, "nets": results}, indent=2) + "\n")


def show(result: dict) -> None:
    """Prints the table of one net; `ratio` is to PyTorch's best mode of the same precision."""
    flops = ", ".join(f"{task} {count / 1e6:,.1f}" for task, count in result["flops_per_image"].items())
    rates = ", ".join(f"{name} {rate / 1e9:,.0f}" for name, rate in result["product_flops_per_second"].items())
    print(f"\n{result['net']} on {result['device']}: batch {result['batch_size']}")
    print(f"ours is of jax {result['jax']}, {result['steps_per_call']} steps a call")
    print(f"MFLOP an image, by our programs: {flops}")
    print(f"GFLOP/s of matrix products here: {rates}; `share` is what a competitor reaches of them")
    print(f"the losses of the first steps differ by {result['largest_difference_of_losses']:.1e} at most")
    print(f"{'':52}{'images/s':>10}{'lowest':>10}{'highest':>10}{'ratio':>8}{'share':>8}")
    task = None
    for row in result["rows"]:
        if row["task"] != task:
            task = row["task"]
            print(task)
        speeds = "".join(f"{row[name]:10,.0f}" for name in ("images_per_second", "lowest", "highest"))
        ratio = f"{row['ratio']:8.2f}" if row["ratio"] else f"{'-':>8}"
        print(f"  {row['library']:8}{row['mode']:42}{speeds}{ratio}{row['share_of_product_rate']:8.0%}")
    for mode, reason in result["modes_left_out"].items():
        print(f"  torch {mode} does not work here: {reason}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The parameters of the study postprocess that bring a run's pictures nearest to the originals of its validation split.

python tests/benchmarks/tune_postprocess.py --workdir=runs/l32 [--data_dir=PATH/TO/celeba] [--stages=dehaze,contrast]

It prints them as the options of that study, with the squared error a pixel before and after. Each parameter in turn
takes the best of its values, the others as they are by then, until none changes; the test split is not read.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

import vae_jax
from vae_jax.errors import UserError
from vae_jax.images.postprocess import chain
from vae_jax.run import open_data
from vae_jax.studies import nets
from vae_jax.studies.inputs import as_the_net_takes_them, read_split
from vae_jax.study_options import stage_names

EXAMPLES = 256
VALUES = {  # in the order in which they are tuned
    "haze": (0.2, 0.3, 0.4, 0.5, 0.6, 0.8),
    "haze_patch": (3, 5, 7, 15, 31),
    "contrast": (0.8, 1.0, 1.2, 1.5, 2.0),
    "saturation": (0.0, 0.2, 0.4, 0.7, 1.0, 1.3),
    "bilateral_color": (0.05, 0.1, 0.3, 1.0, 3.0),
    "sharpen": (0.0, 0.2, 0.5),
}


def tuned(
    decoded: np.ndarray, originals: np.ndarray, stages: Sequence[str], options: Mapping
) -> Iterator[tuple[dict, float]]:
    """The parameters, and the squared error a pixel with these: first `options`, then after each pass over VALUES.

    `decoded` and `originals` are [B, H, W, C] in [0, 1].
    """

    def error(candidate):
        return float(np.square(chain(decoded, stages, candidate)[-1] - originals).mean())

    best, before = dict(options), None
    yield best, error(best)
    while best != before:
        before = best
        for name, values in VALUES.items():
            errors = {value: error({**best, name: value}) for value in (best[name], *values)}
            best = {**best, name: min(errors, key=errors.get)}  # what it is, where no other is better
        yield best, error(best)


def main() -> None:
    """Prints what it finds, pass by pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--stages", help="default: those of the run's config")
    arguments = parser.parse_args()
    try:
        model = vae_jax.load(arguments.workdir)
        config = model.config.copy_and_resolve_references()
        options = config.study.postprocess
        stages = stage_names(arguments.stages or options.stages)
        config.data.dir = arguments.data_dir or config.data.dir
        held_out = open_data(config)["validation"]
    except UserError as error:
        sys.exit(str(error))
    examples = read_split(held_out, "validation", np.arange(min(EXAMPLES, len(held_out))))
    originals = as_the_net_takes_them(examples, config.data)
    decoded = nets.reconstruct(model, originals, examples.cond)
    print(f"as decoded: {np.square(decoded - originals).mean():.4f}, on {len(originals)} examples", flush=True)
    for passes, (best, error) in enumerate(tuned(decoded, originals, stages, options)):
        flags = (f"--config.study.postprocess.{name}={best[name]}" for name in VALUES)
        print(f"after {passes} passes: {error:.4f}", *flags, sep="\n  ", flush=True)


if __name__ == "__main__":
    main()

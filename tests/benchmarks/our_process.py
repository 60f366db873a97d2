"""Our half of the comparison in a process of its own, whose Python may be another and have another jax than PyTorch's.

Each line of JSON that it reads is answered by one. What both halves start from is drawn from the seed on either side,
so nothing but names and numbers passes between them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from our_side import PRECISIONS, OurSide, first_losses, images_of, prepared
from rounds import product_rate

import vae_jax
from vae_jax.compilation import use_compilation_cache
from vae_jax.errors import UserError


class OurProcess:
    """One net of ours, in both precisions, run by `python`; `found` is what it says of itself.

    `overrides` are the command line's, `images` how many there are to train on, `rounds` those of the product rate.
    """

    def __init__(self, python: str, net: str, overrides: list[str], *, images: int, rounds: int):
        packages = (str(Path(vae_jax.__file__).parents[1]), os.environ.get("PYTHONPATH"))
        self._process = subprocess.Popen(
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, packages))},
        )
        self.found = self._ask(net=net, overrides=overrides, images=images, rounds=rounds)

    def run(self, precision: str, task: str, batches: int) -> None:
        """The method `task` of `OurSide`."""
        self._ask(precision=precision, task=task, batches=batches)

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, **request) -> dict:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process of our side broke off"}
        if "error" in answer:
            self.close()
            raise UserError(answer["error"])
        return answer


def main() -> None:
    """What the process does: builds both sides, then runs what it is asked for until nobody asks."""
    use_compilation_cache()
    asked = json.loads(sys.stdin.readline())
    images = images_of(asked["net"], asked["images"])
    try:
        sides = {
            precision: OurSide(prepared(asked["net"], precision, asked["overrides"]), images)
            for precision in PRECISIONS
        }
        losses = first_losses(sides["float32"].config, images)
    except UserError as error:
        _answer({"error": str(error)})
        return
    products = {precision: product_rate(jnp.dtype(precision), rounds=asked["rounds"]) for precision in PRECISIONS}
    _answer(
        {
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
            "losses": losses,
            "flops_per_image": sides["float32"].flops_per_image(),
            "product_flops_per_second": products,
        }
    )
    for line in sys.stdin:
        asked = json.loads(line)
        getattr(sides[asked["precision"]], asked["task"])(asked["batches"])
        _answer({})


def _answer(answer: dict) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

"""The line to beat: what PCA with Z components, fitted on the training split of a config, leaves on its test split.

python tests/benchmarks/pca.py --config=configs/celeba_ae.py [--components=20,128] [--variance=0.05] [--within=62x62]
    [--json=PATH] [--config.data.dir=...]

The mean squared error of a pixel, as `mse` is in an evaluation. A linear autoencoder of Z dimensions cannot do better.
With --variance, that of a Gaussian likelihood times β, the error is what the best linear VAE leaves, and the table goes
on with that VAE's ELBO in nats an example: compare it with a net's where β is 1. --run=RUN instead of --config takes
the data of that run, and says what its net leaves of the same pictures. --within takes of all pictures the part at the
top left alone, for nets that can't paint the rest: they still see it.
"""

import argparse
import contextlib
import dataclasses
import math
import re
import sys
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from throughput import parse, show

from vae_jax import load
from vae_jax.config import differences, load_file, override, resolve
from vae_jax.data.content import read_all
from vae_jax.data.source import Source
from vae_jax.errors import UserError
from vae_jax.evaluation.evaluate import held_out
from vae_jax.run import Record, open_data, read_record
from vae_jax.validation import get_field

COMPONENTS = (10, 20, 32, 50, 64, 100, 128, 200, 256, 512, 1024)


def examples(source: Source) -> np.ndarray:
    """All examples of a split, images in [0, 1]: [N, H, W, C] or [N, D], float32."""
    images = read_all(source)["image"]
    scale = 255 if images.dtype == np.uint8 else 1
    return (images / np.float32(scale)).astype(np.float32, copy=False)


def flat(images: np.ndarray, within: tuple[int, int] | None = None) -> np.ndarray:
    """[N, H, W, C] or [N, D] as [N, D]; of images only the first rows and columns, where `within` is their (H, W)."""
    if within:
        images = images[:, : within[0], : within[1]]
    return images.reshape(len(images), -1)


@dataclasses.dataclass(frozen=True)
class Components:
    """The principal components of training examples [N, D], and how far test examples reach along each."""

    variances: np.ndarray  # [K], of the training examples along each component, the largest first
    squares: np.ndarray  # [K], the mean squares of the test examples' coordinates
    total: float  # the mean squared distance of the test examples from the training examples' mean
    dimensions: int  # D


def principal_components(train: np.ndarray, test: np.ndarray) -> Components:
    """All components of train [N, D], and the mean squares of test [M, D] along them.

    They are eigenvectors of the smaller of the two Gram matrices of the centred examples (Jolliffe, 2002, section 3.5),
    so pictures of any size take N² numbers.
    """
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    train, test = train - mean, test - mean
    examples, dimensions = train.shape
    gram = train @ train.T if examples < dimensions else train.T @ train
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    values, vectors = values[::-1], vectors[:, ::-1]  # the largest first
    if examples < dimensions:  # the component of u is uᵀX/√λ
        real = values > 1e-9 * values[0]
        values = values[real]
        coordinates = (test @ train.T) @ (vectors[:, real] / np.sqrt(values))  # [M, components]
    else:
        coordinates = test @ vectors
    total = float(np.square(test).sum(axis=1, dtype=np.float64).mean())
    return Components(values / examples, np.square(coordinates).mean(axis=0), total, dimensions)


def errors(found: Components, *, variance: float = 0.0) -> np.ndarray:
    """The mean squared error on the test examples with 0, 1, 2, ... components: [K + 1].

    With a `variance` it is what the mean of the posterior comes back as from the best linear VAE, which is
    probabilistic PCA of that noise (Lucas et al., 2019): a component of the variance λ is shrunk by 1 − variance/λ, and
    left out where that is negative (Tipping & Bishop, 1999, section 3.3).
    """
    explained = (1 - _noise_share(found, variance) ** 2) * found.squares
    return (found.total - _sums(explained)) / found.dimensions


def elbos(found: Components, *, variance: float) -> np.ndarray:
    """The ELBO, in nats an example, of the best linear VAE of 0, 1, 2, ... dimensions at β = 1: [K + 1].

    Its posterior is the exact one, so it is the log-likelihood of probabilistic PCA: a Gaussian of the variance λ along
    a component that is kept, and of `variance` along all other directions (Lucas et al., 2019; Tipping & Bishop, 1999).
    """
    share = _noise_share(found, variance)
    gained = 0.5 * (np.log(share) + (1 - share) * found.squares / variance)
    return _sums(gained) - 0.5 * (found.dimensions * math.log(2 * math.pi * variance) + found.total / variance)


def _noise_share(found: Components, variance: float) -> np.ndarray:
    """How much of the variance of each component is noise, min(variance/λ, 1): [K]."""
    return np.minimum(variance / np.maximum(found.variances, np.finfo(np.float64).tiny), 1)


def _sums(of_each: np.ndarray) -> np.ndarray:
    """Over the first 0, 1, 2, ... of them: [K] -> [K + 1]."""
    return np.concatenate([[0.0], np.cumsum(of_each)])


def main() -> None:
    """Prints the errors, and with --variance the ELBOs, as a table; writes it to --json=PATH if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    of = parser.add_mutually_exclusive_group(required=True)
    of.add_argument("--config")
    of.add_argument("--run", type=Path, help="a run folder, whose net reconstructs the test split too")
    parser.add_argument(
        "--components", type=_counts, help=f"numbers of them, as 20,128; default: those there are of {COMPONENTS}"
    )
    parser.add_argument("--variance", type=_variance, default=0.0, help="of the likelihood times β, for the linear VAE")
    parser.add_argument("--within", type=_size, metavar="HxW", help="rows and columns, from the top left")
    arguments, overrides = parse(parser)
    try:
        config = load_file(arguments.config) if arguments.config else _recorded(arguments.run).config
        override(config, overrides)
        splits = open_data(config)
        _check(config, arguments.run)
        train, test = examples(splits["train"]), examples(splits["test"])
        _check_within(arguments.within, test.shape[1:])
        own = {}
        if arguments.run:
            left = test - load(arguments.run).reconstruct(test, splits["test"].columns.get("cond"))
            own["mse_of_the_run"] = float(np.square(flat(left, arguments.within)).mean())
    except UserError as error:
        sys.exit(str(error))
    found = principal_components(flat(train, arguments.within), flat(test, arguments.within))
    most = len(found.variances)
    if arguments.components and max(arguments.components) > most:
        sys.exit(f"--components has {max(arguments.components)}; these pictures have {most} components.")
    counts = arguments.components or [count for count in COMPONENTS if count <= most]
    lines = {"mse": errors(found, variance=arguments.variance)}
    if arguments.variance:
        lines["elbo"] = elbos(found, variance=arguments.variance)
    table = {f"{name}_of_{count}_components": float(line[count]) for name, line in lines.items() for count in counts}
    sizes = {f"{name}_examples": len(splits[name]) for name in ("train", "test")}
    show(
        {"shape": splits["train"].features.shape, **sizes, "mse_of_the_mean": float(lines["mse"][0]), **table, **own},
        arguments.json,
    )


def _recorded(workdir: Path) -> Record:
    record = read_record(workdir)
    if record is None:
        raise UserError(f"--run is {str(workdir)!r}, which holds no run (no config.json).")
    return record


def _check(config: ConfigDict, workdir: Path | None) -> None:
    """UserError where the line is none: for other pictures than these, or for those that it was fitted to."""
    if not held_out(config, "test"):
        raise UserError(f"data.train_on is {config.data.train_on!r}, so nothing is held out; set it to 'train'.")
    for field in ("data.corrupt.kind", "data.binarization"):
        if (value := get_field(config, field)) != "none":
            raise UserError(
                f"{field} is {value!r}; the line is for nets that see pictures as they are: set it to 'none'."
            )
    if workdir is None:
        return
    saved = _recorded(workdir).config
    if saved.model.target:
        raise UserError(f"--run is {str(workdir)!r}, a classifier, which reconstructs nothing; name a VAE's run.")
    resolve(saved)
    if changed := differences(config, saved):
        raise UserError(f"--run is {str(workdir)!r}, whose net was trained on other terms ({changed[0]}); leave them.")


def _size(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"\d+x\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write HxW, as 62x62")
    height, width = map(int, text.split("x"))
    return height, width


def _counts(text: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"{text!r} are no numbers of components; write them as 20,128")
    return [int(count) for count in text.split(",")]


def _variance(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no variance; it must be a number, 0 or more")


def _check_within(within: tuple[int, int] | None, shape: tuple[int, ...]) -> None:
    if within and not (len(shape) == 3 and 1 <= within[0] <= shape[0] and 1 <= within[1] <= shape[1]):
        raise UserError(f"--within is {within[0]}x{within[1]}; it must lie in the examples, which are {shape}.")


if __name__ == "__main__":
    main()

"""A grid of config overrides: one run of each, on this machine or as a Slurm array, and one page that compares them.

python launch/sweep.py --config=configs/digits.py --workdir=runs/sweep --grid model.latent=4,8 --grid objective.kl=1,4
    --jobs=2                        on this machine, two at a time
    --slurm="--gpus-per-node=1"     as an array of launch/slurm.sbatch with these options of sbatch, then the page
    --compare                       the page alone, of what is there
What else is given goes to each run as it is. The same command goes on with what was not finished.
"""

import argparse
import itertools
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vae_jax.report.comparison import write_comparison

SBATCH = Path(__file__).parent / "slurm.sbatch"


def main() -> None:
    """Runs the grid of the command line; exit code 1 where a run failed."""
    arguments, rest = _parser().parse_known_args()
    runs = grid(arguments.grid)
    if arguments.compare:
        print(f"Comparison: {compare(arguments.workdir, runs)}")
    elif arguments.slurm is not None:
        submit(arguments, runs, rest)
    else:
        codes = run_here(arguments, runs, rest)
        print(f"Comparison: {compare(arguments.workdir, runs)}")
        sys.exit(int(any(codes)))


def grid(fields: list[str]) -> dict[str, dict[str, str]]:
    """The fields and values of each run, by its name, from "field=value,value" for each field.

    A comma within brackets parts nothing: data.image_size=(32,32),(64,64).
    """
    axes = {}
    for text in fields:
        field, equals, values = text.partition("=")
        if not equals or not values:
            sys.exit(f"--grid is {text!r}; it must be FIELD=VALUE,VALUE, as model.latent=4,8.")
        axes[field] = _parted(values)
    combined = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return {",".join(f"{field}={value}" for field, value in run.items()): run for run in combined}


def commands(arguments: argparse.Namespace, runs: dict[str, dict[str, str]], rest: list[str]) -> list[list[str]]:
    """What vae_jax.main is told for each run."""
    return [
        [
            f"--config={arguments.config}",
            f"--workdir={arguments.workdir / name}",
            *(f"--config.{field}={value}" for field, value in run.items()),
            *rest,
        ]
        for name, run in runs.items()
    ]


def run_here(arguments: argparse.Namespace, runs: dict[str, dict[str, str]], rest: list[str]) -> list[int]:
    """Trains `--jobs` runs at a time, each with its output in its folder; the exit codes."""

    def train(name, command):
        folder = arguments.workdir / name
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "a") as log:
            code = subprocess.run([sys.executable, "-m", "vae_jax.main", *command], stdout=log, stderr=log).returncode
        print(f"{name}: {'done' if code == 0 else f'exit code {code}, see {folder}/log.txt'}", flush=True)
        return code

    with ThreadPoolExecutor(arguments.jobs) as queue:
        return list(queue.map(train, runs, commands(arguments, runs, rest)))


def submit(arguments: argparse.Namespace, runs: dict[str, dict[str, str]], rest: list[str]) -> None:
    """Submits the array, a run a task, and after it the page."""
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    listed = arguments.workdir / "runs.txt"
    listed.write_text("".join(shlex.join(command) + "\n" for command in commands(arguments, runs, rest)))
    array = ["sbatch", "--parsable", f"--array=0-{len(runs) - 1}", *shlex.split(arguments.slurm), str(SBATCH)]
    environment = {**os.environ, "SWEEP": str(listed.resolve()), "PYTHON": sys.executable}
    job = subprocess.run(array, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout.strip()
    again = shlex.join([sys.executable, *sys.argv, "--compare"])
    page = ["sbatch", "--ntasks=1", f"--dependency=afterany:{job}", f"--output={arguments.workdir}/page.log"]
    subprocess.run([*page, f"--wrap={again}"], check=True)


def compare(workdir: Path, runs: dict[str, dict[str, str]]) -> Path:
    """Writes workdir/report/index.html, of the runs that are there."""
    there = {name: run for name, run in runs.items() if (workdir / name / "config.json").exists()}
    if not there:
        sys.exit(f"{workdir} holds none of the {len(runs)} runs; see the log.txt of each.")
    return write_comparison(workdir, there, name=workdir.name, in_one_program=False)


def _parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--workdir", type=Path, required=True, help="each run gets a folder in it")
    parser.add_argument("--grid", action="append", required=True, metavar="FIELD=VALUE,VALUE")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--slurm", metavar="OPTIONS", help="options of sbatch in one word, or an empty one")
    parser.add_argument("--compare", action="store_true")
    return parser


def _parted(values: str) -> list[str]:
    """Splits at the commas that stand in no brackets."""
    parts, depth = [""], 0
    for character in values:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


if __name__ == "__main__":
    main()

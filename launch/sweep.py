"""A grid of config overrides: one run of each, on this machine or as a Slurm array, and one page that compares them.

python launch/sweep.py --config=configs/digits.py --workdir=runs/sweep --grid model.latent=4,8 --grid objective.kl=1,4
    --jobs=2                        on this machine, two at a time
    --slurm="--gpus-per-node=1"     as an array of launch/slurm.sbatch with these options of sbatch, then the page
    --compare                       the page alone, of what is there
What else is given goes to each run as it is. The same command goes on with what was not finished. A mistake in any run
ends the command before the first one starts; Ctrl-C and SIGTERM stop the runs under way, which save.
"""

import argparse
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import flags

from vae_jax.config import load_file, override, resolve
from vae_jax.errors import StoppedError, UserError
from vae_jax.flags import FLAGS, check_mode
from vae_jax.report.comparison import write_comparison

SBATCH = Path(__file__).parent / "slurm.sbatch"
SECONDS_BETWEEN_LOOKS = 0.2  # at whether a run has ended, or is to stop


def main() -> None:
    """Runs the grid of the command line; exit code 1 where a run failed, 2 and one sentence for a user's mistake."""
    arguments, rest = _parser().parse_known_args()
    try:
        sys.exit(_sweep(arguments, rest))
    except (UserError, StoppedError) as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def _sweep(arguments: argparse.Namespace, rest: list[str]) -> int:
    runs = grid(arguments.grid)
    codes = []
    if not arguments.compare:
        check(arguments, runs, rest)
        if arguments.slurm is not None:
            submit(arguments, runs, rest)
            return 0
        codes = run_here(arguments, runs, rest)
    print(f"Comparison: {compare(arguments.workdir, runs)}")
    return int(any(codes))


def grid(fields: list[str]) -> dict[str, dict[str, str]]:
    """The fields and values of each run, by its name, from "field=value,value" for each field.

    A comma within brackets parts nothing: data.image_size=(32,32),(64,64).
    """
    axes = {}
    for text in fields:
        field, _, values = text.partition("=")
        parted = _parted(values)
        if not field or "" in parted:
            raise UserError(f"--grid is {text!r}; it must be FIELD=VALUE,VALUE, as model.latent=4,8.")
        if field in axes or len(set(parted)) < len(parted):
            raise UserError(f"--grid is {text!r}; each field, and each of its values, must be given once.")
        if "/" in values:
            raise UserError(f"--grid is {text!r}; its values name the run folders, so they must have no '/'.")
        axes[field] = parted
    combined = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return {",".join(f"{field}={value}" for field, value in run.items()): run for run in combined}


def check(arguments: argparse.Namespace, runs: dict[str, dict[str, str]], rest: list[str]) -> None:
    """Raises UserError for what a run could not begin with; makes the folder of all, and nothing else."""
    if arguments.jobs < 1:
        raise UserError(f"--jobs is {arguments.jobs}; it must be 1 or more.")
    if (arguments.workdir / "config.json").exists():
        raise UserError(f"--workdir is {str(arguments.workdir)!r}, which holds a run; name a folder for many.")
    for command in commands(arguments, runs, rest):
        overrides = [argument for argument in command if argument.startswith("--config.")]
        try:
            others = FLAGS([sys.argv[0], *[argument for argument in command if argument not in overrides]])[1:]
        except flags.Error as error:
            raise UserError(str(error)) from error
        if others:
            raise UserError(f"{others[0]!r} is not understood; arguments are written --name=value.")
        check_mode()
        config = load_file(arguments.config)
        override(config, overrides)
        resolve(config)
    try:
        arguments.workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--workdir is {str(arguments.workdir)!r}, where nothing can be written ({error.strerror})."
        ) from error


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
    stopped = threading.Event()

    def train(name, command):
        if stopped.is_set():
            return StoppedError.exit_code
        folder = arguments.workdir / name
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "a") as log:
            # A session of its own, so that a Ctrl-C is passed on once, and not heard twice.
            options = {"stdout": log, "stderr": log, "start_new_session": True}
            with subprocess.Popen([sys.executable, "-m", "vae_jax.main", *command], **options) as process:
                while process.poll() is None:
                    if stopped.wait(SECONDS_BETWEEN_LOOKS):
                        process.send_signal(signal.SIGTERM)
                        break
                code = process.wait()
        print(f"{name}: {'done' if code == 0 else f'exit code {code}, see {folder}/log.txt'}", flush=True)
        return code

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with ThreadPoolExecutor(arguments.jobs) as queue:
        codes = list(queue.map(train, runs, commands(arguments, runs, rest)))
    if stopped.is_set():
        raise StoppedError("Stopped; what was under way is saved. The same command goes on.")
    return codes


def submit(arguments: argparse.Namespace, runs: dict[str, dict[str, str]], rest: list[str]) -> None:
    """Submits the array, a run a task, and after it the page."""
    if not shutil.which("sbatch"):
        raise UserError(
            f"--slurm is {arguments.slurm!r}, but there is no sbatch here; use --jobs, or a machine of Slurm's."
        )
    listed = arguments.workdir / "runs.txt"
    listed.write_text("".join(shlex.join(command) + "\n" for command in commands(arguments, runs, rest)))
    array = ["sbatch", "--parsable", f"--array=0-{len(runs) - 1}", *shlex.split(arguments.slurm), str(SBATCH)]
    environment = {**os.environ, "SWEEP": str(listed.resolve()), "PYTHON": sys.executable}
    submitted = subprocess.run(array, capture_output=True, text=True, env=environment)
    if submitted.returncode:
        raise UserError(f"--slurm is {arguments.slurm!r}, which sbatch refuses: {submitted.stderr.strip()}")
    job = submitted.stdout.strip()
    again = shlex.join([sys.executable, *sys.argv, "--compare"])
    page = [
        "sbatch",
        *shlex.split(arguments.slurm),
        "--nodes=1",
        "--ntasks=1",
        f"--dependency=afterany:{job}",
        f"--output={arguments.workdir}/page.log",
    ]
    subprocess.run([*page, f"--wrap={again}"], check=True)


def compare(workdir: Path, runs: dict[str, dict[str, str]]) -> Path:
    """Writes workdir/report/index.html, of the runs that are there."""
    there = {name: run for name, run in runs.items() if (workdir / name / "config.json").exists()}
    if not there:
        raise UserError(f"--workdir is {str(workdir)!r}, which holds none of the {len(runs)} runs; see their log.txt.")
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

"""The command line: flags in, one call per mode, one sentence for a user's mistake."""

import os
import shlex
import signal
import sys
from pathlib import Path

from absl import flags

from vae_jax.errors import DivergedError, UserError

MODES = ("train", "eval", "sample", "study", "report", "data")
USAGE = """Train, evaluate, sample and report variational autoencoders.

  python -m vae_jax.main --config=configs/digits.py [--workdir=runs/digits] [--config.model.latent=16 ...]
  python -m vae_jax.main --mode=data --config=configs/digits.py    # look at the data before anything is trained
  python -m vae_jax.main --mode=eval|sample|report --workdir=runs/digits [--config.sample.count=100 ...]
  python -m vae_jax.main --mode=study --study=variation,cycle --workdir=runs/digits --input=face.jpg
"""

FLAGS = flags.FLAGS
flags.DEFINE_string("config", None, "A config file, or file.py:argument; without it, the run folder's own config.")
flags.DEFINE_string("workdir", None, "The run folder; default runs/<config name>. A run that is there is resumed.")
flags.DEFINE_enum(
    "mode",
    "train",
    MODES,
    "train: train, then evaluate, sample and report. data: look at what would be trained on. The others do their part.",
)
flags.DEFINE_string("checkpoint", "newest", "What to evaluate or sample: newest, best or a step.")
flags.DEFINE_string("study", None, "Names of studies with commas between, or all; see vae_jax/studies.")
flags.DEFINE_string(
    "input", None, "What studies look at: pictures, a folder, or examples as test:17,42; default test:0-7."
)
flags.DEFINE_string("noise", None, "The arrays.npz of a study, whose noise (and inputs) it is to use again.")
flags.DEFINE_enum("align", None, ("face",), "face: frame the largest face of each --input picture as CelebA does.")
flags.DEFINE_enum("split", "test", ("train", "validation", "test"), "What to evaluate on.")


def main() -> None:
    """Runs the command of sys.argv: exit code 0, 2 for a user's mistake, 1 for a training that diverged."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(f"{USAGE}\n{FLAGS.main_module_help()}")
        return
    overrides = [argument for argument in sys.argv[1:] if argument.startswith("--config.")]
    try:
        rest = FLAGS([sys.argv[0], *[a for a in sys.argv[1:] if a not in overrides]])
        if rest[1:]:
            raise UserError(f"{rest[1]!r} is not understood; arguments are written --name=value.")
        _run(overrides)
    except flags.Error as error:
        sys.exit(_fail(f"{error} (--help lists the flags)", 2))
    except UserError as error:
        sys.exit(_fail(str(error), 2))
    except DivergedError as error:
        sys.exit(_fail(str(error), 1))
    except KeyboardInterrupt:  # outside training, which saves and ends by itself
        sys.exit(_fail("interrupted", 130))


def _run(overrides: list[str]) -> None:
    # Imported here, so that a mistyped flag is told at once.
    from vae_jax import commands, config

    command = shlex.join(["python", "-m", "vae_jax.main", *sys.argv[1:]])
    if FLAGS.config is None:
        if FLAGS.workdir is None:
            raise UserError("Name a config file with --config, or a run folder with --workdir (--help says more).")
        record = commands.saved_record(Path(FLAGS.workdir))
        name, experiment = record.name, record.config
    else:
        name, experiment = config.name_of(FLAGS.config), config.load_file(FLAGS.config)
    config.override(experiment, overrides)
    workdir = Path(FLAGS.workdir or os.path.join("runs", name))
    if FLAGS.mode == "train":
        commands.train(workdir, name, experiment, command=command)
    elif FLAGS.mode == "eval":
        commands.evaluate(workdir, experiment, split=FLAGS.split, checkpoint=FLAGS.checkpoint)
    elif FLAGS.mode == "sample":
        commands.sample(workdir, experiment, checkpoint=FLAGS.checkpoint)
    elif FLAGS.mode == "study":
        asked = commands.Asked(FLAGS.study, FLAGS.input, FLAGS.noise, FLAGS.align == "face")
        commands.study(workdir, experiment, asked, checkpoint=FLAGS.checkpoint, command=command)
    elif FLAGS.mode == "data":
        commands.data(workdir, name, experiment)
    else:
        commands.report(workdir)


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half made is taken away
    main()

"""The command line: flags in, one call per mode, one sentence for a user's mistake."""

import os
import shlex
import signal
import sys
from pathlib import Path

from absl import flags

from vae_jax.errors import DivergedError, UserError
from vae_jax.flags import FLAGS, USAGE


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
    elif FLAGS.mode == "import":
        commands.import_(workdir, name, experiment, FLAGS.weights, partial=FLAGS.partial, command=command)
    elif FLAGS.mode == "export":
        commands.export(workdir, kind=FLAGS.format, checkpoint=FLAGS.checkpoint)
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

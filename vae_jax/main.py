"""The command line: flags in, one call per mode, one sentence for a user's mistake."""

import os
import shlex
import signal
import sys
from pathlib import Path

from absl import flags

from vae_jax import cluster
from vae_jax.errors import DivergedError, StoppedError, UserError
from vae_jax.flags import FLAGS, USAGE, check_mode


def main() -> None:
    """Runs the command of sys.argv; the exit code is 0, that of the error, 130 for Ctrl-C or 1."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(USAGE, FLAGS.module_help("vae_jax.flags"), sep="\n")
        return
    overrides = [argument for argument in sys.argv[1:] if argument.startswith("--config.")]
    try:
        rest = FLAGS([sys.argv[0], *[a for a in sys.argv[1:] if a not in overrides]])
        if rest[1:]:
            raise UserError(f"{rest[1]!r} is not understood; arguments are written --name=value.")
        check_mode()
        _run(overrides)
    except flags.Error as error:
        _end(f"{error} (--help lists the flags)", UserError.exit_code)
    except (UserError, DivergedError, StoppedError) as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:  # outside training, which saves and ends by itself
        _end("interrupted", 130)
    except Exception:
        cluster.fail()
        raise


def _run(overrides: list[str]) -> None:
    cluster.meet(FLAGS.mode)
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
    cluster.wait_for_all("the end")  # of the first one's report


def _end(message: str, code: int) -> None:
    print(f"{cluster.called()}{message}", file=sys.stderr)
    cluster.part(code)
    sys.exit(code)


if __name__ == "__main__":
    # Outside training, which saves; an exit, so that what is half made is taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(os.EX_TEMPFAIL))
    main()

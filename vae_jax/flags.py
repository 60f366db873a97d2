"""The flags of the command line."""

from absl import flags

from vae_jax.errors import UserError

MODES = ("train", "eval", "sample", "study", "report", "data", "import", "export")
# Flags that only some modes have; elsewhere they would do nothing.
OF_MODES = {
    "checkpoint": ("eval", "sample", "study", "export"),
    "split": ("eval",),
    "study": ("study",),
    "input": ("study",),
    "noise": ("study",),
    "align": ("study",),
    "weights": ("import",),
    "partial": ("import",),
    "format": ("export",),
}
USAGE = """Train, evaluate, sample and report variational autoencoders.

  python -m vae_jax.main --config=configs/digits.py [--workdir=runs/digits] [--config.model.latent=16 ...]
  python -m vae_jax.main --mode=data --config=configs/digits.py    # look at the data before anything is trained
  python -m vae_jax.main --mode=eval|sample|report --workdir=runs/digits [--config.sample.count=100 ...]
  python -m vae_jax.main --mode=study --study=variation,cycle --workdir=runs/digits --input=face.jpg
  python -m vae_jax.main --mode=import --config=configs/pretrained/beta_vae.py --weights=l32.pt --workdir=runs/l32
  python -m vae_jax.main --mode=export --format=safetensors|torch|stablehlo --workdir=runs/digits
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
flags.DEFINE_string("noise", None, "The arrays.npz of a study, whose noise, seed and inputs it is to use again.")
flags.DEFINE_enum("align", None, ("face",), "face: frame the largest face of each --input picture as CelebA does.")
flags.DEFINE_enum("split", "test", ("train", "validation", "test"), "What to evaluate on.")
flags.DEFINE_list(
    "weights", [], "The file to import, or PREFIX=FILE,PREFIX=FILE of parts, as encoder=e.pt,decoder=d.pt."
)
flags.DEFINE_bool("partial", False, "Import what fits, and leave the rest as it is initialised.")
flags.DEFINE_string("format", "safetensors", "What to export as: safetensors, torch or stablehlo.")
flags.DEFINE_bool("multihost", False, "This is one of several processes that make one run: see launch/README.md.")
flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, where no Slurm, Kubernetes or Cloud TPU tells.")
flags.DEFINE_integer(
    "processes", None, "How many processes there are; where that is told, too, they must agree.", lower_bound=1
)
flags.DEFINE_integer("process_id", None, "Which of them this is, from 0 on.", lower_bound=0)


def check_mode() -> None:
    """Raises UserError where a flag is given that the mode does not have."""
    for name, modes in OF_MODES.items():
        if FLAGS[name].present and FLAGS.mode not in modes:
            raise UserError(f"--{name} is of --mode={' and --mode='.join(modes)}; the mode here is {FLAGS.mode!r}.")

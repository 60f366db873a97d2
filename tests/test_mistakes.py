"""A user's mistake ends in one sentence that names the field and the value, and exit code 2, before compilation."""

import gzip
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags

from vae_jax import main
from vae_jax.config import load_file
from vae_jax.disk import locked
from vae_jax.run import open_run, write_config

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "configs" / "digits.py"

compilations = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, duration, **_: compilations.append(event) if "backend_compile" in event else None
)


@pytest.fixture
def mistake(monkeypatch, capfd, tmp_path):
    """Runs the command line in `tmp_path` and returns its one sentence, having checked all but what it says."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["main.py", *map(str, arguments)])
        before = sorted(tmp_path.rglob("*"))
        compilations.clear()
        flags.FLAGS.unparse_flags()
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capfd.readouterr()
        assert ended.value.code == 2, said.err
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        assert "Traceback" not in said.err
        assert compilations == []
        after = sorted(p for p in tmp_path.rglob("*") if "__pycache__" not in p.parts)
        assert after == before, "something was left behind"
        return said.err

    yield run
    flags.FLAGS.unparse_flags()


@pytest.fixture
def file(tmp_path):
    """Writes a config file whose get_config changes the defaults by the given lines."""

    def write(*lines):
        path = tmp_path / "mine.py"
        body = ["config = default_config()", *lines, "return config"]
        path.write_text(
            "from vae_jax.config import default_config\n\n\ndef get_config():\n"
            + "".join(f"    {line}\n" for line in body)
        )
        return f"--config={path}"

    return write


def test_compilations_are_noticed():
    compilations.clear()
    jax.jit(lambda x: x + np.random.default_rng().integers(1000))(1)
    assert compilations


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("modle.latent=3", ["no config field modle;", "did you mean model?"]),
        ("model.latnet=3", ["model.latnet", "did you mean model.latent?"]),
        ("sead=3", ["sead", "did you mean seed?"]),
        ("model.encoder.chanels=(3,)", ["model.encoder.chanels", "did you mean model.encoder.channels?"]),
        ("model=3", ["model", "group"]),
        ("model.latent", ["--config.model.latent=VALUE"]),
        ("model.latent=many", ["model.latent", "'many'", "an integer"]),
        ("model.latent=2.5", ["model.latent", "'2.5'", "an integer"]),
        ("objective.kl=lots", ["objective.kl", "'lots'", "a number"]),
        ("eval.ema=maybe", ["eval.ema", "'maybe'", "true or false"]),
        ("data.image_size=8", ["data.image_size", "'8'", "a tuple"]),
        ("train.steps=ten", ["train.steps", "'ten'", "an integer"]),
        ("objective.kl=-1", ["objective.kl", "-1", "0 or more"]),
        ("objective.kl=1e999", ["objective.kl", "inf"]),
        ("objective.kl=nan", ["objective.kl", "nan"]),
        ("objective.perceptual=1", ["perceptual.weights", "--config.perceptual.weights=FILE", "download.pytorch.org"]),
        ("perceptual.weights=no.npz", ["perceptual.weights is 'no.npz'", "No such file", "download.pytorch.org"]),
        ("perceptual.weights=no.h5", ["perceptual.weights is 'no.h5'", ".safetensors"]),
        ("perceptual.layers=('relu9',)", ["perceptual.layers", "relu9", "relu1_1"]),
        ("model.cond=Smiling", ["model.cond", "'Smiling'", "a tuple"]),
        ("model.target=('labels',)", ["model.target", "'labels'", "did you mean 'label'?"]),
        ("model.latent=0", ["model.latent", "0", "1 or more"]),
        ("model.latent=-2", ["model.latent", "-2"]),
        ("model.variance=0", ["model.variance", "0"]),
        ("model.variance=1e999", ["model.variance", "inf"]),
        ("optimizer.learning_rate=0", ["optimizer.learning_rate", "more than 0"]),
        ("optimizer.learning_rate=nan", ["optimizer.learning_rate", "nan"]),
        ("optimizer.ema=1", ["optimizer.ema", "1", "below 1"]),
        ("optimizer.name=adan", ["optimizer.name", "'adan'", "adam"]),
        ("optimizer.weight_decay=0.1", ["optimizer.weight_decay", "adamw"]),
        ("model.posterior=point", ["objective.kl", "point"]),
        ("model.likelihood=poisson", ["model.likelihood", "'poisson'", "bernoulli"]),
        ("data.source=digit", ["data.source", "'digit'", "did you mean 'digits'?"]),
        ("data.crop=middle", ["data.crop", "'middle'", "center"]),
        ("data.image_size=(8,-8)", ["data.image_size", "(8, -8)"]),
        ("data.binarization=sometimes", ["data.binarization", "'sometimes'", "dynamic"]),
        ("data.dequantize=true", ["data.dequantize", "float32"]),
        ("data.corrupt.kind=blur", ["data.corrupt.kind", "'blur'", "patches"]),
        ("data.corrupt.amount=-1", ["data.corrupt.amount", "-1", "0 or more"]),
        ("data.corrupt.weight=2", ["data.corrupt.weight", "2", "'none'"]),
        ("data.delivery=mail", ["data.delivery", "'mail'", "host"]),
        ("data.balance=labels", ["data.balance", "'labels'", "did you mean 'label'?"]),
        ("data.mix=('digits=1','idx=1')", ["data.mix", "data.source='digits'", "only data.source='mix'"]),
        ("data.source=mix", ["data.mix", "()", "two or more"]),
        ("data.test_fraction=1.5", ["data.test_fraction", "1.5"]),
        ("train.batch_size=4000", ["train.batch_size", "4000", "1294"]),
        ("train.batch_size=0", ["train.batch_size", "0"]),
        ("train.eval_every=12", ["train.eval_every", "12", "train.steps_per_call (8)"]),
        ("train.checkpoint_every=12", ["train.checkpoint_every", "12", "train.steps_per_call (8)"]),
        ("train.steps=100", ["train.steps", "100", "train.steps_per_call (8)"]),
        ("train.log_every=3", ["train.log_every", "3", "train.steps_per_call (8)"]),
        ("mesh.devices=9", ["mesh.devices", "9", "8"]),
        ("mesh.devices=-1", ["mesh.devices", "-1", "8"]),
        ("train.batch_size=20", ["train.batch_size", "20", "8 devices"]),
        ("eval.batch_size=20", ["eval.batch_size", "20", "8 devices"]),
        ("seed=-1", ["seed", "-1"]),
        ("seed=99999999999999999999", ["seed", "99999999999999999999"]),
        ("data.seed=99999999999999999999", ["data.seed", "99999999999999999999"]),
        ("profile=10", ["profile", "'10'", "START:STOP"]),
        ("profile=20:10", ["profile", "'20:10'", "START below STOP"]),
        ("profile=10:99999", ["profile", "'10:99999'", "steps of the run"]),
        ("dtype=float16", ["dtype", "'float16'", "bfloat16"]),
        ("train.replicas=3", ["train.replicas", "group"]),
        ("train.replicas.kl=4", ["train.replicas.kl", "'4'", "a tuple"]),
        ("train.replicas.kl=(1,-2)", ["train.replicas, kl=-2.0", "objective.kl is -2.0", "0 or more"]),
        ("train.replicas.kl=(1,'a')", ["train.replicas.kl", "(1, 'a')", "numbers"]),
        ("train.replicas.seed=(1,1.5)", ["train.replicas.seed", "(1, 1.5)", "integers"]),
        ("train.replicas.seed=(1,-1)", ["train.replicas, seed=-1", "seed is -1"]),
        ("train.replicas.seed=(1,2,1)", ["train.replicas", "seed=1 twice"]),
        ("train.replicas.beta=(1,2)", ["train.replicas.beta", "kl"]),
        ("train.replica_axis=pmap", ["train.replica_axis", "'pmap'", "vmap"]),
        ("model.encoder.kernel=0", ["model.encoder.kernel", "0"]),
        ("model.encoder.kernel=(3,3,3)", ["model.encoder.kernel", "3 entries", "2 channels"]),
        ("model.encoder.family=cnn", ["family", "'cnn'", "conv"]),
        ("model.decoder.family=mlp", ["model.decoder.family", "'mlp'", "'conv'"]),
    ],
)
def test_a_wrong_override(mistake, argument, words):
    said = mistake(f"--config={DIGITS}", f"--config.{argument}", "--config.eval.importance_samples=0")
    assert [word for word in words if word not in said] == [], said


def test_a_mix_reads_no_folder_of_its_own(mistake):
    arguments = ["data.source=mix", "data.dir=faces", "data.mix=('digits=1','gmm=1')"]
    said = mistake(f"--config={DIGITS}", *(f"--config.{argument}" for argument in arguments))
    assert "data.dir is 'faces' with data.source='mix'" in said


def test_replicas_need_a_value_each_in_every_tuple(mistake):
    arguments = ["train.replicas.kl=(1,2)", "train.replicas.seed=(1,2,3)"]
    said = mistake(f"--config={DIGITS}", *(f"--config.{argument}" for argument in arguments))
    assert "train.replicas.seed has 3, train.replicas.kl has 2 values" in said


def test_a_mistake_of_the_whole_config_is_not_laid_on_a_replica(mistake):
    arguments = ["train.replicas.kl=(1,2)", "optimizer.name=adamm"]
    said = mistake(f"--config={DIGITS}", *(f"--config.{argument}" for argument in arguments))
    assert said.startswith("optimizer.name is 'adamm'")


def test_replicas_of_an_autoencoder_have_no_kl(mistake, file):
    said = mistake(
        file("config.model.posterior = 'point'", "config.objective.kl = 0.0", "config.train.replicas.kl = (0, 1)")
    )
    assert "train.replicas, kl=1.0: objective.kl is 1.0 with model.posterior='point'" in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config.model.lattent = 3", ["model.lattent", "did you mean model.latent?"]),
        ("config.modle = dict(latent=3)", ["modle", "did you mean model?"]),
        ("config.model.latent = '3'", ["'latent'", "<class 'int'>"]),
        ("config.seed = None", ["seed", "None", "an integer"]),
        ("config.objective.kl = float('nan')", ["objective.kl", "nan"]),
        ("config.model.encoder = dict(family='conv', kernel='a')", ["model.encoder.kernel", "'a'"]),
        ("config.model.encoder = dict(family='conv', norm='btch')", ["model.encoder.norm", "'btch'", "batch"]),
        ("config.model.encoder = dict(family='conv', channels=8)", ["model.encoder.channels", "8", "(32, 64)"]),
        ("config.model.encoder = dict(family='conv', channels=())", ["model.encoder.channels", "()"]),
        ("config.model.encoder = dict(family='conv', channels=(8, 0))", ["model.encoder.channels", "(8, 0)"]),
        ("config.model.encoder = dict(family='conv', padding='sam')", ["model.encoder.padding", "'sam'", "'same'"]),
        ("config.model.encoder = dict(family='conv', padding=-1)", ["model.encoder.padding", "-1"]),
        ("config.model.encoder = dict(family='conv', stride=1.5)", ["model.encoder.stride", "1.5"]),
        ("config.model.encoder = dict(family='conv', chanels=(8,))", ["model.encoder.chanels", "channels?"]),
        ("config.model.encoder = dict(family='conv', activation='rleu')", ["model.encoder.activation", "'rleu'"]),
        ("config.model.encoder = dict(family='upsampling')", ["model.encoder.family", "'upsampling'", "decoders only"]),
        ("config.model.encoder = dict(family='resnet', blocks=0)", ["model.encoder.blocks", "0", "1 or more"]),
        ("config.model.encoder = dict(family='resnet', attention=-1)", ["model.encoder.attention", "-1", "0 or more"]),
        ("config.data.train_on = 'test'", ["data.train_on", "'test'", "train, all"]),
        ("config.model.encoder = dict(family='mlp', widths=(8.0,))", ["model.encoder.widths", "(8.0,)"]),
        ("config.model.encoder = dict(family='mlp', widths=512)", ["model.encoder.widths", "512"]),
        ("config.model.encoder = dict(channels=(8,))", ["model.encoder", "family"]),
        ("config.model.encoder = 'conv'", ["conv"]),
        ("config.model.decoder = dict(family='mlp', mirror=True, wdths=(8,))", ["model.decoder.wdths", "widths?"]),
        (
            "config.model.update(encoder=dict(family='conv', channels=(4, 4, 4), padding=0), "
            "decoder=dict(family='conv', mirror=True))",
            ["model.encoder", "8×8", "convolution 2", "3×3"],
        ),
        ("config.model.decoder = dict(family='conv', channels=(4,) * 9, padding=0)", ["model.decoder", "8×8"]),
        ("config.mesh.devices = 2.5", ["2.5"]),
        ("raise ValueError('not today')", ["--config=", "ValueError: not today"]),
        ("return 3", ["--config=", "ConfigDict", "int"]),
    ],
)
def test_a_wrong_config_file(mistake, file, line, words):
    said = mistake(file(line))
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("lines", "density"),
    [
        (["config.model.likelihood = 'bernoulli'"], False),
        (["config.model.posterior = 'point'", "config.objective.kl = 0.0"], False),
        (["config.data.binarization = 'dynamic'"], False),
        (["config.data.binarization = 'dynamic'", "config.model.likelihood = 'bernoulli'"], True),
        (["config.model.likelihood = 'laplace'"], True),
    ],
)
def test_an_nll_is_asked_only_of_a_density_of_the_data(mistake, file, tmp_path, lines, density):
    config = file("config.eval.importance_samples = 100", *lines)
    if density:
        assert open_run(tmp_path, "test", load_file(config.removeprefix("--config="))).steps.bound == "elbo"
        return
    said = mistake(config)
    assert "eval.importance_samples is 100" in said
    assert "no density" in said


def test_a_config_file_that_is_missing_or_no_python(mistake, tmp_path):
    assert "'no/such.py'" in mistake("--config=no/such.py")
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    assert "broken.py" in mistake("--config=broken.py")
    (tmp_path / "empty.py").write_text("")
    assert "get_config" in mistake("--config=empty.py")


def test_a_config_file_that_takes_no_argument(mistake):
    assert "digits.py:64" in mistake(f"--config={DIGITS}:64")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--confg=3"], ["confg", "config"]),
        (["--mode=evaluate"], ["mode", "evaluate", "train|eval|sample|study|report"]),
        (["--split=all"], ["split", "all", "test"]),
        (["configs/digits.py"], ["'configs/digits.py'", "--name=value"]),
        ([], ["--config", "--workdir"]),
        (["--mode=eval"], ["--config", "--workdir"]),
    ],
)
def test_a_wrong_flag(mistake, arguments, words):
    said = mistake(*arguments)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("mode", ["train", "eval", "sample", "study", "report"])
def test_a_folder_without_a_run(mistake, tmp_path, mode):
    (tmp_path / "empty").mkdir()
    assert "empty" in mistake(f"--mode={mode}", "--workdir=empty")
    assert "absent" in mistake(f"--mode={mode}", "--workdir=absent")


@pytest.mark.parametrize("mode", ["eval", "sample"])
def test_a_config_given_for_a_folder_without_a_run(mistake, mode):
    assert "absent" in mistake(f"--mode={mode}", "--workdir=absent", f"--config={DIGITS}")


def idx(path, array):
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes())


@pytest.fixture
def idx_folder(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    for split in ("train", "t10k"):
        idx(folder / f"{split}-images-idx3-ubyte.gz", noise)
        idx(folder / f"{split}-labels-idx1-ubyte.gz", np.zeros(200, np.uint8))
    return folder


def test_data_that_are_missing(mistake, file):
    said = mistake(file("config.data.update(source='idx', dir='no/data')"))
    assert "data.dir is 'no/data'" in said


def test_data_that_are_cut_short(mistake, file, idx_folder):
    broken = idx_folder / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:5000])
    said = mistake(file(f"config.data.update(source='idx', dir={str(idx_folder)!r})"))
    assert str(broken) in said


def test_a_batch_larger_than_the_data(mistake, file, idx_folder):
    data = f"config.data.update(source='idx', dir={str(idx_folder)!r})"
    said = mistake(file(data, "config.train.batch_size = 256"))
    assert "train.batch_size is 256" in said
    assert "180" in said, "200 less the tenth that is held out for validation"


@pytest.fixture
def run_folder(tmp_path):
    run = open_run(tmp_path / "run", "digits", load_file(str(DIGITS)))
    write_config(run, "python -m vae_jax.main")
    return run.workdir


@pytest.mark.parametrize("mode", ["train", "eval", "sample"])
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("model.latent=16", ["model.latent: 8 → 16"]),
        ("model.encoder.channels=(32,32)", ["model.encoder.channels: [32, 64] → [32, 32]"]),
        ("seed=3", ["seed: 0 → 3"]),
        ("objective.kl=4", ["objective.kl: 1.0 → 4.0"]),
        ("train.batch_size=128", ["train.batch_size: 64 → 128"]),
        ("optimizer.learning_rate=0.01", ["optimizer.learning_rate: 0.001 → 0.01"]),
    ],
)
def test_a_run_folder_of_another_config(mistake, run_folder, mode, argument, words):
    said = mistake(f"--mode={mode}", f"--config={DIGITS}", f"--workdir={run_folder}", f"--config.{argument}")
    assert [word for word in words if word not in said] == [], said
    assert "--workdir" in said


def test_a_run_folder_of_more_data(mistake, file, idx_folder, tmp_path):
    data = f"config.data.update(source='idx', dir={str(idx_folder)!r})"
    folder = tmp_path / "run"
    write_config(open_run(folder, "mine", load_file(file(data).removeprefix("--config="))), "command")
    for split in ("train", "t10k"):
        idx(idx_folder / f"{split}-images-idx3-ubyte.gz", np.zeros((210, 8, 8), np.uint8))
        idx(idx_folder / f"{split}-labels-idx1-ubyte.gz", np.zeros(210, np.uint8))
    said = mistake(f"--workdir={folder}", "--mode=eval")
    assert "train 180, test 200, validation 20 of 8×8×1 → train 189, test 210, validation 21 of 8×8×1" in said


@pytest.mark.parametrize("checkpoint", ["77", "newest", "best"])
def test_a_checkpoint_of_a_run_that_has_none(mistake, run_folder, checkpoint):
    assert "no checkpoint" in mistake("--mode=eval", f"--workdir={run_folder}", f"--checkpoint={checkpoint}")


def test_a_run_folder_in_which_another_process_trains(mistake, run_folder):
    with locked(run_folder):
        assert "where another process is training" in mistake(f"--config={DIGITS}", f"--workdir={run_folder}")


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    """As a user runs it, without what this file patches."""
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "vae_jax.main",
            f"--config={DIGITS}",
            "--config.model.latnet=3",
            f"--workdir={tmp_path}/x",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == "There is no config field model.latnet; did you mean model.latent?\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "arguments", "words"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4"}, [], ["4 or more processes", "--multihost"]),
        ({"JOB_COMPLETION_INDEX": "1"}, [], ["2 or more processes", "--multihost"]),
        (
            {"TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_NUM_SLICES": "2"},
            [],
            ["4 or more processes", "--multihost"],
        ),
        ({}, ["--processes=2"], ["--processes is 2", "--multihost"]),
        ({}, ["--coordinator=a:1"], ["--coordinator is 'a:1'", "--multihost"]),
        ({}, ["--multihost", "--processes=0"], ["--processes=0", "positive"]),
        ({}, ["--multihost", "--process_id=-1"], ["--process_id=-1", "non-negative"]),
        ({}, ["--multihost", "--processes=2", "--process_id=2"], ["--process_id is 2", "from 0 to 1"]),
        ({}, ["--multihost", "--coordinator=node0"], ["--coordinator is 'node0'", "HOST:PORT"]),
        ({}, ["--multihost", "--coordinator=node0:99999"], ["--coordinator is 'node0:99999'", "HOST:PORT"]),
        ({}, ["--multihost", "--mode=report"], ["--mode is 'report'", "train, eval, sample"]),
    ],
)
def test_processes_that_would_not_be_one_run(mistake, monkeypatch, environment, arguments, words):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = mistake(f"--config={DIGITS}", *arguments)
    assert [word for word in words if word not in said] == [], said


def test_processes_that_cannot_find_each_other(tmp_path):
    """In a process of its own: jax was asked for its devices here."""
    command = [sys.executable, "-m", "vae_jax.main", f"--config={DIGITS}", "--multihost"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 2, found.stderr
    assert found.stderr.count("\n") == 1, found.stderr
    assert "don't find each other" in found.stderr and "--coordinator" in found.stderr

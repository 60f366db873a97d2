"""A wrong value in a config, or a wrong config file, ends in one sentence before compilation."""

import jax
import numpy as np
import pytest

from vae_jax.config import load_file
from vae_jax.run import open_run


def test_compilations_are_noticed(compilations):
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
        ("objective.kl=1e999", ["objective.kl", "inf", "at most 3.4e+38"]),
        ("objective.kl=nan", ["objective.kl", "nan"]),
        ("objective.kl=1e39", ["objective.kl", "1e+39", "at most 3.4e+38"]),
        ("objective.perceptual=1", ["perceptual.weights", "--config.perceptual.weights=FILE", "download.pytorch.org"]),
        ("perceptual.weights=no.npz", ["perceptual.weights is 'no.npz'", "No such file", "download.pytorch.org"]),
        ("perceptual.weights=no.h5", ["perceptual.weights is 'no.h5'", ".safetensors"]),
        ("perceptual.layers=([1],)", ["perceptual.layers", "[1]", "relu1_1"]),
        ("model.cond=(1,)", ["model.cond is 1", "'label'"]),
        ("model.target=(None,)", ["model.target is None", "'label'"]),
        ("perceptual.layers=('relu9',)", ["perceptual.layers", "relu9", "relu1_1"]),
        ("model.cond=Smiling", ["model.cond", "'Smiling'", "a tuple"]),
        ("model.target=('labels',)", ["model.target", "'labels'", "did you mean 'label'?"]),
        ("model.latent=0", ["model.latent", "0", "1 or more"]),
        ("model.latent=-2", ["model.latent", "-2"]),
        ("model.latent=1000000000000", ["GB", "make the model smaller (model.latent"]),
        ("model.variance=0", ["model.variance", "0"]),
        ("model.variance=1e999", ["model.variance", "inf"]),
        ("model.variance=1e-40", ["model.variance", "1e-40", "1.2e-38 to 3.4e+38"]),
        ("optimizer.learning_rate=1e39", ["optimizer.learning_rate", "1.2e-38 to 3.4e+38"]),
        ("optimizer.learning_rate=0", ["optimizer.learning_rate", "more than 0"]),
        ("optimizer.learning_rate=True", ["optimizer.learning_rate", "'True'", "a number"]),
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
        ("objective.reconstruction=0", ["objective.reconstruction", "0.0", "objective.perceptual=0.0"]),
        ("optimizer.accumulate=100000", ["optimizer.accumulate", "100000", "steps of the run"]),
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
        ("sample.count=1000000", ["sample.count is 1000000", "at most 10,000", "--study=sample"]),
        ("model.encoder.kernel=0", ["model.encoder.kernel", "0"]),
        ("model.encoder.kernel=(3,3,3)", ["model.encoder.kernel", "3 entries", "2 channels"]),
        ("model.encoder.family=cnn", ["family", "'cnn'", "conv"]),
        ("model.decoder.family=mlp", ["model.decoder.family", "'mlp'", "'conv'"]),
    ],
)
def test_a_wrong_override(mistake, argument, words, digits):
    said = mistake(f"--config={digits}", f"--config.{argument}", "--config.eval.importance_samples=0")
    assert [word for word in words if word not in said] == [], said


def test_a_mix_reads_no_folder_of_its_own(mistake, digits):
    arguments = ["data.source=mix", "data.dir=faces", "data.mix=('digits=1','gmm=1')"]
    said = mistake(f"--config={digits}", *(f"--config.{argument}" for argument in arguments))
    assert "data.dir is 'faces' with data.source='mix'" in said


def test_replicas_need_a_value_each_in_every_tuple(mistake, digits):
    arguments = ["train.replicas.kl=(1,2)", "train.replicas.seed=(1,2,3)"]
    said = mistake(f"--config={digits}", *(f"--config.{argument}" for argument in arguments))
    assert "train.replicas.seed has 3, train.replicas.kl has 2 values" in said


def test_a_mistake_of_the_whole_config_is_not_laid_on_a_replica(mistake, digits):
    arguments = ["train.replicas.kl=(1,2)", "optimizer.name=adamm"]
    said = mistake(f"--config={digits}", *(f"--config.{argument}" for argument in arguments))
    assert said.startswith("optimizer.name is 'adamm'")


def test_an_autoencoder_has_no_capacity(mistake, file):
    said = mistake(
        file("config.model.posterior = 'point'", "config.objective.kl = 0.0", "config.objective.capacity = 2.0")
    )
    assert "objective.capacity is 2.0 with model.posterior='point', which has no KL; set it to 0.0" in said


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
    ("lines", "bound"),
    [
        (["config.model.likelihood = 'bernoulli'"], "bernoulli_bound"),
        (["config.model.posterior = 'point'", "config.objective.kl = 0.0"], "loss"),
        (["config.data.binarization = 'dynamic'"], "loss"),
        (["config.data.binarization = 'dynamic'", "config.model.likelihood = 'bernoulli'"], "elbo"),
        (["config.model.likelihood = 'laplace'"], "elbo"),
    ],
)
def test_an_importance_weighted_estimate_is_asked_only_of_what_has_a_bound(mistake, file, tmp_path, lines, bound):
    config = file("config.eval.importance_samples = 100", *lines)
    if bound != "loss":
        assert open_run(tmp_path, "test", load_file(config.removeprefix("--config="))).steps.bound == bound
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


def test_a_config_file_that_takes_no_argument(mistake, digits):
    assert "digits.py:64" in mistake(f"--config={digits}:64")

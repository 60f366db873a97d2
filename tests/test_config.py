"""Configs: defaults, files, overrides, what makes a run the same run, and the way through config.json."""

import json
from pathlib import Path

import pytest

from vae_jax.config import default_config, differences, load_file, name_of, override, resolve
from vae_jax.errors import UserError
from vae_jax.run import open_run, read_record, write_config

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def of_file(path):
    config = load_file(str(path))
    if config.objective.perceptual:
        config.perceptual.weights = "vgg19.pth"  # which a user names
    return config


def test_the_defaults_resolve():
    config = default_config()
    resolve(config)
    assert config.model.encoder.widths == config.model.decoder.widths == (512,)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_of_the_project_loads_and_resolves(path):
    resolve(of_file(path))
    assert name_of(str(path)) == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_resolving_twice_changes_nothing(path):
    once, twice = of_file(path), of_file(path)
    resolve(once)
    resolve(twice)
    resolve(twice)
    assert once.to_dict() == twice.to_dict()


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("seed=7", "seed", 7),
        ("model.latent=3", "model.latent", 3),
        ("objective.kl=2", "objective.kl", 2.0),
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate", 1e-3),
        ("eval.ema=false", "eval.ema", False),
        ("data.dir=/some/where=else", "data.dir", "/some/where=else"),
        ("data.dir=5", "data.dir", "5"),
        ("data.image_size=(28, 20)", "data.image_size", (28, 20)),
        ("train.steps=100", "train.steps", 100),
        ("model.encoder.widths=(16, 8)", "model.encoder.widths", (16, 8)),
        ("model.encoder.activation=tanh", "model.encoder.activation", "tanh"),
    ],
)
def test_overrides_have_the_type_of_their_field(argument, field, value):
    config = default_config()
    override(config, [f"--config.{argument}"])
    resolve(config)
    node = config
    for name in field.split("."):
        node = node[name]
    assert node == value
    assert type(node) is type(value)


def test_an_override_reaches_options_of_any_type_that_the_file_left_to_their_defaults():
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(4, 8))
    config.model.decoder = dict(family="conv", mirror=True)
    override(
        config,
        [
            "--config.model.encoder.kernel=(5, 3)",
            "--config.model.encoder.padding=1",
            "--config.model.decoder.activation=elu",
        ],
    )
    resolve(config)
    assert config.model.encoder.kernel == (5, 3)
    assert config.model.encoder.padding == config.model.decoder.padding == 1
    assert config.model.decoder.kernel == (3, 5), "the decoder mirrors the encoder"
    assert config.model.decoder.activation == "elu", "but for what it is told itself"
    assert config.model.encoder.activation == "relu"


def test_another_family_leaves_behind_what_the_file_set_for_the_first():
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(4, 8), norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    override(config, [f"--config.model.{net}.family=mlp" for net in ("encoder", "decoder")])
    resolve(config)
    assert (config.model.encoder.widths, config.model.encoder.norm) == ((512,), "batch")
    assert config.model.decoder.widths == (512,)


def test_another_family_does_not_hide_a_mistyped_option():
    config = default_config()
    config.model.encoder = dict(family="mlp", chanels=(4, 8))
    override(config, ["--config.model.encoder.family=conv"])
    with pytest.raises(UserError, match=r"did you mean model.encoder.channels\?"):
        resolve(config)


def test_lists_serve_as_tuples():
    config = default_config()
    config.model.encoder = dict(family="mlp", widths=[32, 16])
    resolve(config)
    assert config.model.encoder.widths == (32, 16)
    assert config.model.decoder.widths == (16, 32)


def test_a_config_file_takes_an_argument(tmp_path):
    path = tmp_path / "sized.py"
    path.write_text(
        "from vae_jax.config import default_config\n"
        "def get_config(latent='8'):\n"
        "    config = default_config()\n"
        "    config.model.latent = int(latent)\n"
        "    return config\n"
    )
    assert load_file(str(path)).model.latent == 8
    assert load_file(f"{path}:16").model.latent == 16
    assert name_of(f"{path}:16") == "sized_16"


def resolved(**changes):
    config = default_config()
    override(config, [f"--config.{name}={value}" for name, value in changes.items()])
    resolve(config)
    return config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", "1"),
        ("data.binarization", "dynamic"),
        ("data.seed", "1"),
        ("model.latent", "9"),
        ("objective.kl", "4"),
        ("optimizer.ema", "0.9"),
        ("train.batch_size", "32"),
        ("dtype", "bfloat16"),
    ],
)
def test_a_difference_in_what_makes_a_run_is_named(field, value):
    (difference,) = differences(resolved(**{field: value}), resolved())
    assert difference.startswith(f"{field}: ")
    assert value in difference


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train.steps", "1000"),
        ("train.epochs", "3"),
        ("train.steps_per_call", "4"),
        ("train.log_every", "8"),
        ("train.eval_every", "8"),
        ("train.checkpoint_every", "8"),
        ("data.dir", "elsewhere"),
        ("data.delivery", "host"),
        ("data.workers", "2"),
        ("eval.importance_samples", "10"),
        ("eval.batch_size", "8"),
        ("sample.count", "3"),
        ("mesh.devices", "1"),
    ],
)
def test_what_may_change_on_resume_is_no_difference(field, value):
    assert differences(resolved(**{field: value}), resolved()) == []


def test_a_decoder_that_mirrors_and_one_spelled_out_alike_are_the_same_model():
    spelled = default_config()
    spelled.model.encoder = dict(family="mlp", widths=(32, 16))
    spelled.model.decoder = dict(family="mlp", widths=(16, 32))
    mirrored = default_config()
    mirrored.model.encoder = dict(family="mlp", widths=(32, 16))
    for config in (spelled, mirrored):
        resolve(config)
    assert differences(spelled, mirrored) == []


def test_a_config_comes_back_from_its_run_folder(tmp_path):
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(4, 8), kernel=(3, 2), padding=(1, "same"))
    config.model.decoder = dict(family="conv", mirror=True)
    run = open_run(tmp_path, "there and back", config)
    write_config(run, "python -m vae_jax.main")
    record = read_record(tmp_path)
    assert record.config.to_dict() == run.given.to_dict()
    assert (record.name, record.shape) == ("there and back", (8, 8, 1))
    again = open_run(tmp_path, "there and back", record.config)
    assert again.config.to_dict() == run.config.to_dict()


def test_a_resumed_run_keeps_the_command_that_began_it(tmp_path):
    run = open_run(tmp_path, "test", default_config())
    for command in ("first", "second"):
        write_config(run, command)
    record = json.loads((tmp_path / "config.json").read_text())
    assert (record["command"], record["commands"]) == ("first", ["first", "second"])


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"config": 3}', '{"name": "x", "config": {"sed": 1}}'])
def test_a_broken_config_of_a_run_is_told_in_one_sentence(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match="is not a run's config"):
        read_record(tmp_path)

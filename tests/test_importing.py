"""`--mode=import`: a run folder like any other, or one sentence and nothing half made."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from absl import flags

import vae_jax
from vae_jax import main
from vae_jax.config import default_config
from vae_jax.errors import UserError
from vae_jax.importing import import_weights

RNG = np.random.default_rng(0)
SHAPES = {  # of PyTorch's tensors
    "encoder.0.weight": (4, 1, 3, 3),
    "encoder.0.bias": (4,),
    "fc_mu.weight": (2, 64),
    "fc_mu.bias": (2,),
    "fc_var.weight": (2, 64),
    "fc_var.bias": (2,),
    "fc_z.weight": (64, 2),
    "fc_z.bias": (64,),
    "decoder.0.weight": (4, 1, 3, 3),
    "decoder.0.bias": (1,),
}
CONFIG = """
from vae_jax.config import default_config

def get_config():
    config = default_config()
    config.data.channels = 1
    config.model.encoder = dict(family="conv", channels=(4,), kernel=3)
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.latent = 2
    config.pretrained.mapping = (
        ("encoder.{n}", "encoder.convs.{n}", "conv"),
        ("fc_mu", "heads.mean", "linear_after_flatten"),
        ("fc_var", "heads.log_variance", "linear_after_flatten"),
        ("fc_z", "decoder.dense.dense.0", "linear_before_unflatten"),
        ("decoder.{n}", "decoder.convs.{n}", "conv_transpose"),
    )
    return config
"""


@pytest.fixture
def tensors():
    return {name: 0.1 * RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


@pytest.fixture
def config():
    scope = {"default_config": default_config}
    exec(CONFIG, scope)
    return scope["get_config"]()


@pytest.fixture
def load(tmp_path, config):
    """Imports tensors, all in one file, and loads the run."""

    def load(tensors, **options):
        np.savez(tmp_path / "w.npz", **tensors)
        options = {"partial": False, **options}
        import_weights(tmp_path / "run", "test", config, [str(tmp_path / "w.npz")], command="", **options)
        return vae_jax.load(tmp_path / "run")

    return load


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The command line in `tmp_path`, where the config and the weights lie."""

    def run(*arguments):
        (tmp_path / "net.py").write_text(CONFIG)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["main.py", *arguments])
        flags.FLAGS.unparse_flags()
        main.main()

    yield run
    flags.FLAGS.unparse_flags()


def test_an_imported_run_is_evaluated_and_sampled_like_any_other(command, tensors, tmp_path, capsys):
    np.savez(tmp_path / "w.npz", **tensors)
    command("--mode=import", "--config=net.py", "--weights=w.npz", "--workdir=run")
    command("--mode=eval", "--workdir=run")
    assert "No reconstructed pixel lies below" in capsys.readouterr().out  # random weights give grey
    command("--mode=sample", "--workdir=run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"checkpoints", "config.json", "report", "studies"}
    assert vae_jax.load(tmp_path / "run").step == 0
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["config"]["pretrained"]
    assert saved["mapping"][0] == ["encoder.0", "encoder.convs.0", "conv"]  # as it was found
    assert saved["files"][0].startswith("w.npz sha256:")


def test_an_imported_run_can_be_trained_on(command, tensors, tmp_path):
    np.savez(tmp_path / "w.npz", **tensors)
    command("--mode=import", "--config=net.py", "--weights=w.npz", "--workdir=run")
    command("--workdir=run", "--config.train.steps=8")
    assert vae_jax.load(tmp_path / "run").step == 8


def test_parts_of_a_model_come_from_several_files(command, tensors, tmp_path, load):
    whole = load(tensors)
    for part in ("encoder", "decoder"):
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(part)}
        np.savez(tmp_path / f"{part}.npz", **{name.removeprefix(f"{part}."): tensor for name, tensor in own.items()})
    rest = {name: tensor for name, tensor in tensors.items() if name.startswith("fc")}
    np.savez(tmp_path / "heads.npz", **rest)
    weights = "--weights=encoder=encoder.npz,decoder=decoder.npz,heads.npz"
    command("--mode=import", "--config=net.py", weights, "--workdir=parts")
    for one, other in zip(
        jax.tree.leaves(whole.variables), jax.tree.leaves(vae_jax.load(tmp_path / "parts").variables), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_half_precision_is_taken_exactly_and_said(load, tensors, capsys):
    halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    model = load(halves)
    assert "float16 tensors are float32 in the model" in capsys.readouterr().out
    kernel = model.variables.params["encoder"]["convs"][0]["kernel"]
    np.testing.assert_array_equal(kernel[..., 0, 0], halves["encoder.0.weight"][0, 0].astype(np.float32))


def without(tensors, *names):
    return {name: tensor for name, tensor in tensors.items() if name not in names}


WRONG = {
    "another latent": lambda tensors: {**tensors, "fc_mu.weight": np.ones((3, 64), np.float32)},
    "another architecture": lambda tensors: {**tensors, "encoder.1.weight": np.ones((4, 4, 3, 3), np.float32)},
    "something missing": lambda tensors: without(tensors, "fc_var.weight"),
    "something left over": lambda tensors: {**tensors, "classifier.weight": np.ones((2, 2), np.float32)},
    "not finite": lambda tensors: {**tensors, "fc_z.bias": np.full(64, np.nan, np.float32)},
    "of another net": lambda tensors: {f"features.{name}": tensor for name, tensor in tensors.items()},
}
SAID = {
    "another latent": "does not fit: fc_mu.weight 3×64 → heads.mean.kernel 64×2",
    "another architecture": "does not fit: encoder.1.weight 4×4×3×3 → encoder.convs.1.kernel absent",
    "something missing": "missing: nothing in the file → heads.log_variance.bias 2 and 2 more",
    "something left over": "left over: classifier.weight 2×2 → no place",
    "not finite": "fc_z.bias holds NaN",
    "of another net": "finds none of the modules of the file",
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_one_sentence_and_nothing_is_left_behind(case, load, tensors, tmp_path):
    with pytest.raises(UserError, match=SAID[case]) as refused:
        load(WRONG[case](tensors))
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_the_whole_table_is_shown(load, tensors, capsys):
    with pytest.raises(UserError):
        load(WRONG["something missing"](tensors))
    table = capsys.readouterr().out
    assert all(name in table for name in SHAPES if name != "fc_var.weight")
    assert "MISSING" in table and "heads.log_variance.kernel" in table


def test_partial_takes_what_fits_and_leaves_the_rest_as_it_began(load, tensors, tmp_path):
    model = load(without(tensors, "fc_var.weight"), partial=True)
    heads = model.variables.params["heads"]["kernel"][...]
    assert np.std(heads[:, 2:]) > 0
    turned = tensors["fc_mu.weight"].reshape(2, 4, 16).transpose(2, 1, 0).reshape(64, 2)
    np.testing.assert_array_equal(heads[:, :2], turned)


def test_partial_with_nothing_that_fits_is_refused(load, tmp_path):
    with pytest.raises(UserError, match="has nothing that fits the model"):
        load({"encoder.0.weight": np.ones((9, 9, 9, 9), np.float32)}, partial=True)
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_a_folder_that_is_there_is_never_touched(load, tensors, tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="is there already"):
        load(tensors)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_can_not_be_made_is_one_sentence(command, tensors, tmp_path, capsys):
    np.savez(tmp_path / "w.npz", **tensors)
    (tmp_path / "a_file").touch()
    with pytest.raises(SystemExit) as ended:
        command("--mode=import", "--config=net.py", "--weights=w.npz", "--workdir=a_file/run")
    assert ended.value.code == 2
    assert capsys.readouterr().err == "a_file/run can't be made (Not a directory).\n"


@pytest.mark.parametrize(
    ("field", "value"), [("model.cond", ("label",)), ("model.target", ("label",)), ("train.replicas.kl", (1.0, 2.0))]
)
def test_what_takes_data_or_is_many_runs_is_not_imported(load, config, tensors, tmp_path, field, value):
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=rf"{field} is .*; it must be \(\) for --mode=import"):
        load(tensors)
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]


def test_no_weights_is_a_mistake(command, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        command("--mode=import", "--config=net.py", "--workdir=run")
    assert ended.value.code == 2
    assert "--weights names no file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_shipped_mappings_are_well_formed():
    from vae_jax.config import load_file
    from vae_jax.pretrained.mapping import check_rules

    for path in (Path(__file__).parents[1] / "configs" / "pretrained").glob("*.py"):
        config = load_file(str(path))
        check_rules(config.pretrained.mapping)
        assert config.pretrained.mapping

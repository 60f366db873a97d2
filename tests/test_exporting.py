"""What is exported gives what the model gives: read back here, by PyTorch's names, and by jax alone."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

import vae_jax
from vae_jax.checkpoint import Checkpoints
from vae_jax.config import default_config
from vae_jax.errors import UserError
from vae_jax.exporting import check_format, export, functions, torch_state_dict
from vae_jax.importing import import_weights
from vae_jax.run import open_run, write_config
from vae_jax.train import train

ALONE = """
import sys
import numpy as np
from jax import export

assert "vae_jax" not in sys.modules
folder, arrays = sys.argv[1], dict(np.load(sys.argv[2]))
names = ("encode", "decode", "sample")
call = {name: export.deserialize(open(f"{folder}/{name}.stablehlo", "rb").read()) for name in names}
assert set(call["encode"].platforms) == {"cpu", "cuda", "tpu"}
for count in (1, 5):
    mean, stddev = call["encode"].call(arrays["images"][:count])
    np.testing.assert_allclose(mean, arrays["mean"][:count], atol=1e-5)
    np.testing.assert_allclose(stddev, arrays["stddev"][:count], atol=1e-5)
    decoded = call["decode"].call(arrays["mean"][:count])
    np.testing.assert_allclose(decoded, arrays["decoded"][:count], atol=1e-5)
    samples = call["sample"].call(np.uint32(3), np.arange(count, dtype=np.uint32))
    np.testing.assert_allclose(samples, arrays["samples"][:count], atol=1e-5)
assert "vae_jax" not in sys.modules
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A conv net with BatchNorm, a dense layer and moved statistics, after 8 steps on pictures of 8×8 pixels."""
    config = default_config()
    config.model.encoder = dict(family="conv", channels=(4, 5), kernel=3, norm="batch", dense=(6,))
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.latent = 3
    config.optimizer.learning_rate = 1e-2
    config.train.update(steps=8, eval_every=8, checkpoint_every=8)
    run = open_run(tmp_path_factory.mktemp("run"), "test", config)
    write_config(run, "python -m vae_jax.main")
    train(run)
    return vae_jax.load(run.workdir)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((5, 8, 8, 1), dtype=np.float32)


def like(model):
    """A config of the model's architecture, for its parameters under our own names."""
    config = model.config.copy_and_resolve_references()
    config.data.channels = 1
    return config


def same(one, other, images):
    for name in ("mean", "log_variance"):
        theirs, ours = (getattr(model.encode(images), name) for model in (one, other))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(other.reconstruct(images), one.reconstruct(images), atol=1e-6)


def test_safetensors_come_back_as_the_same_model(model, images, tmp_path):
    (path,) = export(model, tmp_path, kind="safetensors")
    with safe_open(path, framework="np") as file:
        assert file.metadata()["step"] == "8"
        assert file.get_tensor("encoder.convs.0.kernel").shape == (3, 3, 1, 4)
    import_weights(tmp_path / "again", "again", like(model), [str(path)], partial=False, command="")
    same(model, vae_jax.load(tmp_path / "again"), images)


def test_a_pytorch_state_dict_comes_back_as_the_same_model(model, images, tmp_path):
    state = torch_state_dict(model)
    assert state["encoder.0.0.weight"].shape == (4, 1, 3, 3)  # [O, C, h, w]
    assert not state["encoder.0.0.bias"].any()
    np.savez(tmp_path / "state.npz", **state)
    config = like(model)
    config.pretrained.mapping = (
        ("encoder.{n}.0", "encoder.convs.{n}", "conv"),
        ("encoder.{n}.0", "encoder.norms.{n}", "bias_into_mean"),
        ("encoder.{n}.1", "encoder.norms.{n}", "batch_norm"),
        ("encoder_dense.0", "encoder.dense.dense.0", "linear_after_flatten"),
        ("fc_mu", "heads.mean", "linear"),
        ("fc_var", "heads.log_variance", "linear"),
        ("decoder_dense.0", "decoder.dense.dense.0", "linear"),
        ("fc_z", "decoder.dense.dense.1", "linear_before_unflatten"),
        ("decoder.{n}.0", "decoder.convs.{n}", "conv_transpose"),
        ("decoder.{n}.0", "decoder.norms.{n}", "bias_into_mean"),
        ("decoder.{n}.1", "decoder.norms.{n}", "batch_norm"),
    )
    import_weights(tmp_path / "again", "again", config, [str(tmp_path / "state.npz")], partial=False, command="")
    again = vae_jax.load(tmp_path / "again")
    same(model, again, images)
    for name, tensor in torch_state_dict(again).items():  # by the mapping that it was imported by
        np.testing.assert_array_equal(tensor, state[name])


def test_without_torch_the_error_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match="pip install torch"):
        export(model, tmp_path, kind="torch")
    assert not (tmp_path / "export").exists()


def test_without_flatbuffers_the_error_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(UserError, match="pip install flatbuffers"):
        export(model, tmp_path, kind="stablehlo")


def test_an_unknown_format_is_refused():
    with pytest.raises(UserError, match="--format is 'onnx'; it must be one of safetensors, torch, stablehlo"):
        check_format("onnx")


def test_the_functions_give_what_the_model_gives(model, images):
    call = {name: function for name, (function, _) in functions(model).items()}
    posterior = model.encode(images)
    mean, stddev = call["encode"](images)
    np.testing.assert_allclose(mean, posterior.mean, atol=1e-5)
    np.testing.assert_allclose(stddev, posterior.stddev, atol=1e-5)
    np.testing.assert_allclose(call["decode"](mean), model.reconstruct(images), atol=1e-5)
    samples = call["sample"](np.uint32(3), np.arange(4, dtype=np.uint32))
    np.testing.assert_allclose(samples, model.sample(4, seed=3), atol=1e-5)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The loaded run of a small net on the digits, whose config has the given changes, before its first step."""

    def untrained(**changes):
        config = default_config()
        config.model.encoder = dict(family="mlp", widths=(4,))
        config.model.latent = 3
        config.update_from_flattened_dict(changes)
        run = open_run(tmp_path_factory.mktemp("untrained"), "test", config)
        write_config(run, "python -m vae_jax.main")
        with Checkpoints(run.checkpoints, clean=True) as checkpoints:
            checkpoints.save(0, run.steps.init())
        return vae_jax.load(run.workdir)

    return untrained


def test_the_functions_of_a_conditional_model_take_its_conditions(untrained, images):
    model, cond = untrained(**{"model.cond": ("label",)}), np.eye(10, dtype=np.float32)[:5]
    call = {name: function for name, (function, _) in functions(model).items()}
    arguments = {name: shapes for name, (_, shapes) in functions(model).items()}
    assert all(shapes[-1].shape[1:] == (10,) for shapes in arguments.values())
    mean, _ = call["encode"](images, cond)
    np.testing.assert_allclose(mean, model.encode(images, cond).mean, atol=1e-5)
    np.testing.assert_allclose(call["decode"](mean, cond), model.decode(mean, cond), atol=1e-5)
    samples = call["sample"](np.uint32(3), np.arange(5, dtype=np.uint32), cond)
    np.testing.assert_allclose(samples, model.sample(5, seed=3, cond=cond), atol=1e-5)


@pytest.mark.parametrize("kind", ["torch", "stablehlo"])
def test_a_classifier_is_exported_as_safetensors_alone(untrained, tmp_path, kind):
    model = untrained(**{"model.target": ("label",)})
    with pytest.raises(UserError, match="holds a classifier, of which only safetensors are written"):
        export(model, tmp_path, kind=kind)
    assert not (tmp_path / "export").exists()
    (path,) = export(model, tmp_path, kind="safetensors")
    with safe_open(path, framework="np") as file:
        assert file.get_tensor("heads.kernel").shape == (4, 10)


@pytest.mark.skipif(importlib.util.find_spec("flatbuffers") is None, reason="jax.export serialises by flatbuffers")
def test_the_exported_functions_need_jax_alone(model, images, tmp_path):
    export(model, tmp_path, kind="stablehlo")
    posterior = model.encode(images)
    arrays = {"images": images, "mean": posterior.mean, "stddev": posterior.stddev}
    arrays |= {"decoded": model.decode(posterior.mean), "samples": model.sample(5, seed=3)}
    np.savez(tmp_path / "arrays.npz", **arrays)
    folder = tmp_path / "export" / "stablehlo"
    found = subprocess.run(
        [sys.executable, "-c", ALONE, folder, tmp_path / "arrays.npz"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert found.returncode == 0, found.stderr

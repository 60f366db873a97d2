"""Every config file with every argument: it loads, resolves, and its nets take and give the shapes that it states."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_jax.config import load_file, name_of, resolve
from vae_jax.data.splits import open_splits
from vae_jax.errors import UserError
from vae_jax.evaluation.evaluate import evaluate
from vae_jax.models.vae import VAE
from vae_jax.nn.layers import stride_path
from vae_jax.run import open_run
from vae_jax.train import train
from vae_jax.validation import check_shape

CONFIGS = Path(__file__).parents[1] / "configs"


def arguments(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, "ARGUMENTS", ())


SPECS = [
    f"{path.name}:{argument}" if argument else path.name
    for path in sorted(CONFIGS.glob("*.py"))
    for argument in ("", *arguments(path))
]


def load(spec):
    config = load_file(f"{CONFIGS / spec}")
    if config.objective.perceptual:
        config.perceptual.weights = "vgg19.pth"  # which a user names
    resolve(config)
    return config


def shape_of(data):
    """What the examples of a config are, known without opening them."""
    if data.source == "gmm":
        return (3,)
    channels = {"digits": 1, "tfds": 1, "idx": 1, "celeba": 3, "folder": 3}[data.source]
    return (*data.image_size, data.channels or channels)


def nets(spec):
    """The model of a config without values."""
    config = load(spec)
    shape = shape_of(config.data)
    check_shape(config, shape)
    dtype = jnp.dtype(config.dtype)
    return nnx.eval_shape(lambda: VAE(config.model.to_dict(), shape, dtype=dtype, rngs=nnx.Rngs(0))), shape


@pytest.mark.parametrize("spec", [spec for spec in SPECS if not load(spec).model.target])
def test_a_config_gives_back_pictures_of_the_size_that_it_takes(spec):
    model, shape = nets(spec)
    x, key = jax.ShapeDtypeStruct((2, *shape), jnp.float32), jax.random.key(0)
    told = len(load(spec).model.cond)
    cond = jax.ShapeDtypeStruct((2, told), jnp.float32) if told else None

    def means(model, x, cond):
        output = model(x, key, cond)
        return output.likelihood.mean, output.posterior.mean

    picture, latent = nnx.eval_shape(means, model, x, cond)
    assert picture.shape == x.shape and latent.shape == (2, load(spec).model.latent)


@pytest.mark.parametrize(
    "spec", [f"{path.name}:{arguments(path)[0]}x" for path in CONFIGS.glob("*.py") if arguments(path)]
)
def test_an_argument_that_a_config_has_not_is_told_in_one_sentence(spec):
    with pytest.raises(UserError, match=f"^the argument of .*{spec.partition(':')[0]} is '.*x'; it must be one of"):
        load_file(f"{CONFIGS / spec}")


def heights_and_widths(spec):
    config = load(spec)
    options = config.model.encoder
    count = len(options.channels)
    lists = {f"{name}s": (options[name],) * count for name in ("kernel", "stride", "padding")}
    return stride_path(config.data.image_size, **lists, field="model.encoder")


def test_the_beta_vae_has_the_sizes_and_output_paddings_of_the_published_weights():
    path = heights_and_widths("celeba_beta.py")
    assert [64, *(place.inner[0] for place in path)] == [64, 31, 14, 6, 2]
    assert [place.output_padding for place in reversed(path)] == [(0, 0), (0, 0), (1, 1), (0, 0)]
    model, _ = nets("celeba_beta.py")
    assert model.encoder.features == 256 and model.heads.kernel.shape == (256, 64)
    assert model.decoder.start == (2, 2, 64)
    assert [conv.kernel.shape[2:] for conv in model.decoder.convs] == [(64, 64), (64, 32), (32, 32), (32, 3)]
    assert len(model.decoder.norms) == 3, "nothing stands between the last convolution and the sigmoid"


def test_whole_faces_go_through_the_sizes_of_the_report_and_back():
    path = heights_and_widths("face_178x218.py")
    assert [218, *(place.inner[0] for place in path)] == [218, 109, 54, 27, 13, 6, 3]
    assert [178, *(place.inner[1] for place in path)] == [178, 89, 44, 22, 11, 5, 2]
    assert list(zip(*(place.output_padding for place in reversed(path)), strict=True)) == [
        (0, 1, 1, 0, 1, 0),
        (1, 1, 0, 0, 1, 0),
    ]


def parameters(spec, part):
    model, _ = nets(spec)
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(getattr(model, part), nnx.Param)))


def test_the_keras_vae_has_as_many_parameters_as_keras_counts():
    # keras.io/examples/generative/vae: the encoder 69,076 with its two heads, the decoder 65,089.
    assert parameters("mnist_keras.py", "encoder") + parameters("mnist_keras.py", "heads") == 69_076
    assert parameters("mnist_keras.py", "decoder") == 65_089


def test_the_deep_keras_vae_has_a_transposed_convolution_of_kernel_four_at_its_core():
    model, _ = nets("mnist_keras.py:deep")
    assert model.encoder.convs[-1].kernel.shape == (3, 3, 64, 128)
    assert model.decoder.start == (4, 4, 128)
    assert model.decoder.convs[0].kernel.shape == (4, 4, 128, 128)


def test_the_published_pixel_vae_weighs_squared_errors_by_1_8_and_the_kl_by_10():
    config = load("celeba_pvae.py:published")
    assert 1 / (2 * config.model.variance) == pytest.approx(1.8)
    assert config.objective.kl == 10


def test_only_the_keras_example_trains_on_what_it_tests():
    assert {name_of(spec) for spec in SPECS if load(spec).data.train_on == "all"} == {
        name_of(spec) for spec in SPECS if spec.startswith("mnist_keras.py")
    }


def test_a_run_on_all_examples_calls_no_figure_held_out(tmp_path):
    for train_on in ("train", "all"):
        config = load("digits.py")
        config.data.train_on = train_on
        config.train.update(steps=8, log_every=8, eval_every=8)
        config.mesh.devices = 1
        config.eval.importance_samples = 0
        run = open_run(tmp_path / train_on, "digits", config)
        assert len(run.splits["train"]) == (1797 if train_on == "all" else 1294)
        meta = evaluate(run, train(run).state, split="test", checkpoint="newest")
        assert meta["held_out"] == (train_on == "train")
        assert any("trained on these examples" in note for note in meta["notes"]) == (train_on == "all")


def test_mnist_is_trained_on_as_a_whole(shared):
    config = load("mnist_keras.py")
    config.data.update(source="idx", dir=str(shared / "data" / "mnist"))
    if not Path(config.data.dir).is_dir():
        pytest.skip(f"no MNIST at {config.data.dir}")
    train = open_splits(config.data)["train"]
    assert len(train) == 70_000
    assert np.bincount(train.columns["label"]).min() > 6000

"""Nets in bfloat16: what must stay float32 does, they train to the bound of float32, their programs are not kept."""

import io
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from vae_jax.compilation import Unkept, nothing_kept
from vae_jax.config import default_config, resolve
from vae_jax.data.order import Order
from vae_jax.data.pipeline import evaluation_batches, train_batches
from vae_jax.data.source import ArraySource
from vae_jax.data.sources.digits import open_splits
from vae_jax.mesh import make_mesh
from vae_jax.models.vae import VAE
from vae_jax.steps import Steps

BATCH = 32
HELD_OUT = 256


def config_of(dtype, **model):
    config = default_config()
    config.dtype = dtype
    config.model.update(model)
    config.train.update(batch_size=BATCH, log_every=8)
    config.optimizer.learning_rate = 2e-3
    return config


def convolutional(**options):
    return {"encoder": dict(family="conv", **options), "decoder": dict(family="conv", mirror=True)}


def held_out_elbo(config, images, steps):
    """The mean ELBO of the first HELD_OUT images after so many steps on the others.

    The learning rate ends at 0: the last steps at a constant one move the bound by more than a percent.
    """
    config.optimizer.update(schedule="cosine", decay_steps=steps)
    config.data.image_size = images.shape[1:3]
    resolve(config)
    mesh, source = make_mesh(1), ArraySource(images[HELD_OUT:])
    run = Steps(config, images.shape[1:], mesh)
    state, order = run.init(), Order(len(source), BATCH, 0)
    batches = train_batches(source, order, mesh=mesh, steps_per_call=8, start_step=0, delivery="device", workers=0)
    for _ in range(steps // 8):
        state, _ = run.train(state, next(batches), run.weights)
    batches.close()
    (batch,) = evaluation_batches(ArraySource(images[:HELD_OUT]), HELD_OUT, mesh=mesh)
    return float(run.evaluate(state.variables, batch, run.weights)["elbo"].mean())


@pytest.fixture(scope="module")
def faces(shared):
    """The first 1,024 faces of the archive at 32×32, [N, H, W, C] uint8."""
    path = shared / "data" / "celeba" / "img_align_celeba.zip"
    if not path.exists():
        pytest.skip(f"no faces at {path}")
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[:1024]
        pictures = [Image.open(io.BytesIO(archive.read(name))).resize((32, 32), Image.BILINEAR) for name in names]
    return np.stack([np.asarray(picture) for picture in pictures])


def test_digits_reach_the_elbo_of_float32():
    images = open_splits(default_config().data)["train"].read(np.arange(1797))["image"]
    model = {**convolutional(channels=(16, 32), kernel=3, norm="batch"), "variance_kind": "single"}
    single, half = (held_out_elbo(config_of(dtype, **model), images, 400) for dtype in ("float32", "bfloat16"))
    assert half == pytest.approx(single, rel=0.01)


def test_faces_reach_the_elbo_of_float32(faces):
    model = {**convolutional(channels=(8, 16, 32), norm="batch"), "latent": 16, "variance": 0.05}
    single, half = (held_out_elbo(config_of(dtype, **model), faces, 160) for dtype in ("float32", "bfloat16"))
    assert half == pytest.approx(single, rel=0.01)


def abstract_steps(**model):
    """The steps of a net in bfloat16 on 8×8 images, and what `train` takes, without the values."""
    config = config_of("bfloat16", **model)
    resolve(config)
    steps = Steps(config, (8, 8, 1), make_mesh(1))
    ids = jax.ShapeDtypeStruct((1, BATCH), jnp.uint32)
    batch = {
        "image": jax.ShapeDtypeStruct((1, BATCH, 8, 8, 1), jnp.uint8),
        "example_id": ids,
        "epoch": ids,
        "mask": jax.ShapeDtypeStruct((1, BATCH), jnp.float32),
    }
    return steps, (steps.abstract_state(), batch, steps.weights)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
def test_parameters_losses_and_statistics_are_float32(norm):
    steps, arguments = abstract_steps(**convolutional(channels=(4,), norm=norm))
    after = steps.train.lower(*arguments).out_info
    assert {leaf.dtype.name for leaf in jax.tree.leaves(after)} == {"float32", "int32", "uint32", "bool"}


def test_no_function_of_a_model_keeps_programs_that_call_onednn():
    steps, (state, *others) = abstract_steps(**convolutional(channels=(16, 16)))
    x, z = (jax.ShapeDtypeStruct((BATCH, *shape), jnp.float32) for shape in ((8, 8, 1), (steps.config.model.latent,)))
    calls = {
        steps.train: (state, *others),
        steps.encode: (state.variables, x),
        steps.decode: (state.variables, z),
    }
    for function, arguments in calls.items():
        with nothing_kept():
            text = function.lower(*arguments).compile().as_text()
        calls_onednn = "__onednn$" in text
        assert isinstance(function, Unkept) or not calls_onednn
        assert calls_onednn or function is not steps.encode or jax.__version_info__ < (0, 11)


@pytest.mark.parametrize("family", ["conv", "mlp", "resnet"])
def test_log_variances_come_from_float32_layers(family):
    def outputs(**changes):
        config = config_of("bfloat16", **changes)
        config.model.encoder, config.model.decoder = dict(family=family), dict(family=family, mirror=True)
        resolve(config)
        vae = VAE(config.model.to_dict(), (8, 8, 1), dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        x = jnp.zeros((2, 8, 8, 1))
        return vae.encoder(x), vae.heads(vae.encoder(x).astype(jnp.float32)), vae.decoder(jnp.zeros((2, 8)))

    assert [a.dtype.name for a in outputs(variance_kind="per_pixel")] == ["bfloat16", "float32", "float32"]
    assert [a.dtype.name for a in outputs(variance_kind="single")] == ["bfloat16", "float32", "bfloat16"]

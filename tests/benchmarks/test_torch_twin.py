"""The benchmark's PyTorch twin computes what our model does; without this its figures would compare two models."""

import jax
import numpy as np
import pytest

from vae_jax import rng
from vae_jax.config import default_config, resolve
from vae_jax.mesh import make_mesh
from vae_jax.steps import Steps

torch = pytest.importorskip("torch", reason="the twin is written in PyTorch, which is not installed")

from torch_twin import Twin  # noqa: E402

STEPS = 3
BATCH = 6
RATE = 1e-3


def steps_of(shape, **model):
    config = default_config()
    config.data.image_size = shape[:2]
    config.model.update(model)
    config.optimizer.update(name="sgd", learning_rate=RATE)
    config.train.update(batch_size=BATCH, steps_per_call=1, log_every=1)
    config.matmul_precision = "highest"
    resolve(config)
    return Steps(config, shape, make_mesh(1))


FACES = {
    "encoder": dict(family="conv", channels=(4, 5), kernel=4, padding=1, norm="batch", activation="leaky_relu"),
    "decoder": dict(family="conv", mirror=True),
    "latent": 3,
    "likelihood": "gaussian",
    "variance": 0.5,
}
DIGITS = {
    "encoder": dict(family="conv", channels=(4, 5), kernel=3, padding=1, dense=(7,)),
    "decoder": dict(family="conv", channels=(5, 5, 4), kernel=3, stride=(2, 2, 1), padding=1),
    "latent": 2,
    "likelihood": "bernoulli",
}


@pytest.fixture(scope="module", params=[((16, 12, 3), FACES), ((14, 14, 1), DIGITS)], ids=["faces", "digits"])
def trained(request):
    """Our losses and our parameters after three steps of SGD; and the twin's, from the same start."""
    shape, model = request.param
    steps = steps_of(shape, **model)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (STEPS, BATCH, *shape), dtype=np.uint8)
    ids = np.arange(STEPS * BATCH, dtype=np.uint32).reshape(STEPS, BATCH)
    state = steps.init()
    twin = Twin(steps.config.model.to_dict(), shape)
    twin.copy_from(state.variables.params)
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE)
    ours, theirs = [], []
    for step in range(STEPS):
        noise = rng.normal(rng.per_example(rng.stream(0, "train", step), ids[step]), (BATCH, model["latent"]))
        loss = twin.loss(torch.from_numpy(images[step]), torch.from_numpy(np.array(noise)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
        ones = np.ones((1, BATCH), np.float32)
        batch = {"image": images[None, step], "example_id": ids[None, step], "epoch": 0 * ids[None, step], "mask": ones}
        state, report = steps.train(state, batch, steps.weights)
        ours.append(float(jax.device_get(report["window"]["loss"])))
    ours_in_torch = Twin(steps.config.model.to_dict(), shape)
    ours_in_torch.copy_from(state.variables.params)
    return ours, theirs, dict(ours_in_torch.named_parameters()), dict(twin.named_parameters())


def test_the_first_loss_is_ours(trained):
    ours, theirs, _, _ = trained
    assert theirs[0] == pytest.approx(ours[0], rel=1e-4)


def test_after_three_steps_of_sgd_every_parameter_is_ours(trained):
    ours, theirs, our_parameters, their_parameters = trained
    assert theirs[-1] != pytest.approx(theirs[0], rel=1e-3), "nothing was learned, so nothing was compared"
    for name, expected in our_parameters.items():
        np.testing.assert_allclose(
            their_parameters[name].detach(), expected.detach(), rtol=1e-4, atol=1e-4, err_msg=name
        )

"""Evaluation and sampling draw the same noise for any batch size and number of devices; training nearly so."""

import contextlib
import dataclasses
import itertools

import jax
import numpy as np
import pytest

from vae_jax import distributions, rng
from vae_jax.config import default_config
from vae_jax.data.order import Order
from vae_jax.data.pipeline import evaluation_batches, train_batches
from vae_jax.data.transforms import prepare
from vae_jax.evaluation.held_out import over_split
from vae_jax.evaluation.sampling import draw
from vae_jax.run import open_run
from vae_jax.steps import evaluation_keys

COUNT = 100  # no multiple of any batch size below
SETTINGS = {"1": (1, 1), "7": (7, 1), "64": (64, 1), "8 on 8 devices": (8, 8), "56 on 8 devices": (56, 8)}

each_setting = pytest.mark.parametrize(("batch_size", "devices"), SETTINGS.values(), ids=SETTINGS.keys())


def config(*, devices=1, optimizer="adam", binarization="none"):
    config = default_config()
    config.data.binarization = binarization
    config.model.encoder = dict(family="conv", channels=(4, 8), kernel=3, norm="batch")
    config.model.decoder = dict(family="conv", mirror=True)
    config.model.update(latent=3, likelihood="bernoulli" if binarization == "dynamic" else "gaussian")
    config.optimizer.update(name=optimizer, learning_rate=1e-3 if optimizer == "adam" else 1e-4)
    config.train.update(batch_size=64, steps=10, steps_per_call=1, log_every=1, eval_every=10, checkpoint_every=10)
    config.eval.batch_size = 64
    config.mesh.devices = devices
    return config


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The run on 1 and on 8 devices, and the same variables for both."""
    runs = {devices: open_run(tmp_path_factory.mktemp("run"), "test", config(devices=devices)) for devices in (1, 8)}
    variables = jax.device_get(runs[1].steps.init().variables)
    return {
        devices: (run, jax.device_put(variables, jax.sharding.NamedSharding(run.mesh, jax.sharding.PartitionSpec())))
        for devices, run in runs.items()
    }


def evaluate(runs, batch_size, devices):
    """What the evaluation computes for each of the first examples of the test split."""
    run, variables = runs[devices]
    return over_split(
        lambda batch: {
            **run.steps.evaluate(variables, batch, run.steps.weights),
            "nll": run.steps.importance(variables, batch, samples=5),
            "picture": run.steps.reconstruct(variables, batch)["reconstructions"],
        },
        run.splits["test"],
        batch_size=batch_size,
        mesh=run.mesh,
        limit=COUNT,
    )


def evaluation_noise(runs, batch_size, devices):
    """The ε of the posterior's sample, by the keys that the evaluation takes, and the held-out binary draw."""
    run, _ = runs[devices]
    binary = config(binarization="dynamic").data

    @jax.jit
    def noise(batch):
        keys = evaluation_keys(run.config.seed, batch)
        zeros = np.zeros((batch_size, 3), np.float32)
        return {
            "noise": distributions.Normal(zeros, zeros).sample(keys),
            "noise of K samples": distributions.Normal(zeros, zeros)
            .sample(rng.per_sample(keys, np.arange(4)))
            .transpose(1, 0, 2),
            "binary draw": prepare(batch, rng.stream(0, "held-out draw"), binary).clean,
        }

    return over_split(noise, run.splits["test"], batch_size=batch_size, mesh=run.mesh, limit=COUNT)


@pytest.fixture(scope="module")
def expected(runs):
    run, variables = runs[1]
    return {
        "noise": evaluation_noise(runs, COUNT, 1),
        "evaluation": evaluate(runs, COUNT, 1),
        "samples": draw(run.steps, variables, COUNT, seed=5, batch_size=COUNT),
    }


@each_setting
def test_the_noise_of_an_evaluation_is_bitwise_the_same(runs, expected, batch_size, devices):
    noise = evaluation_noise(runs, batch_size, devices)
    for name, values in expected["noise"].items():
        assert values.shape[0] == COUNT
        assert noise[name].tobytes() == values.tobytes(), name


def test_the_noise_belongs_to_the_example_and_not_to_its_place(runs, expected):
    run, _ = runs[1]
    source = run.splits["test"]
    backwards = dataclasses.replace(run, splits={"test": Reversed(source, COUNT)})
    noise = evaluation_noise({1: (backwards, None)}, 7, 1)
    for name, values in expected["noise"].items():
        assert noise[name][::-1].tobytes() == values.tobytes(), name


class Reversed:
    def __init__(self, source, count):
        self.features, self._source, self._count = source.features, source, count

    def __len__(self):
        return self._count

    def read(self, indices):
        return self._source.read(self._count - 1 - indices)


@each_setting
def test_what_passes_a_net_agrees_to_rounding(runs, expected, batch_size, devices):
    values = evaluate(runs, batch_size, devices)
    assert values.keys() == expected["evaluation"].keys()
    for name, value in expected["evaluation"].items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, atol=1e-5, err_msg=name)


@each_setting
def test_latents_from_the_prior_are_bitwise_the_same(runs, expected, batch_size, devices):
    run, variables = runs[devices]
    drawn = draw(run.steps, variables, COUNT, seed=5, batch_size=batch_size)
    assert drawn["latents"].tobytes() == expected["samples"]["latents"].tobytes()
    np.testing.assert_allclose(drawn["samples"], expected["samples"]["samples"], rtol=1e-5, atol=1e-5)


def test_noise_differs_between_examples_samples_seeds_and_from_training(runs, expected):
    noise = expected["noise"]["noise of K samples"]  # [N, K, Z]
    assert len(np.unique(noise)) > 0.99 * noise.size
    run, _ = runs[1]
    batch = next(evaluation_batches(run.splits["test"], 8, mesh=run.mesh))
    names = [("evaluation", 0, None), ("evaluation", 1, None), ("train", 0, 0), ("train", 0, 1)]
    draws = [rng.normal(rng.per_example(rng.stream(s, n, t), batch["example_id"]), (8, 3)) for n, s, t in names]
    assert len(np.unique(np.stack(draws))) == 4 * 24


@pytest.mark.parametrize(("optimizer", "binarization"), [("adam", "none"), ("sgd", "dynamic")])
def test_ten_steps_of_training_agree_on_1_and_8_devices(tmp_path, optimizer, binarization):
    states, losses = {}, {}
    for devices in (1, 8):
        run = open_run(tmp_path, "test", config(devices=devices, optimizer=optimizer, binarization=binarization))
        order = Order(len(run.splits["train"]), 64, seed=0)
        options = {"steps_per_call": 1, "start_step": 0, "delivery": "device", "workers": 0}
        with contextlib.closing(train_batches(run.splits["train"], order, mesh=run.mesh, **options)) as batches:
            state, losses[devices] = run.steps.init(), []
            for batch in itertools.islice(batches, 10):
                state, report = run.steps.train(state, batch, run.steps.weights)
                losses[devices].append(float(report["window"]["loss"]))
        states[devices] = jax.device_get(state.variables)
    np.testing.assert_allclose(losses[8], losses[1], rtol=1e-5)
    if optimizer == "sgd":  # Adam magnifies rounding where a gradient is near zero
        for one, other in zip(jax.tree.leaves(states[8]), jax.tree.leaves(states[1]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    first = jax.device_get(run.steps.init().variables.params)
    assert any(
        not np.allclose(one, other, atol=1e-3)
        for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(states[1].params), strict=True)
    ), "nothing was trained"

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from vae_jax.objectives.classification import losses, probabilities

N, A = 6, 4


@pytest.fixture(scope="module")
def logits():
    return 3 * np.random.default_rng(0).standard_normal((N, A)).astype(np.float32)


def test_classes_cost_the_log_loss_of_a_softmax(logits):
    label = np.arange(N) % A
    found = losses(logits, np.eye(A, dtype=np.float32)[label], exclusive=True)
    p = probabilities(logits, exclusive=True)
    np.testing.assert_allclose(p.sum(axis=1), np.ones(N), rtol=1e-6)
    for n in range(N):
        assert float(found["loss"][n]) == pytest.approx(
            log_loss(label[n : n + 1], p[n : n + 1], labels=range(A)), rel=1e-4
        )
    np.testing.assert_array_equal(found["accuracy"], logits.argmax(axis=1) == label)


def test_attributes_cost_the_sum_of_their_log_losses(logits):
    target = np.random.default_rng(1).integers(0, 2, (N, A))
    found = losses(logits, target.astype(np.float32), exclusive=False)
    p = np.asarray(probabilities(logits, exclusive=False), np.float64)
    np.testing.assert_allclose(found["loss"], -np.log(np.where(target, p, 1 - p)).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found["accuracy"], ((p > 0.5) == target).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
def test_the_loss_is_finite_at_logits_of_a_hundred(exclusive):
    wrong = losses(jnp.array([[100.0, -100.0]]), jnp.array([[0.0, 1.0]]), exclusive=exclusive)
    assert float(wrong["loss"][0]) == 200

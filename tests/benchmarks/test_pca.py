import numpy as np
import pytest
from pca import principal_errors
from sklearn.decomposition import PCA


@pytest.mark.parametrize("shape", [(60, 12), (20, 50)], ids=["more examples", "more dimensions"])
def test_the_errors_are_those_of_the_pca_of_scikit_learn(shape):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(shape[1], shape[1])).astype(np.float32)
    train, test = (rng.normal(size=(n, shape[1])).astype(np.float32) @ mixing + 3 for n in (shape[0], 30))
    errors = principal_errors(train, test)
    assert errors[0] == pytest.approx(np.square(test - train.mean(axis=0)).mean(), rel=1e-4)
    for count in (1, 5, 11):
        fitted = PCA(count, svd_solver="full").fit(train)
        left = np.square(test - fitted.inverse_transform(fitted.transform(test))).mean()
        assert errors[count] == pytest.approx(left, rel=1e-3)

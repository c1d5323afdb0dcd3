"""Views that share a signal, and closed forms compared; for tests."""

import numpy as np

CLOSED_FORMS = ["cca", "cluster_cca", "mean_cca"]


def related(
    n: int = 150, p: int = 7, q: int = 5, seed: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Two views that share a signal, in four classes of unequal size."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1])
    shared = rng.normal(size=(4, 3))[labels] + rng.normal(size=(n, 3))
    x, y = (shared @ rng.normal(size=(3, d)) + rng.normal(size=(n, d)) for d in (p, q))
    return {"audio": x, "visual": y}, labels


def assert_same_model(a, b, atol: float = 1e-10) -> None:
    np.testing.assert_allclose(a.correlations_, b.correlations_, atol=atol)
    for modality in a.dims_:
        np.testing.assert_allclose(a.weights_[modality], b.weights_[modality], atol=atol)
        np.testing.assert_allclose(a.mean_[modality], b.mean_[modality], atol=atol)

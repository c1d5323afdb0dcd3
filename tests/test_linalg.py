"""CCA from covariances against published values, a peer, and identities."""

import numpy as np
import pytest
from scipy import linalg as reference

from earsight import linalg

MATLAB_RHO = [1.0, 0.533992991387982, 0.355995327591988]


def covariances(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return x.T @ x / len(x), y.T @ y / len(x), x.T @ y / len(x)


def related(n: int = 200, p: int = 7, q: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, p))
    return x, x @ rng.normal(size=(p, q)) + 2 * rng.normal(size=(n, q))


def test_the_values_of_matlab() -> None:
    x = np.vstack([np.eye(3), 2 * np.eye(3)])
    y = np.vstack([np.fliplr(np.eye(3)), 0.1 * np.eye(3)])
    found = linalg.cca(*covariances(x, y)).correlations
    np.testing.assert_allclose(found, MATLAB_RHO, atol=1e-12)


def test_projections_are_white_and_correlate_by_rho() -> None:
    xx, yy, xy = covariances(*related())
    pair = linalg.cca(xx, yy, xy, ridge=(0.3, 0.1))
    a, b = pair.weights
    np.testing.assert_allclose(a.T @ (xx + 0.3 * np.eye(7)) @ a, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(b.T @ (yy + 0.1 * np.eye(5)) @ b, np.eye(5), atol=1e-12)
    np.testing.assert_allclose(a.T @ xy @ b, np.diag(pair.correlations), atol=1e-12)
    assert (np.diff(pair.correlations) <= 0).all() and pair.correlations[0] < 1


def test_a_generalised_eigenproblem_gives_the_same_rho() -> None:
    xx, yy, xy = covariances(*related(seed=1))
    values = reference.eigh(xy.T @ np.linalg.solve(xx, xy), yy, eigvals_only=True)
    found = linalg.cca(xx, yy, xy).correlations
    np.testing.assert_allclose(found, np.sqrt(values[::-1]), atol=1e-12)


def test_units_of_columns_do_not_change_the_rank() -> None:
    x, _ = related(seed=2)
    x = np.hstack([x, x[:, :2] @ np.array([[1.0, 2.0], [3.0, -1.0]])])  # rank 7 of 9
    for scale in (np.ones(9), 10.0 ** np.arange(-4, 5)):
        covariance = np.cov((x * scale).T)
        w = linalg.whitener(covariance).weights(np.eye(7))
        np.testing.assert_allclose(w.T @ covariance @ w, np.eye(7), atol=1e-9)


def test_a_ridge_on_a_singular_view_loses_nothing_by_the_cut() -> None:
    """The cut to the range of Σ against the plain formula, in which the ridge makes Σ regular."""
    x, y = related(seed=3)
    x = np.hstack([x, x @ np.ones((7, 3))])
    xx, yy, xy = covariances(x, y)
    tiny = 1e-13
    cut = linalg.cca(xx, yy, xy, ridge=(tiny, 0.1))
    half = reference.fractional_matrix_power
    whole = half(xx + 1e-6 * np.eye(10), -0.5) @ xy @ half(yy + 0.1 * np.eye(5), -0.5)
    plain = np.linalg.svd(whole, compute_uv=False)
    np.testing.assert_allclose(cut.correlations, plain, atol=1e-6)
    assert np.abs(cut.weights[0]).max() < 1e3


def test_the_rank_is_told_from_rounding() -> None:
    x, y = related(seed=4)
    low = np.random.default_rng(0).normal(size=(2, 5))
    xx, yy, xy = covariances(x, x[:, :2] @ low + 0 * y)
    assert len(linalg.cca(xx, yy, xy).correlations) == 2
    assert len(linalg.cca(xx, yy, xy, ridge=(0.1, 0.1)).correlations) == 2
    assert len(linalg.cca(xx, yy, np.zeros_like(xy)).correlations) == 0


def test_columns_without_variance_get_no_weight() -> None:
    x, y = related(seed=5)
    wide = np.insert(x, 3, 0.0, axis=1)
    kept = np.delete(np.arange(8), 3)
    with_it, without = linalg.cca(*covariances(wide, y)), linalg.cca(*covariances(x, y))
    assert not with_it.weights[0][3].any()
    np.testing.assert_allclose(with_it.weights[0][kept], without.weights[0], atol=1e-13)


def test_signs_do_not_depend_on_the_decomposition() -> None:
    xx, yy, xy = covariances(*related(seed=6))
    order = np.arange(7)[::-1]
    a = linalg.cca(xx, yy, xy).weights[0]
    b = linalg.cca(xx[np.ix_(order, order)], yy, xy[order]).weights[0][order]
    np.testing.assert_allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("n", [12, 60, 2000])
def test_oas_is_that_of_scikit_learn_as_a_ridge(n: int) -> None:
    from sklearn.covariance import oas

    x = np.random.default_rng(7).normal(size=(n, 6)) * np.arange(1, 7)
    covariance = np.cov(x.T, bias=True)
    shrunk, s = oas(x)
    ridge = linalg.oas_ridge(covariance, n) * linalg.mean_variance(covariance)
    expected = shrunk / (1 - s)
    np.testing.assert_allclose(covariance + ridge * np.eye(6), expected, rtol=1e-10)


def test_shrinkage_is_held_below_one_and_ignores_constant_columns() -> None:
    assert linalg.oas_ridge(np.eye(4), 10) == pytest.approx(99)
    covariance = np.cov(np.random.default_rng(8).normal(size=(50, 4)).T)
    padded = np.pad(covariance, (0, 3))
    assert linalg.oas_ridge(padded, 50) == pytest.approx(linalg.oas_ridge(covariance, 50))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_square_is_added_to_the_lower_triangle_alone(dtype) -> None:
    rows = np.random.default_rng(9).normal(size=(30, 7)).astype(dtype)
    square = np.full((7, 7), 5, dtype=dtype)
    linalg.add_square(rows[:10], square, keep=False)
    linalg.add_square(rows[10:], square)
    upper = np.triu_indices(7, 1)
    assert (square[upper] == 5).all()
    np.testing.assert_allclose(np.tril(square), np.tril(rows.T @ rows), rtol=1e-5, atol=1e-5)

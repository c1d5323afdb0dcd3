"""Whitening with a rank tolerance, CCA from covariances, shrinkage, and the signs of components."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from earsight.arrays import FloatArray


@dataclass(frozen=True)
class CanonicalPair:
    """Canonical directions of two views, best first.

    Attributes:
        weights: (p, r) and (q, r); the projections of each view are uncorrelated with each other.
        correlations: (r,) canonical correlations ρ, descending; r is the rank of the problem.
    """

    weights: tuple[FloatArray, FloatArray]
    correlations: FloatArray


def cca(
    xx: FloatArray,
    yy: FloatArray,
    xy: FloatArray,
    *,
    ridge: tuple[float, float] = (0.0, 0.0),
    eps: float = float(np.finfo(np.float64).eps),
    max_rank: int | None = None,
) -> CanonicalPair:
    """Canonical correlation analysis of two views, from their covariances alone.

        max tr(AᵀΣxyB)  with  Aᵀ(Σxx + γx·I)A = Bᵀ(Σyy + γy·I)B = I

    solved by the singular value decomposition of T = Wxᵀ Σxy Wy, with W the `whitener` of a view.

    Args:
        xx: (p, p) covariance of the first view. A column of zero variance gets no weight.
        yy: (q, q) covariance of the second.
        xy: (p, q) covariance between them.
        ridge: γx and γy, ≥ 0, in the units of the covariances.
        eps: Relative precision in which the rows were multiplied.
        max_rank: What the rank cannot exceed (classes − 1, rows − 1), where that is known.

    Returns:
        Weights and correlations of every dimension that is told from rounding errors.

    Reference: Hotelling, Relations between two sets of variates, 1936; Hardoon et al., Canonical
    correlation analysis: an overview, 2004.

    >>> pair = cca(np.eye(2), np.eye(2), np.diag([0.5, 0.9]))
    >>> pair.correlations
    array([0.9, 0.5])
    """
    wx, floor_x = whitener(xx, ridge[0], eps=eps)
    wy, floor_y = whitener(yy, ridge[1], eps=eps)
    u, rho, vt = linalg.svd(wx.T @ xy @ wy, full_matrices=False, check_finite=False)
    # Σxy is known to about eps·√p of its columns' scale; whitening magnifies that by 1/√floor.
    noise = _tolerance(max(len(xx), len(yy)), eps) / np.sqrt(floor_x * floor_y)
    rank = int((rho > noise).sum())
    rank = rank if max_rank is None else min(rank, max_rank)
    a, b = wx @ u[:, :rank], wy @ vt[:rank].T
    # Correlations with the columns, unlike weights, are the same however dependent columns share.
    deviation = np.sqrt(np.diag(xx))[:, None]
    signs = component_signs(np.divide(xx @ a, deviation, out=np.zeros_like(a), where=deviation > 0))
    return CanonicalPair((a * signs, b * signs), np.minimum(rho[:rank], 1.0))


def whitener(
    covariance: FloatArray, ridge: float = 0.0, *, eps: float = float(np.finfo(np.float64).eps)
) -> tuple[FloatArray, float]:
    """Return W (p, r) with Wᵀ(Σ + γI)W = I over the range of Σ, and a floor of its spectrum.

    Columns are brought to unit variance first, so that the rank does not depend on their units.
    Where Σ + γI is far from singular, W is from its Cholesky factor. Elsewhere Σ is cut to the
    eigenvectors above the tolerance 16·√p·eps: that loses nothing, ridge or not, because Σxy has
    no part outside the range of Σ.

    Returns:
        W, and a lower bound of the eigenvalues of what was inverted, at unit variance.
    """
    variance = np.diag(covariance)
    kept = np.flatnonzero(variance > 0)
    scale = np.sqrt(variance[kept])  # (d,)
    correlation = covariance[np.ix_(kept, kept)] / np.outer(scale, scale)
    tolerance = _tolerance(len(covariance), eps)
    ridged = correlation + np.diag(ridge / scale**2)
    basis = np.eye(len(kept))
    factor, floor = _cholesky(ridged)
    if floor < 10 * tolerance:
        values, vectors = linalg.eigh(correlation, check_finite=False)
        basis = vectors[:, values > tolerance]  # (d, r)
        factor, floor = _cholesky(basis.T @ ridged @ basis)
    w = np.zeros((len(covariance), basis.shape[1]))
    inverse = linalg.solve_triangular(factor, basis.T, lower=True, check_finite=False)
    w[kept] = inverse.T / scale[:, None]
    return w, floor


def mean_variance(covariance: FloatArray) -> float:
    """Return tr(Σ)/p over the columns that vary; 0 where none does."""
    return float(np.trace(covariance) / max(int((np.diag(covariance) > 0).sum()), 1))


def oas_ridge(covariance: FloatArray, n: int) -> float:
    """Return the shrinkage of OAS as a relative ridge r = s/(1 − s): γ = r·tr(Σ)/p.

    OAS estimates (1 − s)Σ + s·tr(Σ)/p·I. As a ridge on Σ alone, with Σxy left as it is, canonical
    correlations stay at most 1. s is held to .99; columns that do not vary do not count.

    Args:
        covariance: (p, p) Σ, normalised by the number of rows.
        n: Number of independent units behind it: clips, never seconds and never pairs.

    Reference: Chen, Wiesel, Eldar, Hero, Shrinkage algorithms for MMSE covariance estimation,
    2010, in the form that scikit-learn computes.
    """
    p = max(int((np.diag(covariance) > 0).sum()), 1)
    square_of_mean = mean_variance(covariance) ** 2
    mean_square = float(np.sum(covariance**2)) / p**2
    spread = (n + 1) * (mean_square - square_of_mean / p)
    s = min((mean_square + square_of_mean) / spread, 0.99) if spread > 0 else 0.99
    return s / (1 - s)


def component_signs(loadings: FloatArray) -> FloatArray:
    """Return (r,) ±1 that make the largest entry of each column of (p, r) positive.

    >>> component_signs(np.array([[1.0, -3.0], [-2.0, 1.0]]))
    array([-1., -1.])
    """
    if loadings.shape[1] == 0:
        return np.ones(0)
    largest = np.abs(loadings).argmax(axis=0)
    return np.where(loadings[largest, np.arange(loadings.shape[1])] < 0, -1.0, 1.0)


def _tolerance(p: int, eps: float) -> float:
    """Rounding error of a (p, p) correlation matrix in spectral norm, with some room."""
    return float(16 * np.sqrt(p) * eps)


def _cholesky(matrix: FloatArray) -> tuple[FloatArray, float]:
    """Return the lower factor and a lower bound of the spectrum; 0 where there is no factor.

    1/‖M⁻¹‖₁ bounds the smallest eigenvalue from below, and LAPACK estimates it cheaply.
    """
    if not len(matrix):
        return matrix, 1.0
    try:
        factor = linalg.cholesky(matrix, lower=True, check_finite=False)
    except linalg.LinAlgError:
        return matrix, 0.0
    norm = float(np.abs(matrix).sum(axis=0).max())
    reciprocal, _ = linalg.lapack.dpocon(factor, norm, uplo="L")
    return factor, float(reciprocal) * norm

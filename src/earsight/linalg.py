"""Whitening with a rank tolerance, CCA from covariances, shrinkage, and the signs of components."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from earsight.arrays import FloatArray, IntArray

_FEW = 64  # rows of a matrix that are worked on at a time


@dataclass(frozen=True)
class CanonicalPair:
    """Canonical directions of two views, best first.

    Attributes:
        weights: (p, k) and (q, k); the projections of each view are uncorrelated with each other.
        correlations: (r,) canonical correlations ρ, descending; r is the rank of the problem and
            k = r, or what was asked for where that is less.
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
    n_weights: int | None = None,
) -> CanonicalPair:
    """Canonical correlation analysis of two views, from their covariances alone.

        max tr(AᵀΣxyB)  with  Aᵀ(Σxx + γx·I)A = Bᵀ(Σyy + γy·I)B = I

    solved by the singular value decomposition of T = Wxᵀ Σxy Wy, with W the `Whitener` of a view.

    Args:
        xx: (p, p) covariance of the first view. A column of zero variance gets no weight.
        yy: (q, q) covariance of the second.
        xy: (p, q) covariance between them.
        ridge: γx and γy, ≥ 0, in the units of the covariances.
        eps: Relative precision in which the rows were multiplied.
        max_rank: What the rank cannot exceed (classes − 1, rows − 1), where that is known.
        n_weights: How many directions to return at most, best first; None: all.

    Returns:
        Weights, and correlations of every dimension that is told from rounding errors.

    Reference: Hotelling, Relations between two sets of variates, 1936; Hardoon et al., Canonical
    correlation analysis: an overview, 2004.

    >>> pair = cca(np.eye(2), np.eye(2), np.diag([0.5, 0.9]))
    >>> pair.correlations
    array([0.9, 0.5])
    """
    wx, wy = whitener(xx, ridge[0], eps=eps), whitener(yy, ridge[1], eps=eps)
    t = wy.apply(wx.apply(xy).T).T  # (rank of x, rank of y)
    rho, left, right = _svd(t)
    # Σxy is known to about eps·√p of its columns' scale; whitening magnifies that by 1/√floor.
    noise = _tolerance(max(len(xx), len(yy)), eps) / np.sqrt(wx.floor * wy.floor)
    rank = int((rho > noise).sum())
    rank = rank if max_rank is None else min(rank, max_rank)
    k = rank if n_weights is None else min(rank, n_weights)
    a, b = wx.weights(left(k)), wy.weights(right(k))
    # Correlations with the columns, unlike weights, are the same however dependent columns share.
    deviation = np.sqrt(np.diag(xx))[:, None]
    signs = component_signs(np.divide(xx @ a, deviation, out=np.zeros_like(a), where=deviation > 0))
    return CanonicalPair((a * signs, b * signs), np.minimum(rho[:rank], 1.0))  # 1 + 1e-16 is 1


@dataclass(frozen=True, kw_only=True)
class Whitener:
    """W (p, r) with Wᵀ(Σ + γI)W = I over the range of Σ, as the factors W = D⁻¹ V L⁻ᵀ.

    Attributes:
        kept: (d,) the columns that vary.
        scale: (d,) their standard deviations, D.
        basis: (d, r) V, orthonormal; None where Σ has full rank and V = I.
        factor: (r, r) L, lower triangular; what is above the diagonal does not count.
        floor: A lower bound of the eigenvalues of LLᵀ.
    """

    n_columns: int
    kept: IntArray
    scale: FloatArray
    basis: FloatArray | None
    factor: FloatArray
    floor: float

    def apply(self, matrix: FloatArray) -> FloatArray:
        """Return WᵀM (r, n) for M (p, n)."""
        from scipy import linalg

        kept = matrix if len(self.kept) == len(matrix) else matrix[self.kept]
        scaled = kept / self.scale[:, None]  # (d, n)
        turned = scaled if self.basis is None else self.basis.T @ scaled  # (r, n)
        return np.asarray(
            linalg.solve_triangular(self.factor, turned, lower=True, check_finite=False)
        )

    def weights(self, directions: FloatArray) -> FloatArray:
        """Return WU (p, k) for U (r, k); columns that do not vary get 0."""
        from scipy import linalg

        solved = linalg.solve_triangular(
            self.factor, directions, lower=True, trans="T", check_finite=False
        )
        turned = solved if self.basis is None else self.basis @ solved  # (d, k)
        weights = np.zeros((self.n_columns, directions.shape[1]))
        weights[self.kept] = turned / self.scale[:, None]
        return weights


def whitener(
    covariance: FloatArray, ridge: float = 0.0, *, eps: float = float(np.finfo(np.float64).eps)
) -> Whitener:
    """Factor Σ + γI over the range of Σ.

    Columns are brought to unit variance first, so that the rank does not depend on their units.
    Where Σ + γI is far from singular, its Cholesky factor does. Elsewhere Σ is cut to the
    eigenvectors above the tolerance 16·√p·eps: that loses nothing, ridge or not, because Σxy has
    no part outside the range of Σ.

    Args:
        covariance: (p, p) Σ.
        ridge: γ ≥ 0, in the units of Σ.
        eps: Relative precision in which the rows behind Σ were multiplied.
    """
    from scipy import linalg

    p = len(covariance)
    kept = np.flatnonzero(np.diag(covariance) > 0)
    scale = np.sqrt(np.diag(covariance)[kept])  # (d,)
    correlation = covariance if len(kept) == p else covariance[np.ix_(kept, kept)]
    correlation = rescaled(correlation, 1 / scale, 1 / scale)
    diagonal = correlation.reshape(-1)[:: len(kept) + 1]  # a view
    variances, tolerance = diagonal.copy(), _tolerance(p, eps)
    diagonal += ridge / scale**2
    factor, floor = _cholesky(correlation)
    if floor >= 10 * tolerance:
        return Whitener(n_columns=p, kept=kept, scale=scale, basis=None, factor=factor, floor=floor)
    below = np.tril(correlation, -1)  # LAPACK took what is above
    correlation = below + below.T
    np.fill_diagonal(correlation, variances)
    values, vectors = linalg.eigh(correlation, check_finite=False)
    basis = vectors[:, values > tolerance]  # (d, r)
    np.fill_diagonal(correlation, variances + ridge / scale**2)
    factor, floor = _cholesky(basis.T @ correlation @ basis)
    return Whitener(n_columns=p, kept=kept, scale=scale, basis=basis, factor=factor, floor=floor)


def rescaled(
    matrix: FloatArray, rows: FloatArray, columns: FloatArray, out: FloatArray | None = None
) -> FloatArray:
    """Return diag(rows) M diag(columns) for M (p, q), into `out` where given (M itself may be)."""
    result = np.empty(matrix.shape) if out is None else out
    for start in range(0, len(matrix), _FEW):  # what is read once stays in the cache
        few = slice(start, start + _FEW)
        np.multiply(matrix[few], columns, out=result[few])
        result[few] *= rows[few, None]
    return result


def add_square(rows: FloatArray, square: FloatArray, *, keep: bool = True) -> None:
    """Add XᵀX to the lower triangle of `square` in place, in half the work of a product.

    Args:
        rows: (n, d) X, float32 or float64, row by row in memory.
        square: (d, d) of the same precision, row by row in memory; what is above the diagonal is
            not touched.
        keep: False: write XᵀX over what was there.
    """
    from scipy import linalg

    syrk = linalg.blas.ssyrk if rows.dtype == np.float32 else linalg.blas.dsyrk
    # BLAS reads column by column: both transposes, so the triangle that it calls the upper one.
    syrk(1.0, rows.T, 1.0 if keep else 0.0, square.T, overwrite_c=1)


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
    mean_square = float(np.vdot(covariance, covariance)) / p**2
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
    """Return the lower factor, and a lower bound of the spectrum: 0 where there is no factor.

    The factor takes the memory of `matrix` on and above its diagonal. 1/‖M⁻¹‖₁ bounds the smallest
    eigenvalue from below, and LAPACK estimates it cheaply.
    """
    from scipy import linalg

    if not len(matrix):
        return matrix, 1.0
    symmetric = np.ascontiguousarray(matrix).T  # the same matrix, in the order that LAPACK reads
    norm = float(linalg.lapack.dlange("1", symmetric))
    factor, info = linalg.lapack.dpotrf(symmetric, lower=1, clean=0, overwrite_a=1)
    if info != 0:
        return matrix, 0.0
    reciprocal, _ = linalg.lapack.dpocon(factor, norm, uplo="L")
    return factor, float(reciprocal) * norm


def _svd(
    matrix: FloatArray,
) -> tuple[FloatArray, Callable[[int], FloatArray], Callable[[int], FloatArray]]:
    """Return the singular values, and functions of k that return the first k vectors of each side.

    The long side is brought to the short one's length first, and only the vectors wanted go back.
    """
    from scipy import linalg

    if matrix.shape[0] < matrix.shape[1]:
        values, left, right = _svd(matrix.T)
        return values, right, left
    q, r = linalg.qr(matrix, mode="economic", check_finite=False)
    u, values, vt = linalg.svd(r, check_finite=False)
    return values, lambda k: np.asarray(q @ u[:, :k]), lambda k: np.asarray(vt[:k].T)

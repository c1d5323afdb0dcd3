"""Kernel ridge regression onto the classes, with exact scores for held-out folds.

It maps rows to one number a class. Fitting it solves one linear system; what it would have
said about rows of a fold, had it never seen them, follows from the same solution without fitting
again. So its ridge is chosen by honest predictions at the price of a single fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from earsight.arrays import FloatArray, IntArray
from earsight.methods._checks import check_array
from earsight.methods._posterior.posteriors import log_loss, softmax

Kernel = Literal["rbf", "narrow", "laplacian", "linear"]
KERNEL_RIDGES = (0.1, 0.4, 1.5, 6.0)  # times n/1000
LINEAR_RIDGES = (5.0, 20.0, 100.0, 400.0)
TEMPERATURES = np.geomspace(0.03, 0.8, 16)
CLIP = 8.0  # deviations beyond this are outliers that should not rule a kernel
_JITTER = 1e-6  # of the landmarks' kernel, whose diagonal is 1


@dataclass(frozen=True)
class Scaling:
    """Rows as the kernels see them: signed root or not, zero mean, unit deviation, clipped at ±8.

    Columns that do not vary become 0.
    """

    root: bool
    mean: FloatArray
    factor: FloatArray

    @classmethod
    def of(cls, x: FloatArray, root: bool) -> Self:
        """Learn it from rows (n, d)."""
        values = _rooted(x) if root else x.astype(np.float64)
        mean, deviation = values.mean(axis=0), values.std(axis=0)
        varies = deviation > 8 * float(np.finfo(x.dtype).eps) * np.abs(values).max(axis=0)
        factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
        return cls(root, mean, factor)

    def check(self, d: int) -> None:
        """Check what was restored, for rows (n, d)."""
        check_array("mean", self.mean, d)
        check_array("factor", self.factor, d)

    @property
    def n_varying(self) -> int:
        """Number of columns that vary, at least 1."""
        return max(int((self.factor > 0).sum()), 1)

    def apply(self, x: FloatArray) -> FloatArray:
        """Map rows (n, d) to (n, d) float64."""
        values = _rooted(x) if self.root else x.astype(np.float64)
        values -= self.mean
        values *= self.factor
        return np.clip(values, -CLIP, CLIP, out=values)


def _rooted(x: FloatArray) -> FloatArray:
    return np.asarray(np.sign(x) * np.sqrt(np.abs(x)), dtype=np.float64)


def squared_distances(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return ‖xᵢ − yⱼ‖², (n, m)."""
    squares: FloatArray = x @ y.T
    squares *= -2
    squares += (x**2).sum(axis=1)[:, None]
    squares += (y**2).sum(axis=1)
    return np.maximum(squares, 0.0, out=squares)


def kernel_of(squares: FloatArray, kind: Kernel, d: int) -> FloatArray:
    """Return a kernel (n, m) of squared distances s: exp(−½ s/d) for "rbf".

    For "narrow" exp(−2 s/d), the same at half the width; for "laplacian" exp(−√(s/d)).
    """
    scaled = squares / d
    if kind == "laplacian":
        np.sqrt(scaled, out=scaled)
        np.negative(scaled, out=scaled)
    else:
        scaled *= -2.0 if kind == "narrow" else -0.5
    return np.exp(scaled, out=scaled)


def dual_ridge(
    kernel: FloatArray, y: FloatArray, folds: Sequence[IntArray], ridges: Sequence[float]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the coefficients α and the out-of-fold scores of kernel ridge, for each ridge.

        G = (K + λI)⁻¹,    α = G Y,    scores of fold B without its rows:  Y_B − (G_BB)⁻¹ α_B

    Args:
        kernel: (n, n) K, positive semi-definite.
        y: (n, C) targets.
        folds: Row numbers of each fold, ascending; together all rows, once.
        ridges: λ > 0.

    Reference: the block form of the leave-one-out formula (Rifkin, Lippert, Notes on regularized
    least squares, 2007).
    """
    from scipy import linalg

    for ridge in ridges:
        ridged = kernel.copy(order="F")  # LAPACK's order: solved in place
        ridged[np.diag_indices_from(ridged)] += ridge
        factor = linalg.cholesky(ridged, lower=True, overwrite_a=True, check_finite=False)
        alpha = linalg.cho_solve((factor, True), y, check_finite=False)
        inverse, _ = linalg.lapack.dpotri(factor, lower=1, overwrite_c=True)  # lower half of G
        held_out = np.empty_like(y)
        for rows in folds:  # sorted, so that the lower half of G_BB is in the lower half of G
            block = inverse[np.ix_(rows, rows)]
            block = linalg.cho_factor(block, lower=True, overwrite_a=True, check_finite=False)
            held_out[rows] = y[rows] - linalg.cho_solve(block, alpha[rows], check_finite=False)
        yield alpha, held_out


def primal_ridge(
    x: FloatArray, y: FloatArray, folds: Sequence[IntArray], ridges: Sequence[float]
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield the weights W and the out-of-fold scores of ridge regression, for each ridge.

        W = (XᵀX + λI)⁻¹ XᵀY;    without fold B:  XᵀX − X_BᵀX_B and XᵀY − X_BᵀY_B instead

    Args:
        x: (n, d) rows; where float32, products are too, and the systems are solved in float64.
        y, folds, ridges: As for `dual_ridge`.
    """
    from scipy import linalg

    parts = [x[rows] for rows in folds]
    grams = [(part.T @ part).astype(np.float64) for part in parts]
    moments = [part.T @ y[rows] for part, rows in zip(parts, folds, strict=True)]
    gram, moment = np.sum(grams, axis=0), np.sum(moments, axis=0)

    def solve(a: FloatArray, b: FloatArray, ridge: float) -> FloatArray:
        ridged = a.copy()
        ridged[np.diag_indices_from(ridged)] += ridge
        return np.asarray(
            linalg.solve(ridged, b, assume_a="pos", overwrite_a=True, check_finite=False)
        )

    for ridge in ridges:
        held_out = np.empty((len(x), y.shape[1]))
        for rows, part, own_gram, own_moment in zip(folds, parts, grams, moments, strict=True):
            held_out[rows] = part @ solve(gram - own_gram, moment - own_moment, ridge)
        yield solve(gram, moment, ridge), held_out


def landmark_features(kernel: FloatArray, among: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return features whose inner products approximate a kernel, and the map that makes them.

        Φ = K L⁻ᵀ,    LLᵀ = K of the landmarks with themselves

    so ΦΦᵀ is the Nyström approximation, exact where the landmarks are all rows.

    Args:
        kernel: (n, m) of rows with landmarks.
        among: (m, m) of landmarks with each other.

    Returns:
        Φ (n, m) and L⁻ᵀ (m, m).
    """
    from scipy import linalg

    ridged = among.copy()
    ridged[np.diag_indices_from(ridged)] += _JITTER
    factor = linalg.cholesky(ridged, lower=True, check_finite=False)
    inverse = linalg.solve_triangular(factor, np.eye(len(factor)), lower=True, check_finite=False)
    return kernel @ inverse.T.astype(kernel.dtype), np.asarray(inverse.T)


def stackers(
    x: FloatArray, y: FloatArray, penalties: FloatArray, rounds: int = 60
) -> tuple[FloatArray, FloatArray]:
    """Fit multinomial logistic regressions, all penalties at once.

        min  −Σᵢ yᵢ·log softmax(xᵢW + b) + ½ γ‖W‖²

    by Nesterov's accelerated gradient in the eigenbasis of XᵀX, where Böhning's bound of the
    curvature, ½λ + γ for each direction, is the step. No line search, no random start.

    Args:
        x: (n, d) rows.
        y: (n, C) targets, rows that sum to 1.
        penalties: (S,) γ > 0.
        rounds: Steps; fewer than convergence needs err on the side of small weights.

    Returns:
        W (S, d, C) and b (S, C).

    Reference: Böhning, Multinomial logistic regression algorithm, 1992.
    """
    from scipy import linalg

    mean = x.mean(axis=0)
    centred = x - mean
    values, vectors = linalg.eigh(centred.T @ centred, check_finite=False)
    n, n_classes = y.shape
    # Rows last and classes first: sums over classes then run along memory. float32 is enough.
    rotated = np.vstack([(centred @ vectors).T, np.ones(n)]).astype(np.float32)  # (d + 1, n)
    wanted = np.ascontiguousarray(y.T, dtype=np.float32)[:, None]  # (C, 1, n)
    curvature = np.append(np.maximum(values, 0.0), n)
    gamma = np.outer(penalties, np.append(np.ones(len(values)), 0.0))  # (S, d + 1), bias is free
    step = (1 / (0.5 * curvature + gamma + 1e-9)).astype(np.float32)
    gamma = gamma.astype(np.float32)
    w: FloatArray = np.zeros((n_classes, len(penalties), len(curvature)), np.float32)
    ahead: FloatArray = w
    for turn in range(rounds):
        logits = (ahead.reshape(-1, len(curvature)) @ rotated).reshape(*w.shape[:2], n)
        logits -= logits.max(axis=0)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=0)
        logits -= wanted  # (C, S, n)
        gradient = (logits.reshape(-1, n) @ rotated.T).reshape(w.shape) + gamma * ahead
        new = ahead - step * gradient
        ahead = new + np.float32(turn / (turn + 3)) * (new - w)
        w = new
    solved = w.astype(np.float64).transpose(1, 2, 0)  # (S, d + 1, C)
    weights = vectors @ solved[:, :-1]
    return weights, solved[:, -1] - mean @ weights


@dataclass(frozen=True, kw_only=True)
class FittedRidge:
    """One kernel ridge, with the ridge and the temperature that predict held-out folds best.

    Attributes:
        ridge: λ, for kernels in units of n/1000.
        temperature: T of softmax(score/T).
        loss: Log-loss of that posterior on held-out rows.
        coefficients: What a row's kernel values (or the scaled row itself) are multiplied by.
        held_out: (n, C) scores of the rows while they are held out.
    """

    ridge: float
    temperature: float
    loss: float
    coefficients: FloatArray
    held_out: FloatArray


@dataclass(frozen=True, kw_only=True)
class KernelRidge:
    """One kernel ridge before its ridge is known.

    Attributes:
        rows: (n, d) scaled.
        squares: (n, m) squared distances to the references; not looked at if linear.
        chosen: (m,) which rows are the references: all, or landmarks.
        kind: The kernel.
        d: What it is divided by: the columns that vary.
    """

    rows: FloatArray
    squares: FloatArray
    chosen: IntArray
    kind: Kernel
    d: int

    def solve(
        self,
        targets: FloatArray,
        codes: IntArray,
        folds: Sequence[IntArray],
        ridges: Sequence[float] | None = None,
    ) -> FittedRidge:
        """Choose the ridge, of `ridges` or the usual ones, and the temperature.

        Args:
            targets: (n, C) what is learned; the mean is taken off and added to the scores.
            codes: (n,) classes, for the log-loss.
            folds: Row numbers of each fold, ascending.
            ridges: λ; for kernels in units of n/1000.
        """
        ridges = ridges or (LINEAR_RIDGES if self.kind == "linear" else KERNEL_RIDGES)
        offset = targets.mean(axis=0)
        solutions, back = self._solutions(targets - offset, folds, ridges)
        tried = []
        for ridge, (weights, held_out) in zip(ridges, solutions, strict=True):
            scores = held_out + offset
            losses = [log_loss(softmax(scores / t), codes) for t in TEMPERATURES]
            best = int(np.argmin(losses))
            tried.append(
                FittedRidge(
                    ridge=ridge,
                    temperature=float(TEMPERATURES[best]),
                    loss=losses[best],
                    coefficients=weights,
                    held_out=scores,
                )
            )
        found = min(tried, key=lambda one: one.loss)
        return found if back is None else replace(found, coefficients=back @ found.coefficients)

    def _solutions(
        self, y: FloatArray, folds: Sequence[IntArray], ridges: Sequence[float]
    ) -> tuple[Iterator[tuple[FloatArray, FloatArray]], FloatArray | None]:
        """Return the solutions of each ridge, and what brings their weights to coefficients."""
        n, width = self.rows.shape
        if self.kind == "linear" and width < n:
            root = np.sqrt(self.d)
            return primal_ridge(self.rows / root, y, folds, ridges), np.eye(width) / root
        if self.kind == "linear":
            gram = self.rows @ self.rows.T / self.d
            return dual_ridge(gram, y, folds, ridges), self.rows.T / self.d
        scaled = [ridge * n / 1000 for ridge in ridges]
        kernel = kernel_of(self.squares, self.kind, self.d)
        if len(self.chosen) == n:
            return dual_ridge(kernel, y, folds, scaled), None
        landmarks = self.rows[self.chosen].astype(np.float64)
        among = kernel_of(squared_distances(landmarks, landmarks), self.kind, self.d)
        features, back = landmark_features(kernel, among)
        return primal_ridge(features, y, folds, scaled), back

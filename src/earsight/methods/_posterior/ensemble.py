"""The posterior of one modality: kernel ridges, stackers on their scores, one mixture of all."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels
from earsight.methods._checks import check_array, check_choice, check_number
from earsight.methods._posterior.kernel_ridge import (
    FittedRidge,
    Kernel,
    KernelRidge,
    Scaling,
    kernel_of,
    squared_distances,
    stackers,
)
from earsight.methods._posterior.posteriors import mixture_weights, softmax

MAX_EXACT = 4000  # rows; above, kernels are seen through landmarks
N_LANDMARKS = 1000
KINDS: tuple[Kernel, ...] = ("rbf", "narrow", "laplacian", "linear")
ROOTS = (False, True)
PENALTIES = 1 / np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
MAX_STACKED = 5e8  # n·C² beyond which stackers would take longer than they are worth


@dataclass(frozen=True)
class Ensemble:
    """A posterior over classes for the rows of one modality, as arrays.

        p(x) = Σₖ wₖ pₖ(x),    pₖ = softmax(sₖ(x)/Tₖ) for the K kernel ridges, then the stackers

    Attributes:
        kinds: The kernels, for either transform.
        references: (m, d) rows that the kernels compare with: the training rows, or landmarks.
        scalings: For both transforms the mean and the factor of each column, (2, 2, d).
        coefficients: For each ridge what its kernel (or its scaled row) is multiplied by.
        offset: (C,) mean target, added to every score.
        ridges, temperatures: (K,).
        spread: (2, KC) mean and deviation of the held-out scores.
        stack_weights, stack_bias: (S, KC, C) and (S, C).
        weights: (K + S,) w.
    """

    kinds: list[Kernel]
    references: FloatArray
    scalings: FloatArray
    coefficients: list[FloatArray]
    offset: FloatArray
    ridges: FloatArray
    temperatures: FloatArray
    spread: FloatArray
    stack_weights: FloatArray
    stack_bias: FloatArray
    weights: FloatArray

    def posterior(self, x: FloatArray) -> FloatArray:
        """Return p (n, C) of rows (n, d)."""
        scores: list[FloatArray] = []
        for scaling in _scalings(self.scalings):
            rows, references = scaling.apply(x), scaling.apply(self.references)
            squares = squared_distances(rows, references)
            for kind in self.kinds:
                seen = rows if kind == "linear" else kernel_of(squares, kind, scaling.n_varying)
                own = self.coefficients[len(scores)]
                scores.append(seen @ own + self.offset)
        return np.asarray(np.tensordot(self.weights, self._members(np.array(scores)), axes=1))

    def _members(self, scores: FloatArray) -> FloatArray:
        """Return the posterior of every member, (K + S, n, C), of scores (K, n, C)."""
        alone = softmax(scores / self.temperatures[:, None, None])
        if not len(self.stack_bias):
            return alone
        stacked = softmax(
            _side_by_side(scores, self.spread) @ self.stack_weights + self.stack_bias[:, None]
        )
        return np.concatenate([alone, stacked])

    def check(self, d: int, n_classes: int) -> None:
        """Check what was restored, for rows (n, d)."""
        for kind in self.kinds:
            check_choice("kinds", kind, KINDS)
        m, stacked = len(self.references), len(self.stack_bias)
        ridges = len(ROOTS) * len(self.kinds)
        check_number("stackers", stacked, at_most=len(PENALTIES))
        check_array("references", self.references, m, d)
        check_array("scalings", self.scalings, len(ROOTS), 2, d)
        check_array("offset", self.offset, n_classes)
        check_array("temperatures", self.temperatures, ridges)
        check_array("spread", self.spread, 2, ridges * n_classes)
        check_array("stack_weights", self.stack_weights, stacked, ridges * n_classes, n_classes)
        check_array("stack_bias", self.stack_bias, stacked, n_classes)
        check_array("weights", self.weights, ridges + stacked)
        kinds = self.kinds * len(ROOTS)
        for kind, own in zip(kinds, self.coefficients, strict=True):
            check_array("coefficients", own, d if kind == "linear" else m, n_classes)

    def state(self) -> dict[str, Any]:
        """Return the arrays by name, as a saved model holds them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Undo `state`."""
        return cls(**state)


def fit_ensemble(
    x: FloatArray,
    targets: FloatArray,
    *,
    codes: IntArray,
    folds: list[IntArray],
    keys: Labels,
    ridges: FloatArray | None = None,
) -> tuple[Ensemble, FloatArray]:
    """Fit the ensemble of one modality, every choice by predictions for held-out folds.

    Args:
        x: (n, d) rows.
        targets: (n, C) what the ridges learn, rows that sum to 1: one-hot, or softer.
        codes: (n,) class of each row: what log-losses are measured against.
        folds: Row numbers of each fold.
        keys: (n,) the lowest are the landmarks.
        ridges: (K,) of an earlier fit on the same rows, to be used again; None: chosen.

    Returns:
        The ensemble, and its posteriors (n, C) of the rows while they are held out.
    """
    exact = len(x) <= MAX_EXACT
    chosen = np.arange(len(x)) if exact else np.sort(np.argsort(keys)[:N_LANDMARKS])
    offset = targets.mean(axis=0)
    scalings = [Scaling.of(x, root) for root in ROOTS]
    fitted: list[FittedRidge] = []
    for scaling in scalings:
        rows = scaling.apply(x)
        if not exact:
            rows = rows.astype(np.float32)
        squares = squared_distances(rows, rows[chosen])
        if exact:
            np.fill_diagonal(squares, 0.0)  # what rounding left there, the Laplacian would magnify
        for kind in KINDS:
            given = None if ridges is None else (float(ridges[len(fitted)]),)
            problem = KernelRidge(
                rows=rows, squares=squares, chosen=chosen, kind=kind, d=scaling.n_varying
            )
            fitted.append(problem.solve(targets, codes, folds, given))
    held_out = np.array([each.held_out for each in fitted])  # (K, n, C)
    temperatures = np.array([each.temperature for each in fitted])
    spread = np.stack([_flat(held_out).mean(axis=0), _flat(held_out).std(axis=0) + 1e-9])
    stack_weights, stack_bias, stacked = _stack(held_out, spread, targets, folds)
    members = np.concatenate([softmax(held_out / temperatures[:, None, None]), stacked])
    weights = mixture_weights(members[:, np.arange(len(x)), codes].T)
    ensemble = Ensemble(
        kinds=list(KINDS),
        references=x[chosen],
        scalings=np.array([[each.mean, each.factor] for each in scalings]),
        coefficients=[each.coefficients for each in fitted],
        offset=offset,
        ridges=np.array([each.ridge for each in fitted]),
        temperatures=temperatures,
        spread=spread,
        stack_weights=stack_weights,
        stack_bias=stack_bias,
        weights=weights,
    )
    return ensemble, np.asarray(np.tensordot(weights, members, axes=1))


def _stack(
    scores: FloatArray, spread: FloatArray, targets: FloatArray, folds: list[IntArray]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit the stackers; return their weights, biases and held-out posteriors (S, n, C)."""
    n, n_classes = targets.shape
    if n * n_classes**2 > MAX_STACKED:
        width = len(scores) * n_classes
        return (
            np.empty((0, width, n_classes)),
            np.empty((0, n_classes)),
            np.empty((0, n, n_classes)),
        )
    x = _side_by_side(scores, spread)
    held_out = np.empty((len(PENALTIES), n, n_classes))
    for rows in folds:
        others = np.setdiff1d(np.arange(n), rows)
        w, b = stackers(x[others], targets[others], PENALTIES)
        held_out[:, rows] = softmax(x[rows] @ w + b[:, None])
    w, b = stackers(x, targets, PENALTIES)
    return w, b, held_out


def _flat(scores: FloatArray) -> FloatArray:
    """Return scores (K, n, C) as (n, KC)."""
    return np.concatenate(list(scores), axis=1)


def _side_by_side(scores: FloatArray, spread: FloatArray) -> FloatArray:
    return np.asarray((_flat(scores) - spread[0]) / spread[1])


def _scalings(arrays: FloatArray) -> list[Scaling]:
    return [Scaling(root, mean, factor) for root, (mean, factor) in zip(ROOTS, arrays, strict=True)]

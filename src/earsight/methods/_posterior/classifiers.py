"""Calibrated classifiers, fitted by scikit-learn and kept as arrays."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np

from earsight.arrays import FloatArray, IntArray
from earsight.methods._checks import check_array, check_number, check_same
from earsight.methods._posterior.kernel_ridge import Kernel, KernelRidge, Scaling, squared_distances
from earsight.methods._posterior.posteriors import softmax

PLATT_ROUNDS = 100


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep scikit-learn from warning of many classes, and of an optimum that is nearly reached."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        warnings.filterwarnings("ignore", "lbfgs failed to converge", UserWarning)
        yield


@dataclass(frozen=True)
class Logistic:
    """softmax(xW + b).

    Attributes:
        weights, bias: (d, C) and (C,).
    """

    weights: FloatArray
    bias: FloatArray

    @classmethod
    def fit(cls, x: FloatArray, codes: IntArray) -> Self:
        """Fit scikit-learn's logistic regression with its usual penalty; C ≥ 2 classes."""
        from sklearn.linear_model import LogisticRegression

        with _quiet():
            model = LogisticRegression(max_iter=300).fit(x, codes)
        weights, bias = model.coef_.T, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn keeps the second class's alone
            weights = np.hstack([np.zeros_like(weights), weights])
            bias = np.append(0.0, bias)
        return cls(weights, bias)

    def posterior(self, x: FloatArray) -> FloatArray:
        """Return (n, C)."""
        return softmax(x @ self.weights + self.bias)

    def check(self, d: int, n_classes: int) -> None:
        """Check what was restored, for rows (n, d)."""
        check_array("weights", self.weights, d, n_classes)
        check_array("bias", self.bias, n_classes)


@dataclass(frozen=True, kw_only=True)
class SVM:
    """An RBF support vector machine, one class against one, whose votes are summed by class.

    Attributes:
        support: (m, d) support vectors, class by class.
        dual: (C − 1, m) their coefficients against each other class.
        sizes: (C,) support vectors of each class.
        bias: (C(C − 1)/2,) of each pair of classes.
        gamma: Of the kernel exp(−γ‖x − y‖²).
    """

    support: FloatArray
    dual: FloatArray
    sizes: IntArray
    bias: FloatArray
    gamma: float

    @classmethod
    def fit(cls, x: FloatArray, codes: IntArray) -> Self:
        """Fit scikit-learn's machine with its usual parameters; C ≥ 2 classes."""
        from sklearn.svm import SVC

        variance = float(x.var())
        gamma = 1 / (x.shape[1] * variance) if variance > 0 else 1.0  # scikit-learn's "scale"
        with _quiet():
            model = SVC(gamma=gamma).fit(x, codes)
        sign = -1.0 if len(model.classes_) == 2 else 1.0  # for two classes it turns them round
        return cls(
            support=model.support_vectors_,
            dual=sign * model.dual_coef_,
            sizes=model.n_support_.astype(np.intp),
            bias=sign * model.intercept_,
            gamma=gamma,
        )

    def check(self, d: int, n_classes: int) -> None:
        """Check what was restored, for rows (n, d)."""
        m = len(self.support)
        check_array("support", self.support, m, d)
        check_array("dual", self.dual, n_classes - 1, m)
        check_array("bias", self.bias, n_classes * (n_classes - 1) // 2)
        sizes = [int(size) for size in self.sizes.tolist()]
        check_same("sizes", (len(sizes), min(sizes) >= 0, sum(sizes)), (n_classes, True, m))
        check_number("gamma", self.gamma, at_least=0)

    def decisions(self, x: FloatArray) -> FloatArray:
        """Return (n, C): votes won by each class, plus how surely, between −⅓ and ⅓.

        Of two classes the decision itself, for one and against the other.
        """
        kernel = np.exp(-self.gamma * squared_distances(x, self.support))
        n_classes = len(self.sizes)
        ends = np.cumsum(self.sizes)
        parts = [
            kernel[:, end - size : end] @ self.dual[:, end - size : end].T  # (n, C − 1)
            for size, end in zip(self.sizes, ends, strict=True)
        ]
        if n_classes == 2:
            one = parts[0] + parts[1] + self.bias
            return np.hstack([one, -one])
        votes, surely = np.zeros((len(x), n_classes)), np.zeros((len(x), n_classes))
        for (i, j), bias in zip(combinations(range(n_classes), 2), self.bias, strict=True):
            decision = parts[i][:, j - 1] + parts[j][:, i] + bias  # above 0 for i
            votes[:, i] += decision >= 0
            votes[:, j] += decision < 0
            surely[:, i] += decision
            surely[:, j] -= decision
        return np.asarray(votes + surely / (3 * (np.abs(surely) + 1)))


def platt(decision: FloatArray, positive: FloatArray) -> tuple[float, float]:
    """Return a and b of P(positive) = 1/(1 + exp(−(a f + b))), by Newton's method.

    Targets are (n₊ + 1)/(n₊ + 2) and 1/(n₋ + 2) instead of 1 and 0.

    Args:
        decision: (n,) f of rows that were held out.
        positive: (n,) truth values.

    Reference: Platt, 1999; Lin, Lin, Weng, A note on Platt's probabilistic outputs, 2007.
    """
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    targets = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    rows = np.stack([decision, np.ones_like(decision)])  # (2, n)
    found = np.array([0.0, np.log((n_positive + 1) / (n_negative + 1))])

    def loss(point: FloatArray) -> float:
        z = point @ rows
        return float((np.logaddexp(0.0, z) - targets * z).sum())

    for _ in range(PLATT_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(found @ rows, -500, 500)))
        gradient = rows @ (p - targets)
        if np.abs(gradient).max() < 1e-9 * len(decision):
            break
        hessian = (rows * (p * (1 - p))) @ rows.T + 1e-12 * np.eye(2)
        step, size, before = np.linalg.solve(hessian, gradient), 1.0, loss(found)
        while size > 1e-10 and loss(found - size * step) > before:
            size /= 2
        found = found - size * step
    return float(found[0]), float(found[1])


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """Scaling, classifier, and, for a support vector machine, its calibration.

    Attributes:
        scaling: Of the rows.
        model: The classifier, over all classes.
        slopes, offsets: (C,) Platt's a and b; empty for a logistic regression.
    """

    scaling: Scaling
    model: Logistic | SVM
    slopes: FloatArray
    offsets: FloatArray

    def posterior(self, x: FloatArray) -> FloatArray:
        """Return p (n, C) of rows as they were given to `fit`."""
        rows = self.scaling.apply(x)
        if isinstance(self.model, Logistic):
            return self.model.posterior(rows)
        z = self.model.decisions(rows) * self.slopes + self.offsets
        own = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
        return np.asarray(own / own.sum(axis=1, keepdims=True))

    def check(self, d: int, n_classes: int) -> None:
        """Check what was restored, for rows (n, d)."""
        self.scaling.check(d)
        self.model.check(d, n_classes)
        if isinstance(self.model, SVM):
            check_array("slopes", self.slopes, n_classes)
            check_array("offsets", self.offsets, n_classes)

    def state(self) -> dict[str, Any]:
        """Return the arrays by name, as a saved model holds them."""
        return {
            "kind": type(self.model).__name__,
            "scaling": vars(self.scaling),
            "model": vars(self.model),
            "slopes": self.slopes,
            "offsets": self.offsets,
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Undo `state`."""
        kind = {"Logistic": Logistic, "SVM": SVM}[state["kind"]]
        return cls(
            scaling=Scaling(**state["scaling"]),
            model=kind(**state["model"]),
            slopes=state["slopes"],
            offsets=state["offsets"],
        )


def fit_classifier(
    name: str,
    x: FloatArray,
    codes: IntArray,
    *,
    folds: Sequence[IntArray],
    order: IntArray,
) -> Classifier:
    """Fit "svm" or "logistic" to rows (n, d) of classes 0 … C − 1, all present, in an order.

    The square root is taken or not by what a ridge regression of the same form, with exact
    held-out scores, says of the folds: its log-loss costs a fraction of fitting the classifier.
    """
    n_classes = int(codes.max()) + 1
    targets = np.eye(n_classes)[codes]

    def loss(scaling: Scaling) -> float:
        rows = scaling.apply(x)
        squares = squared_distances(rows, rows) if name == "svm" else np.empty((0, 0))
        kind: Kernel = "rbf" if name == "svm" else "linear"
        chosen = np.arange(len(rows))
        problem = KernelRidge(
            rows=rows, squares=squares, chosen=chosen, kind=kind, d=scaling.n_varying
        )
        return problem.solve(targets, codes, folds).loss

    scaling = min((Scaling.of(x, root) for root in (False, True)), key=loss)
    rows = scaling.apply(x)
    if name == "logistic":
        fitted = Logistic.fit(rows[order], codes[order])
        return Classifier(scaling=scaling, model=fitted, slopes=np.empty(0), offsets=np.empty(0))
    held_out = np.full((len(x), n_classes), np.nan)
    for test in folds:
        train = order[~np.isin(order, test)]
        present = np.unique(codes[train])
        if len(present) > 1:
            machine = SVM.fit(rows[train], codes[train])
            held_out[np.ix_(test, present)] = machine.decisions(rows[test])
    slopes, offsets = _calibrate(held_out, targets.astype(bool))
    machine = SVM.fit(rows[order], codes[order])
    return Classifier(scaling=scaling, model=machine, slopes=slopes, offsets=offsets)


def _calibrate(decisions: FloatArray, positive: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return Platt's a and b of each class, (C,).

    Args:
        decisions: (n, C) of held-out rows; NaN where the class was not among the others.
        positive: (n, C) truth values. A class never seen right shares what all have in common.
    """
    known = ~np.isnan(decisions)
    if not known.any():  # too few rows to hold any out
        return np.ones(decisions.shape[1]), np.zeros(decisions.shape[1])
    shared = platt(decisions[known], positive[known])
    found = [
        platt(decisions[of, c], positive[of, c]) if positive[of, c].any() else shared
        for c, of in enumerate(known.T)
    ]
    slopes, offsets = np.array(found).T
    return slopes, offsets

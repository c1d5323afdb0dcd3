"""The pair term: canonical vectors that order items within a class, and how much they may say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from earsight.arrays import FloatArray, IntArray, Labels, unit_rows
from earsight.errors import InputError
from earsight.methods._base import Rows
from earsight.methods._posterior.posteriors import padding
from earsight.methods.cca import CCA
from earsight.retrieval import evaluate

GAINS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
KEPT, KEPT_AT_LEAST = 0.995, 0.95  # of the inner MAP
PAIR_RANK = 10  # the paired item should be among the first so many as often as by c alone;
PAIR_SHARE = 5  # of small folds, among the first fifth
MAX_PAIR_WIDTH = 1024  # C·k, the width of p⊗c
MIN_PAIRS = 20
RANKED = 1000  # rows of a fold that the inner MAP is measured on, at most

Map = dict[str, FloatArray]
"""How one modality comes to c: weights (d, k), and means (C, k) of the classes under them."""


def canonical(x: FloatArray, p: FloatArray, own: Mapping[str, Any]) -> FloatArray:
    """Return c (n, k), unit length: a row less what its classes let expect, under the weights.

        c = w/‖w‖,    w = xW − Σₖ pₖ μₖ

    Args:
        x: (n, d) rows.
        p: (n, C) their posteriors.
        own: The map; with the same mean for all classes, p says nothing.
    """
    return unit_rows(x @ own["weights"] - p @ own["means"])


def joined(p: FloatArray, c: FloatArray, gain: float, place: int) -> FloatArray:
    """Return [p, √g·(p⊗c)]/√(1 + g) beside its padding, (n, C + C·k + 2).

    Between modalities its inner product is p·q·(1 + g·c·c′)/(1 + g).

    Args:
        p: (n, C) posteriors.
        c: (n, k) unit-length canonical vectors.
        gain: g ≥ 0.
        place: 0 for the first modality, 1 for the second.
    """
    outer = (p[:, :, None] * c[:, None, :]).reshape(len(p), -1)
    vectors = np.hstack([p, np.sqrt(gain) * outer]) / np.sqrt(1 + gain)
    return np.hstack([vectors, padding(vectors, place)])


@dataclass(frozen=True)
class PairTerm:
    """What is chosen, so that an item finds its paired item within a class.

    Attributes:
        gain: g; 0 where pairs say nothing, or there are too few.
        within: Whether c is of what lies within the classes.
        maps: modality → its map; empty where g = 0.
    """

    gain: float = 0.0
    within: bool = False
    maps: Mapping[str, Map] | None = None

    @classmethod
    def choose(
        cls,
        rows: Rows,
        codes: IntArray,
        posteriors: Mapping[str, FloatArray],
        folds: list[IntArray],
    ) -> "PairTerm":
        """Choose by held-out folds between two kinds of c, and g.

        Of the choices that keep 99.5 % of the MAP, the one that finds the paired item most often
        among the first ten (of few rows, the first fifth). If c of all pairs alone finds it more
        often than that, up to 5 % of the MAP are paid: of the choices that find it as often as c
        alone, the one with the highest MAP, or else the one that finds it most often.

        Args:
            rows: Paired or not.
            codes: (n,) classes of paired rows.
            posteriors: modality → (n, C) of rows while they are held out.
            folds: Of the rows.
        """
        n_classes = next(iter(posteriors.values())).shape[1]
        groups = None if rows.groups is None else next(iter(rows.groups.values()))
        units = len(codes) if groups is None else len(np.unique(groups))
        width = min(10, MAX_PAIR_WIDTH // n_classes)
        if not rows.paired or units < MIN_PAIRS or width < 1:
            return cls()
        pairs = _Pairs(dict(rows.views), codes, groups, n_classes, width)
        # Within classes, the means of the classes have used up so many of the rows.
        kinds = (False, True) if units - n_classes >= MIN_PAIRS else (False,)
        score, found, alone = _tried(pairs, kinds, posteriors, folds)
        if alone is None:
            return cls()
        kind, i = np.unravel_index(_best(score, found, alone), score.shape)
        gain, within = (0.0, *GAINS)[i], kinds[kind]
        maps = pairs.maps(within) if gain else {}
        return cls(gain, within, maps) if maps else cls()


def _best(score: FloatArray, found: FloatArray, alone: float) -> int:
    """Return the flat index of the choice (see `PairTerm.choose`)."""
    least = score[0, 0]
    free = np.where(score >= KEPT * least, found, -1.0)
    if free.max() >= alone:
        return int(free.argmax())
    allowed = score >= KEPT_AT_LEAST * least
    enough = allowed & (found >= alone)
    if enough.any():
        return int(np.where(enough, score, -1.0).argmax())
    return int(np.where(allowed, found, -1.0).argmax())


def _tried(
    pairs: "_Pairs",
    kinds: tuple[bool, ...],
    posteriors: Mapping[str, FloatArray],
    folds: list[IntArray],
) -> tuple[FloatArray, FloatArray, float | None]:
    """Return summed MAP and recall of each kind and gain, (kinds, 1 + gains), and c's recall alone.

    The last is None where nothing varies together.
    """
    gains = (0.0, *GAINS)
    score, found = np.zeros((2, len(kinds), len(gains)))
    alone = 0.0
    for held_out in folds:
        ranked = held_out[:: -(-len(held_out) // RANKED)]
        p = {name: x[ranked] for name, x in posteriors.items()}
        k = max(1, min(PAIR_RANK, len(ranked) // PAIR_SHARE))
        for row, within in enumerate(kinds):
            maps = pairs.maps(within, np.setdiff1d(np.arange(len(pairs.codes)), held_out))
            if not maps and not within:
                return score, found, None
            c = {name: canonical(pairs.views[name][ranked], p[name], m) for name, m in maps.items()}
            if not within:
                alone += sum(one.recall[k] for one in evaluate(c, ks=[k]).values())
            if not maps:
                found[row] = -np.inf
                continue
            for column, gain in enumerate(gains):
                vectors = {
                    name: joined(p[name], c[name], gain, place) for place, name in enumerate(c)
                }
                scores = evaluate(vectors, labels=pairs.codes[ranked], ks=[k]).values()
                score[row, column] += sum(one.map for one in scores)
                found[row, column] += sum(one.recall[k] for one in scores)
    return score, found, alone


@dataclass(frozen=True)
class _Pairs:
    """Paired rows.

    Attributes:
        views: modality → (n, d).
        codes: (n,) classes.
        groups: (n,) or None.
        n_classes: C.
        width: k, at most.
    """

    views: dict[str, FloatArray]
    codes: IntArray
    groups: Labels | None
    n_classes: int
    width: int

    def maps(self, within: bool, chosen: IntArray | slice = slice(None)) -> dict[str, Map]:
        """Fit CCA to some rows, or to their differences from the mean of their class.

        Its columns are weighted by their correlation. With more columns than rows it is solved in
        the span of the rows, which loses nothing.

        Returns:
            modality → its map, or nothing where nothing varies together.
        """
        codes = self.codes[chosen]
        reduced, centres, bases = {}, {}, {}
        for name, view in self.views.items():
            x = view[chosen].astype(np.float64)
            centres[name] = self._means(x, codes) if within else _repeated(x, self.n_classes)
            deviation = x.std(axis=0)
            varies = deviation > 8 * float(np.finfo(view.dtype).eps) * np.abs(x).max(axis=0)
            factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies)
            x = (x - centres[name][codes]) * factor
            span = np.eye(x.shape[1]) if len(x) > x.shape[1] else _span(x)
            bases[name], reduced[name] = factor[:, None] * span, x @ span
        groups = None if self.groups is None else self.groups[chosen]
        try:
            model = CCA(standardize=False).fit(reduced, groups=groups)
        except InputError:  # nothing varies together: there is no paired item to find
            return {}
        k = min(self.width, model.n_components_)
        weights = {
            name: bases[name] @ (model.weights_[name] * model.correlations_)[:, :k]
            for name in self.views
        }
        return {name: {"weights": w, "means": centres[name] @ w} for name, w in weights.items()}

    def _means(self, x: FloatArray, codes: IntArray) -> FloatArray:
        """Return (C, d), the mean of all rows for a class that has none."""
        means = _repeated(x, self.n_classes)
        for c in np.unique(codes):
            means[c] = x[codes == c].mean(axis=0)
        return means


def _repeated(x: FloatArray, n: int) -> FloatArray:
    return np.repeat(x.mean(axis=0)[None], n, axis=0)


def _span(x: FloatArray) -> FloatArray:
    """Return an orthonormal basis (d, r) of the rows of x (n, d), n at most d."""
    from scipy import linalg

    values, vectors = linalg.eigh(x @ x.T, check_finite=False)
    kept = values > 1e-10 * max(float(values.max()), 1e-300)
    return np.asarray(x.T @ vectors[:, kept] / np.sqrt(values[kept]))
